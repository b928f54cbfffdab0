"""Fusion-in-Decoder by the real commands: train, resume, convert, generate, ask by JSON."""

import json
import math
import re

import pytest
import torch
from fairseq.data import Dictionary
from fairseq_commands import USER_DIR, moved, parameters, run, train
from fid_folder import TINY_FID, keys_and_values, write_fid_folder
from refusals import assert_refused

ASKED = keys_and_values(30)
ECONOMIES = [
    *("--first-k", 9, "--cross-attention-interval", 2, "--decoder-kv-heads", 1),
    *("--passages-at-once", 4),
]
EVERYTHING = [*ECONOMIES, "--source-pointing", "--n-context", 3]
READ = ["--task", "fid", "-s", "question", "-t", "answer"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    splits = {"train": ASKED, "valid": ASKED[:7], "test": keys_and_values(9)}
    return write_fid_folder(tmp_path_factory.mktemp("fid") / "data", splits)


def trained(folder, save_dir, *flags, updates=2, **keywords):
    criterion = ["--criterion", "scalegrad", "--gamma", 0.5, "--max-update", updates]
    model = [*TINY_FID, *criterion]
    return train(folder, save_dir, model, "--max-tokens", 600, *flags, **keywords)


def generate(folder, checkpoint, *flags):
    done = run(
        *("fairseq-generate", folder, "--user-dir", USER_DIR, *READ, "--path", checkpoint),
        *("--cpu", "--beam", 3, "--max-len-b", 8, "--max-tokens", 600, *flags),
    )
    found = {kind: {} for kind in "STHD"}
    for kind, number, text in re.findall(r"^([STHD])-(\d+)\t(.*)$", done.stdout, re.MULTILINE):
        found[kind][int(number)] = text.split("\t")[-1]
    return found


@pytest.mark.parametrize("flags", [[], EVERYTHING], ids=["plain", "everything"])
def test_train_resume_generate(flags, folder, tmp_path):
    trained(folder, tmp_path / "whole", *flags, updates=4)
    trained(folder, tmp_path / "run", *flags)
    checkpoint = tmp_path / "run/checkpoint_last.pt"
    first = parameters(checkpoint)
    trained(folder, tmp_path / "run", *flags, updates=4)
    assert moved(first, parameters(checkpoint))
    assert not moved(parameters(tmp_path / "whole/checkpoint_last.pt"), parameters(checkpoint))
    reading = ["--source-pointing", "--n-context", 3] if flags else []
    found = generate(folder, checkpoint, *reading)
    for kind in "STHD":
        assert sorted(found[kind]) == list(range(9)), kind  # every example, none twice
    for number, (question, passages, answer) in enumerate(keys_and_values(9)):
        assert question in found["S"][number]
        assert found["S"][number].count("<title>") == min(len(passages), 3 if reading else 4)
        assert found["T"][number].startswith("<passage:") == bool(reading)
        assert found["T"][number].endswith(answer)


def test_a_trained_model_of_fairseqs_is_converted(folder, tmp_path):
    """Plain first, then with economies: what has no place is left out, heads are averaged."""
    trained(folder, tmp_path / "plain")
    start = tmp_path / "plain/checkpoint_last.pt"
    trained(
        *(folder, tmp_path / "cheap", *ECONOMIES, "--finetune-from-model", start),
        *("--lr", 1e-12, "--clip-norm", 1e-12),
    )
    before = parameters(start)
    after = parameters(tmp_path / "cheap/checkpoint_last.pt")
    left_out = {name for name in before if ".layers.0.encoder_attn" in name and "decoder" in name}
    assert left_out and set(after) == set(before) - left_out
    for name, want in before.items():
        if re.search(r"decoder.*attn\.[kv]_proj", name) and name in after:
            want = torch.stack(want.chunk(2)).mean(dim=0)  # two heads
        if name in after:
            torch.testing.assert_close(after[name], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("flag", "value"), [("--decoder-kv-heads", 1), ("--first-k", 3)])
def test_a_run_goes_on_as_the_model_it_was(flag, value, folder, tmp_path):
    trained(folder, tmp_path)
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    done = trained(folder, tmp_path, flag, value, updates=4, check=False)
    assert_refused(done, flag, value, "--finetune-from-model")
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before


@pytest.mark.parametrize("precision", ["--fp16", "--bf16"])
def test_half_precision(precision, folder, tmp_path):
    done = trained(folder, tmp_path, *EVERYTHING, precision, updates=3)
    losses = [float(found) for found in re.findall(r"train_inner.*?\bloss=([^,]*),", done.output)]
    assert len(losses) == 3 and all(map(math.isfinite, losses))
    single = trained(folder, tmp_path / "single", *EVERYTHING, updates=3)
    want = [float(found) for found in re.findall(r"train_inner.*?\bloss=([^,]*),", single.output)]
    assert losses[0] == pytest.approx(want[0], rel=0.02)


def test_json_in_answers_out(folder, tmp_path):
    trained(folder, tmp_path, "--n-context", 3)
    checkpoint = tmp_path / "checkpoint_last.pt"
    lines = [
        json.dumps({"question": q, "ctxs": [{"title": t, "text": x} for t, x in passages]})
        for q, passages, _ in keys_and_values(9)
    ]
    flags = ["--n-context", 3, "--beam", 3, "--max-len-b", 8, "--cpu"]
    given = [folder, "--user-dir", USER_DIR, *READ, "--path", checkpoint, *flags]
    done = run("fairseq-interactive", *given, "--buffer-size", 4, stdin="\n".join(lines) + "\n")
    answers = dict(re.findall(r"^D-(\d+)\t\S+\t(.*)$", done.stdout, re.MULTILINE))
    found = generate(folder, checkpoint, "--n-context", 3)
    assert {int(number): text for number, text in answers.items()} == found["D"]
    done = run("fairseq-interactive", *given, stdin='{"question": "a"}\n', check=False)
    assert_refused(done, "line 1", "ctxs")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--first-k", 0], []),
        (["--cross-attention-interval", 3], [2]),
        (["--decoder-kv-heads", 3], ["--decoder-attention-heads", 2]),
        (["--n-context", -2], []),
        (["--max-source-positions", 9], ["valid"]),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_written(flags, named, folder, tmp_path):
    done = trained(folder, tmp_path / "run", *flags, check=False)
    assert_refused(done, *flags, *named, unwritten=tmp_path / "run")


def test_data_of_another_kind(folder, tmp_path):
    other = tmp_path / "data"
    other.mkdir()
    dictionary = Dictionary()
    for side in ("question", "answer"):
        dictionary.save(str(other / f"dict.{side}.txt"))
    done = trained(other, tmp_path / "run", check=False)
    assert_refused(done, "dict.question.txt", "<question>", "<title>", "<context>")


@pytest.mark.slow
def test_it_learns_to_read(tmp_path):
    """To copy the value of a key out of one of four passages, for questions never seen."""
    splits = {"train": keys_and_values(6000), "valid": ASKED[:7]}
    splits["test"] = keys_and_values(40, seed=2)
    data = write_fid_folder(tmp_path / "data", splits)
    sizes = [f"--{side}-embed-dim" for side in ("encoder", "decoder")]
    heads = [f"--{side}-attention-heads" for side in ("encoder", "decoder")]
    trained(
        *(data, tmp_path / "run", "--source-pointing", "--gamma", 1, "--batch-size", 32),
        *("--max-tokens", 9999, "--lr", 2e-3, "--lr-scheduler", "inverse_sqrt", "--dropout", 0),
        *("--warmup-updates", 100, "--validate-interval", 1000, "--log-interval", 100),
        *(sizes[0], 64, sizes[1], 64, heads[0], 4, heads[1], 4, "--encoder-layers", 2),
        *("--decoder-kv-heads", 1),
        updates=2000,
    )
    found = generate(data, tmp_path / "run/checkpoint_last.pt", "--source-pointing")
    right = [found["T"][number] == found["D"][number] for number in range(40)]
    assert sum(right) >= 36  # the passage, by its number, and the value
