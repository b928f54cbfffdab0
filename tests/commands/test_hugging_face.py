"""An imported GPT-2 in the real commands: trained, resumed, evaluated, and exported again."""

import random
import re
import shlex
import sys

import pytest
import torch
from fairseq_commands import USER_DIR, moved, parameters, run, run_warm, train
from genft_process import genft
from refusals import assert_refused
from tiny_gpt2 import END_OF_TEXT, call, hugging_face_folder, largest_difference, load
from transformers import AutoModelForCausalLM

MODEL = [
    *("--task", "language_modeling", "--arch", "gpt2", "--decoder-layers", "2"),
    *("--decoder-embed-dim", "32", "--decoder-attention-heads", "4"),
    *("--max-target-positions", "64", "--tokens-per-sample", "32"),
]
CRITERIONS = {
    "scalegrad": ["--gamma", 0.3],
    "unlikelihood": [],
    "label_smoothed_cross_entropy": ["--label-smoothing", 0.1],
    "sequence_unlikelihood": [
        *("--sequence-rate", 1, "--sequence-ngram", 1),
        *("--sequence-prefix-length", 5, "--sequence-completion-length", 12),
    ],
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What import-hf wrote, beside the folder of transformers' that it came from."""
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("gpt2")
    hugging_face_folder(folder / "hf")
    call("import-hf", folder / "hf", folder / "fairseq")
    return folder / "fairseq"


@pytest.fixture(scope="module")
def data(imported, tmp_path_factory):
    """Lines in fairseq's own GPT-2 BPE, by the imported dictionary."""
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    encoder = get_encoder(str(imported / "encoder.json"), str(imported / "vocab.bpe"))
    folder, draw = tmp_path_factory.mktemp("lines"), random.Random(3)
    words = "the and in an a win thin wither band over".split()
    for split, size in (("train", 60), ("valid", 20), ("test", 20)):
        lines = [" ".join(draw.choices(words, k=draw.randint(4, 9))) for _ in range(size)]
        numbers = [" ".join(map(str, encoder.encode(line))) for line in lines]
        (folder / split).write_text("\n".join(numbers) + "\n")
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid", "test")]
    binarized = tmp_path_factory.mktemp("data") / "gpt2"
    run(
        *("fairseq-preprocess", "--user-dir", USER_DIR, "--only-source", *prefixes),
        *("--srcdict", imported / "dict.txt", "--destdir", binarized),
    )
    assert (binarized / "dict.txt").read_text() == (imported / "dict.txt").read_text()
    return binarized


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_train_resume_and_export(criterion, data, imported, tmp_path):
    """By every kind of loss: finite figures, and afterwards transformers' logits are fairseq's."""
    flags = ["--criterion", criterion, *CRITERIONS[criterion]]
    start = imported / "model.pt"
    first = train(
        *(data, tmp_path / "save", MODEL, *flags, "--max-update", 2),
        *("--finetune-from-model", start, "--lr", "1e-3"),
    )
    assert f"loading pretrained model from {start}" in first.output
    last = tmp_path / "save" / "checkpoint_last.pt"
    two = parameters(last)
    assert moved(parameters(start), two)
    bias = "decoder.output_projection.bias"
    assert torch.equal(two[bias], parameters(start)[bias])
    second = train(data, tmp_path / "save", MODEL, *flags, "--max-update", 4, "--lr", "1e-3")
    assert re.search(r"Loaded checkpoint .*@ 2 updates", second.output)
    losses = re.findall(r"\bloss=([^,\s]+)", first.output + second.output)
    assert len(losses) >= 4 and all(0 < float(loss) < 100 for loss in losses), losses

    call("export-hf", last, tmp_path / "hf", "--gpt2-bpe", imported)
    model, _ = load(last)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", local_files_only=True)
    ids = torch.randint(END_OF_TEXT + 1, (4, 64))
    assert largest_difference(model, exported, ids) < 1e-5


def test_two_processes_equal_one(data, imported, tmp_path):
    flags = ["--criterion", "scalegrad", "--finetune-from-model", imported / "model.pt"]
    flags += ["--optimizer", "sgd", "--lr", "0.1", "--dropout", 0, "--attention-dropout", 0]
    flags += ["--max-update", 2]
    train(data, tmp_path / "one", MODEL, *flags, "--update-freq", 2)
    several = ("--distributed-world-size", 2)
    train(data, tmp_path / "two", MODEL, *flags, *several, run=run_warm)
    got, want = (parameters(tmp_path / n / "checkpoint_last.pt") for n in ("two", "one"))
    assert moved(parameters(imported / "model.pt"), got)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-5)


def test_evaluate_and_continue_without_training(data, imported):
    """The imported checkpoint itself, by fairseq's commands and the plugin's."""
    path = ["--user-dir", USER_DIR, "--path", imported / "model.pt", "--cpu"]
    done = run("fairseq-eval-lm", data, *path, "--gen-subset", "test", "--tokens-per-sample", 64)
    perplexity = float(re.findall(r"Perplexity: ([\d.]+)", done.output)[0])
    printed = call(
        *("evaluate-lm", data, "--path", imported / "model.pt", "--cpu"),
        *("--prefix-length", 10, "--length", 20, "--json"),
    )
    ours = float(re.findall(r'"perplexity": ([\d.]+)', printed)[0])
    assert 1 < perplexity < float("inf") and ours == pytest.approx(perplexity, rel=1e-3)

    bpe = ["--bpe", "gpt2", "--gpt2-encoder-json", imported / "encoder.json"]
    bpe += ["--gpt2-vocab-bpe", imported / "vocab.bpe"]
    done = run(
        *("fairseq-interactive", imported, *path, *bpe, "--task", "language_modeling"),
        *("--beam", 1, "--max-len-b", 20),
        stdin="the band\n",
    )
    (told,) = re.findall(r"^D-0\t\S+\t(.*)$", done.stdout, re.M)
    assert told.startswith("the band") and "<unk>" not in told


def test_genft_finetune_takes_the_architecture_from_it(data, imported, tmp_path):
    """The command that it prints is one that trains."""
    flags = ["--optimizer", "adam", "--lr", "1e-3", "--max-tokens", 128, "--max-update", 1, "--cpu"]
    said = call(
        *("finetune", data, "--strategy", "scalegrad", "--baseline", imported / "model.pt"),
        *("--save-dir", tmp_path / "save", "--dry-run", "--", *flags, "--no-epoch-checkpoints"),
    )
    (line,) = (line for line in said.splitlines() if "fairseq-train" in line)
    words = shlex.split(line[line.index("fairseq-train") :])
    assert words[words.index("--max-target-positions") + 1] == "64"
    run(*words)
    last = tmp_path / "save" / "checkpoint_last.pt"
    assert moved(parameters(imported / "model.pt"), parameters(last))
    assert load(last)[0].max_positions() == 64


@pytest.mark.parametrize("command", ["import-hf", "export-hf"])
def test_without_transformers(command, imported, tmp_path, monkeypatch):
    """None in place of a module is how Python says that it cannot be imported."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    source = imported.parent / "hf" if command == "import-hf" else imported / "model.pt"
    done = genft(command, source, tmp_path / "out")
    assert_refused(done, "genft_fairseq[hf]", unwritten=tmp_path / "out")


def test_a_refusal_is_one_line(tmp_path):
    done = run_warm("genft", "import-hf", tmp_path, tmp_path / "out", check=False)
    assert_refused(done, tmp_path, "config.json", unwritten=tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
