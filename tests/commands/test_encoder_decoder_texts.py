"""What trained encoder-decoders read and write: decoding, export, lengths, passages."""

import re
import shutil

import pytest
import torch
from encoder_decoder_folder import (
    binarized,
    fine_tuned,
    import_model,
    preprocessed,
    sentences,
)
from fairseq_commands import USER_DIR, moved, parameters, run, train
from refusals import assert_refused
from tiny_gpt2 import call, load
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser

SIZES = {"train": 24, "valid": 5, "test": 5}
TEXTS = sentences(SIZES["test"])
TRAINING = ["--criterion", "scalegrad", "--gamma", 0.5, "--max-update", 2, "--lr", "1e-3"]


@pytest.fixture(scope="module", params=["t5", "bart", "bert2gpt2"])
def trained(request, tmp_path_factory):
    """The kind, its data, a checkpoint, and the tokenisers; what import-hf wrote is gone."""
    folder, kind = tmp_path_factory.mktemp("trained"), request.param
    import_model(folder, kind)
    imported, tokenisers = folder / "fairseq", folder / "tokenisers"
    data = binarized(imported, folder / "data", SIZES)
    train(data, folder / "run", fine_tuned(imported), *TRAINING)
    shutil.copytree(imported, tokenisers, ignore=shutil.ignore_patterns("model.pt"))
    shutil.rmtree(imported)
    return kind, data, folder / "run" / "checkpoint_last.pt", tokenisers


def decoding(data, checkpoint, tokenisers, *flags):
    """The flags of both commands that decode."""
    return [
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--max-len-b", 12),
        *("--bpe", "hugging_face", "--hugging-face-tokeniser", tokenisers, *flags),
    ]


def lines(done, letter):
    found = re.findall(rf"^{letter}-(\d+)\t(.*)$", done.stdout, re.MULTILINE)
    return {int(number): text.split("\t")[-1] for number, text in found}


def test_generate_and_ask(trained):
    """Texts in, texts out: by pieces that were binarized, and by the text itself."""
    kind, data, checkpoint, tokenisers = trained
    flags = decoding(data, checkpoint, tokenisers, "--beam", 4)
    done = run("fairseq-generate", *flags)
    tokeniser = ModelTokeniser.read(tokenisers)
    symbols, texts = lines(done, "H"), lines(done, "D")
    assert sorted(symbols) == sorted(texts) == list(range(len(TEXTS)))
    assert texts == {i: tokeniser.decode(line.split()) for i, line in symbols.items()}
    if kind != "t5":  # whose pieces keep no space at the end of a text
        assert lines(done, "T") == {i: text[:9] for i, text in enumerate(TEXTS)}
    asked = run("fairseq-interactive", *flags, stdin="\n".join(TEXTS) + "\n")
    assert lines(asked, "H") == symbols and lines(asked, "D") == texts
    # The beam's others: four of each, the best first, which is the one above.
    best = run("fairseq-generate", *flags, "--nbest", 4)
    for i, symbols_found in symbols.items():
        found = re.findall(rf"^H-{i}\t(\S+)\t(.*)$", best.stdout, re.MULTILINE)
        scores = [float(score) for score, _ in found]
        assert len({line for _, line in found}) == 4 and scores == sorted(scores, reverse=True)
        assert found[0][1] == symbols_found


@torch.no_grad()
def test_the_export_is_what_was_trained(trained, tmp_path):
    """transformers' own tokeniser and model, and fairseq's: the same logits."""
    kind, data, checkpoint, tokenisers = trained
    back = tmp_path / "back"
    call("export-hf", checkpoint, back, "--data", tokenisers)
    theirs = AutoModelForSeq2SeqLM.from_pretrained(back)
    state = torch.load(checkpoint, weights_only=False)
    assert state["cfg"]["task"]["data"] == str(data)
    ours, task = load(checkpoint)
    tokeniser = ModelTokeniser.read(tokenisers)
    places = [back / "source", back / "target"] if kind == "bert2gpt2" else [back, back]
    reads, writes = map(AutoTokenizer.from_pretrained, places)
    columns = torch.tensor([int(symbol) for symbol in task.target_dictionary.symbols[4:]])
    for text in TEXTS:
        source = task.source_dictionary.encode_line(" ".join(tokeniser.encode_source(text))).long()
        target = task.target_dictionary.encode_line(" ".join(tokeniser.encode_target(text))).long()
        before = torch.cat([torch.tensor([2]), target[:-1]])
        logits = ours(source[None], None, before[None])[0]
        ids = writes(text, return_tensors="pt")["input_ids"]
        start = torch.tensor([[theirs.config.decoder_start_token_id]])
        ids = torch.cat([start, ids], dim=1)[:, : len(before)]
        want = theirs(**reads(text, return_tensors="pt"), decoder_input_ids=ids).logits
        torch.testing.assert_close(logits[..., 4:], want[..., columns], rtol=0, atol=1e-4)
        end = writes.eos_token_id if writes.eos_token_id is not None else writes.sep_token_id
        torch.testing.assert_close(logits[..., 2], want[..., end], rtol=0, atol=1e-4)
        assert want.std() > 0.5  # or the difference would say nothing


# --- lengths and dictionaries --------------------------------------------------------------------

LONG = " ".join(["the cat sat on the mat , and the dog did not ."] * 4)


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    """A BART of 40 positions, and data of which the last source has more."""
    folder = tmp_path_factory.mktemp("bart")
    import_model(folder, "bart")
    tokeniser = ModelTokeniser.read(folder / "fairseq")
    assert len(tokeniser.encode_source(LONG)) > 40
    sizes = {"train": 15, "valid": 2}
    return folder / "fairseq", binarized(folder / "fairseq", folder / "data", sizes, [LONG])


def test_a_source_longer_than_the_positions(bart, tmp_path):
    """Refused; cut, or left out, where that is asked for."""
    imported, data = bart
    model = [*fine_tuned(imported), *TRAINING, "--disable-validation"]
    model += ["--required-batch-size-multiple", 1]
    done = train(data, tmp_path / "refused", model, check=False)
    length = len(ModelTokeniser.read(imported).encode_source(LONG)) + 1
    assert_refused(done, "--max-source-positions", "--truncate-source", 15, length, 40)
    assert not list((tmp_path / "refused").glob("*.pt"))
    cut = ["--truncate-source", "--max-source-positions", 40]
    for name, flags in (("cut", cut), ("out", ["--leave-out-longer"])):
        flags = [*flags, "--batch-size", 16, "--max-tokens", 9999, "--max-update", 1]
        done = train(data, tmp_path / name, model, *flags)
        examples = {"cut": "bsz=16", "out": "bsz=15"}[name]
        assert re.search(rf"train_inner.*\b{examples},", done.output)


def test_texts_as_long_as_the_positions(bart):
    """What is written ends with them; what is asked must not be longer."""
    imported, data = bart
    flags = decoding(data, imported / "model.pt", imported)
    done = run("fairseq-interactive", *flags, stdin=LONG + "\n", check=False)
    assert_refused(done, len(ModelTokeniser.read(imported).encode_source(LONG)) + 1, 40)
    done = run("fairseq-interactive", *flags, "--max-len-b", 60, "--min-len", 38, stdin="a\n")
    assert len(lines(done, "H")[0].split()) in (38, 39)


def test_data_of_another_dictionary(bart, tmp_path):
    import_model(tmp_path / "t5", "t5")
    other = tmp_path / "t5" / "fairseq"
    model = [*fine_tuned(other), *TRAINING]
    done = train(bart[1], tmp_path / "run", model, check=False)
    assert_refused(done, "dictionary", unwritten=tmp_path / "run")


# --- Fusion-in-Decoder ---------------------------------------------------------------------------


def examples(number, tokeniser):
    """Questions with one to three passages, as lines of symbols, and their answers."""
    sources, targets = [], []
    for i, text in enumerate(sentences(number)):
        line = ["<question>", *tokeniser.encode_source(f"who {text[:7]}")]
        for n in range(1 + i % 3):
            line += ["<title>", *tokeniser.encode_source("the cat"), "<context>"]
            line += tokeniser.encode_source(f"{text} {n}")
        sources.append(line)
        targets.append(tokeniser.encode_target(text[:6]))
    return sources, targets


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """A T5 with symbols for passages, and questions for it."""
    folder = tmp_path_factory.mktemp("reading")
    import_model(folder, "t5", "--passages", 3)
    imported = folder / "fairseq"
    tokeniser, lines = ModelTokeniser.read(imported), {}
    for split, size in {"train": 24, "valid": 4, "test": 5}.items():
        both = zip(("source", "target"), examples(size, tokeniser), strict=True)
        lines |= {f"{split}.{side}": given for side, given in both}
    return imported, preprocessed(imported, folder / "data", lines)


ECONOMIES = [*("--first-k", 5, "--cross-attention-interval", 2, "--decoder-kv-heads", 2)]
ECONOMIES += ["--passages-at-once", 2]


def asked(data, checkpoint, imported):
    """The numbers of the questions that are answered."""
    flags = decoding(data, checkpoint, imported, "--beam", 3, "--max-tokens", 900)
    done = run("fairseq-generate", *flags, "--task", "fid", "-s", "source", "-t", "target")
    return sorted(lines(done, "H"))


def test_reading_passages(reading, tmp_path):
    imported, data = reading
    model = [*fine_tuned(imported, "fid_t5", "fid"), *TRAINING, "--max-tokens", 900]
    train(data, tmp_path, model)
    checkpoint = tmp_path / "checkpoint_last.pt"
    assert moved(parameters(imported / "model.pt"), parameters(checkpoint))
    assert asked(data, checkpoint, imported) == list(range(5))


def test_reading_passages_with_economies(reading, tmp_path):
    """Resumed bit for bit, and as the model that it was."""
    imported, data = reading
    model = [*fine_tuned(imported, "fid_t5", "fid"), *TRAINING, *ECONOMIES, "--max-tokens", 900]
    train(data, tmp_path / "whole", model, "--max-update", 3)
    train(data, tmp_path / "parts", model)
    done = train(data, tmp_path / "parts", model, "--max-update", 3)
    assert re.search(r"Loaded checkpoint .*@ 2 updates", done.output)
    whole, last = (tmp_path / name / "checkpoint_last.pt" for name in ("whole", "parts"))
    assert not moved(parameters(whole), parameters(last))
    assert asked(data, last, imported) == list(range(5))
    done = train(data, tmp_path / "parts", model, "--first-k", 3, check=False)
    assert_refused(done, "--first-k", 5, 3)


def test_economies_begin_with_the_imported_parameters(reading, tmp_path):
    """Layers that read no passages have nothing to read with; heads are averaged in twos."""
    imported, data = reading
    model = [*fine_tuned(imported, "fid_t5", "fid"), *TRAINING, *ECONOMIES, "--max-tokens", 900]
    train(data, tmp_path, model, "--lr", 1e-12, "--max-update", 1, "--disable-validation")
    before, after = parameters(imported / "model.pt"), parameters(tmp_path / "checkpoint_last.pt")
    left_out = {name for name in before if re.search(r"decoder.*block\.[02]\.layer\.1\.", name)}
    assert left_out and set(after) == set(before) - left_out
    for name, got in after.items():
        want = before[name]
        if re.search(r"decoder.*Attention\.[kv]\.weight", name):
            want = want.unflatten(0, (2, 2, 6)).mean(dim=1).flatten(0, 1)  # four heads of 6 each
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--decoder-kv-heads", 3], ["--decoder-attention-heads", 4]),
        (["--cross-attention-interval", 4], [4, 3]),
        (["--attention-dropout", 0.1], [0.1, "t5"]),
        (["--dropout", 1], [1]),
        (["--left-pad-target"], ["--arch hugging_face"]),
        (["--hugging-face", "/nowhere"], ["/nowhere"]),
    ],
    ids=lambda given: given[0] if isinstance(given[0], str) else "",
)
def test_what_cannot_work_is_told_before_anything_is_written(flags, named, reading, tmp_path):
    imported, data = reading
    model = [*fine_tuned(imported, "fid_t5", "fid"), *TRAINING]
    done = train(data, tmp_path / "run", model, *flags, check=False)
    flag = [] if flags[0] == "--hugging-face" else flags[:1]
    assert_refused(done, *flag, *named, unwritten=tmp_path / "run")
