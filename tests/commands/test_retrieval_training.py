"""``--task retrieval`` through the real commands: it learns, resumes, and says what is wrong."""

import re
import shutil

import pytest
import tiny_retrieval
import torch
from encoder_decoder_folder import import_model, sentences
from fairseq_commands import OPTIMISATION, USER_DIR, moved, parameters, run, run_warm
from refusals import assert_refused
from sentence_encoder_folder import PASSAGES, QUESTIONS, save_sentence_encoder, vectors
from tiny_gpt2 import call

from genft_fairseq.cli.retrieve import load_encoder
from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_retrieval.make_folder(tmp_path_factory.mktemp("retrieval"))


def train(data, save_dir, *flags, check=True):
    return run(
        "fairseq-train",
        *(data, "--user-dir", USER_DIR, *tiny_retrieval.TINY, *OPTIMISATION),
        *("--save-dir", save_dir, "--max-tokens", 1000, "--required-batch-size-multiple", 1),
        *("--num-workers", 0, *flags),
        check=check,
    )


def logged(done, name, kind="train"):
    lines = [line for line in done.output.splitlines() if f"INFO:{kind}:" in line]
    return [float(re.search(rf"\| {name} (\S+)", line)[1]) for line in lines]


def test_it_learns_what_can_be_learned_by_heart(data, tmp_path):
    """24 questions, each with the word of its passage's title; chance is 1 of about 24."""
    done = train(
        data, tmp_path, "--batch-size", 12, "--lr", "5e-3", "--max-epoch", 40, "--clip-norm", 1
    )
    accuracy, loss = logged(done, "accuracy"), logged(done, "loss")
    assert accuracy[0] < 0.3 and accuracy[-1] == 1
    assert loss[0] > 3 and loss[-1] < 0.1


def test_validation_has_the_same_figures(data, tmp_path):
    train(data, tmp_path, "--batch-size", 12, "--max-epoch", 1)
    done = run(
        "fairseq-validate",
        *(data, "--user-dir", USER_DIR, "--task", "retrieval", "--batch-size", 4, "--cpu"),
        *("--path", tmp_path / "checkpoint_last.pt", "--valid-subset", "valid"),
    )
    assert re.search(r"accuracy [01]\.?\d* \| passages \d", done.output)


def test_max_tokens_bounds_the_batches(data, tmp_path):
    """A question has 5 tokens and its two passages 6 each: 17 of 40, so two a batch."""
    flags = ["--max-epoch", 1, "--max-tokens", 40, "--log-interval", 1]
    done = train(data, tmp_path, *flags)
    assert logged(done, "bsz") == [2]
    assert "num_updates 12" in done.output


def test_examples_larger_than_a_batch(data, tmp_path):
    """All are, by one token."""
    done = train(data, tmp_path, "--max-epoch", 1, "--max-tokens", 16, check=False)
    assert_refused(done)


def test_a_resumed_run_ends_with_the_same_parameters(data, tmp_path):
    """Also in the middle of an epoch, with positives and batches drawn anew in each."""
    flags = ["--batch-size", 5, "--positives", "random", "--save-interval-updates", 3]
    train(data, tmp_path / "whole", *flags, "--max-update", 14)
    train(data, tmp_path / "parts", *flags, "--max-update", 7)
    first = parameters(tmp_path / "parts" / "checkpoint_last.pt")
    train(data, tmp_path / "parts", *flags, "--max-update", 14)
    whole = parameters(tmp_path / "whole" / "checkpoint_last.pt")
    parts = parameters(tmp_path / "parts" / "checkpoint_last.pt")
    assert moved(first, parts)
    for name, want in whole.items():
        assert torch.equal(parts[name], want), name


def test_options_reach_the_data(data, tmp_path):
    """Without hard negatives a question has fewer passages to choose from."""
    flags = ["--batch-size", 24, "--max-epoch", 1]
    many = train(data, tmp_path / "2", *flags, "--hard-negatives", 2)
    none = train(data, tmp_path / "0", *flags, "--hard-negatives", 0)
    # Nobody but the first question has two passages with the answer: 24 positives.
    assert logged(none, "passages") == [24]
    assert logged(many, "passages")[0] > 48


def test_other_criterions_are_refused(data, tmp_path):
    done = train(data, tmp_path, "--criterion", "cross_entropy", check=False)
    assert_refused(done, "--task", "--criterion", "cross_entropy", unwritten=tmp_path)


def test_other_models_are_refused(data, tmp_path):
    arguments = [flag for flag in tiny_retrieval.TINY if flag != "--share-encoders"]
    arguments[arguments.index("bi_encoder")] = "transformer_lm"
    done = run(
        "fairseq-train",
        *(data, "--user-dir", USER_DIR, *arguments[:6], *OPTIMISATION, "--save-dir", tmp_path),
        check=False,
    )
    assert done.returncode and "Traceback" not in done.error


BAD = {
    "question positions": ["--max-question-positions", 1],
    "hard negatives": ["--hard-negatives", -1],
}


@pytest.mark.parametrize("flags", BAD.values(), ids=BAD)
def test_flags_out_of_range(data, tmp_path, flags):
    assert_refused(train(data, tmp_path, *flags, check=False), *flags, unwritten=tmp_path)


HYDRA_YAML = """
common: {{user_dir: {user_dir}, cpu: true}}
task: {{_name: retrieval, data: {data}, hard_negatives: 2}}
model: {{_name: bi_encoder, encoder_layers: 1, encoder_embed_dim: 16, encoder_ffn_embed_dim: 16,
         encoder_attention_heads: 2, pooling: first}}
criterion: {{_name: in_batch_negatives}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{batch_size: 8, num_workers: 0}}
optimization: {{max_update: 2, lr: [0.01]}}
checkpoint: {{save_dir: {save_dir}, no_epoch_checkpoints: true}}
"""


def test_hydra_train(data, tmp_path):
    (tmp_path / "config").mkdir()
    yaml = HYDRA_YAML.format(user_dir=USER_DIR, data=data, save_dir=tmp_path / "save")
    (tmp_path / "config" / "tiny.yaml").write_text(yaml)
    run_warm(
        "fairseq-hydra-train",
        *(f"--config-dir={tmp_path / 'config'}", "--config-name=tiny"),
        f"hydra.run.dir={tmp_path / 'hydra'}",
    )
    state = torch.load(tmp_path / "save" / "checkpoint_last.pt", weights_only=False)
    assert state["cfg"]["model"]["pooling"] == "first"
    assert state["cfg"]["task"]["hard_negatives"] == 2
    assert state["optimizer_history"][-1]["num_updates"] == 2


# --- from a pretrained encoder -------------------------------------------------------------------


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A tiny BERT, imported, and data in its pieces: who reads of what."""
    folder = tmp_path_factory.mktemp("pretrained")
    save_sentence_encoder(folder / "st", longest=20)
    call("import-hf", folder / "st", folder / "imported", "--passages", "3")
    tokeniser = ModelTokeniser.read(folder / "imported")
    subwords = [" ".join(row) for row in tokeniser.encode_sources(sentences(16))]
    raw = folder / "raw"
    raw.mkdir()
    for split in ("train", "valid"):
        rows = [
            f"<question> {subword} <title> {subword} <context> {subwords[n - 1]} "
            "<title> <context> 7"
            for n, subword in enumerate(subwords)
        ]
        (raw / f"{split}.question").write_text("".join(f"{row}\n" for row in rows))
        (raw / f"{split}.answer").write_text("".join(f"{subword}\n" for subword in subwords))
        (raw / f"{split}.align").write_text("0-0\n" * len(rows))
    run(
        "fairseq-preprocess",
        *("--user-dir", USER_DIR, "-s", "question", "-t", "answer", "--joined-dictionary"),
        *("--trainpref", raw / "train", "--validpref", raw / "valid", "--align-suffix", "align"),
        *("--srcdict", folder / "imported" / "dict.txt", "--destdir", folder / "bin"),
    )
    for name in ("hugging_face.json", "tokenizer.json"):
        shutil.copy(folder / "imported" / name, folder / "bin")
    return folder


def fine_tune(folder, save_dir, *flags, data="bin", check=True):
    imported = folder / "imported"
    return run(
        "fairseq-train",
        *(folder / data, "--user-dir", USER_DIR, "--task", "retrieval", *OPTIMISATION),
        *("--criterion", "in_batch_negatives", "--arch", "bi_encoder", "--hugging-face", imported),
        *("--finetune-from-model", imported / "model.pt", "--save-dir", save_dir),
        *("--batch-size", 8, "--max-tokens", 1000, "--num-workers", 0),
        *("--max-question-positions", 20, "--max-passage-positions", 20, *flags),
        check=check,
    )


def encoded(folder, checkpoint):
    """The vectors of questions and passages by a checkpoint that was trained."""
    encoder, _ = load_encoder(str(checkpoint), str(folder / "bin"), batch_size=4, cpu=True)
    return encoder.questions(QUESTIONS), encoder.passages([Passage(*both) for both in PASSAGES])


@pytest.mark.parametrize("towers", [["--share-encoders"], []], ids=["one", "two"])
def test_training_begins_from_a_pretrained_encoder(pretrained, tmp_path, towers):
    """At a learning rate of 0 its vectors stay; otherwise they are learned, and the folder's name
    is not needed again."""
    flags = [*towers, "--max-update", 2, "--dropout", 0.1, "--attention-dropout", 0.1]
    fine_tune(pretrained, tmp_path / "same", *flags, "--lr", 0)
    texts = [" ".join(filter(None, passage)) for passage in PASSAGES]
    questions, passages = encoded(pretrained, tmp_path / "same" / "checkpoint_last.pt")
    for found, wanted in ((questions, QUESTIONS), (passages, texts)):
        wanted = vectors(pretrained / "st", wanted, longest=20)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    flags = [*towers, "--max-epoch", 20, "--score-scale", 20, "--dropout", 0]
    done = fine_tune(pretrained, tmp_path / "moved", *flags, "--lr", "5e-3")
    assert logged(done, "loss")[-1] < logged(done, "loss")[0]
    moved = parameters(tmp_path / "moved" / "checkpoint_last.pt")
    shared = [
        torch.equal(moved[name], moved[name.replace("question_", "passage_")])
        for name in moved
        if name.startswith("question_encoder.stack.encoder.layer.0.")
    ]
    assert shared and (all(shared) if towers else not any(shared))
    (pretrained / "imported").rename(tmp_path / "elsewhere")
    try:
        learned, _ = encoded(pretrained, tmp_path / "moved" / "checkpoint_last.pt")
    finally:
        (tmp_path / "elsewhere").rename(pretrained / "imported")
    assert not torch.allclose(learned / 20, questions, atol=1e-2)


def test_a_resumed_run_from_a_pretrained_encoder(pretrained, tmp_path):
    flags = ["--share-encoders", "--checkpoint-activations", "--dropout", 0.1]
    fine_tune(pretrained, tmp_path / "whole", *flags, "--max-update", 5)
    fine_tune(pretrained, tmp_path / "parts", *flags, "--max-update", 3)
    fine_tune(pretrained, tmp_path / "parts", *flags, "--max-update", 5)
    whole, parts = (
        parameters(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts")
    )
    assert all(torch.equal(parts[name], want) for name, want in whole.items())


REFUSED = {
    "size": (["--encoder-layers", 3], "--encoder-layers 3"),
    "positions": (["--max-passage-positions", 43], "--max-passage-positions", "43"),
    "dropout": (["--dropout", 1], "--dropout", "1"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_flags_that_an_encoder_refuses(pretrained, tmp_path, refused):
    flags, *named = refused
    done = fine_tune(pretrained, tmp_path / "save", *flags, check=False)
    assert_refused(done, *named, unwritten=tmp_path / "save")


def test_data_that_do_not_say_how_texts_are_read(pretrained, tmp_path):
    data = shutil.copytree(pretrained / "bin", pretrained / "other")
    (data / "hugging_face.json").unlink()
    done = fine_tune(pretrained, tmp_path / "save", data="other", check=False)
    assert_refused(done, data, unwritten=tmp_path / "save")


def test_an_encoder_decoder_is_no_encoder(pretrained, tmp_path):
    import_model(tmp_path, "t5", "--passages", 3)
    done = fine_tune(
        pretrained, tmp_path / "save", "--hugging-face", tmp_path / "fairseq", check=False
    )
    assert_refused(done, "--hugging-face", "t5", unwritten=tmp_path / "save")
