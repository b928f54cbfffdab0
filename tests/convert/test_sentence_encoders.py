"""Pretrained encoders: the vectors that they have in transformers, whatever their folder says."""

import json

import pytest
import torch
from click.testing import CliRunner
from convert.test_hugging_face_refusals import Payload
from models.tiny_hugging_face import save_half
from refusals import assert_names, refuses
from safetensors.torch import load_file
from sentence_encoder_folder import (
    CLS,
    MEAN,
    PASSAGES,
    QUESTIONS,
    save_sentence_encoder,
    vectors,
    without_modules,
    write_json,
)
from tiny_gpt2 import call, refusal

from genft_fairseq.cli import genft
from genft_fairseq.cli.retrieve import load_encoder
from genft_fairseq.data.fid_json import Passage


def assert_vectors(folder, original, prompts=("", ""), **said):
    """Ours are transformers' vectors, of questions and of passages."""
    encoder, _ = load_encoder(str(folder), None, batch_size=2, cpu=True)
    questions = [prompts[0] + text for text in QUESTIONS]
    wanted = vectors(original, questions, **said)
    torch.testing.assert_close(encoder.questions(QUESTIONS), wanted, rtol=1e-4, atol=1e-5)
    assert encoder.width == wanted.size(1)
    passages = [Passage(title, text) for title, text in PASSAGES]
    texts = [" ".join(filter(None, [prompts[1] + title, text])) for title, text in PASSAGES]
    wanted = vectors(original, texts, **said)
    torch.testing.assert_close(encoder.passages(passages), wanted, rtol=1e-4, atol=1e-5)


SAID = {
    "mean": {},
    "cls": {"pooling": CLS},
    "not normalised": {"normalize": False},
    "short": {"longest": 6},
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_vectors_of_a_folder(said, tmp_path):
    """Read as it is, or imported first."""
    folder = save_sentence_encoder(tmp_path / "st", **said)
    assert_vectors(folder, folder, **said)
    call("import-hf", folder, tmp_path / "out")
    assert_vectors(tmp_path / "out", folder, **said)


def test_a_model_in_a_folder_of_its_own(tmp_path):
    """As older versions saved it."""
    folder = save_sentence_encoder(tmp_path / "st", place="0_Transformer")
    assert_vectors(folder, folder / "0_Transformer")


def test_the_model_alone(tmp_path):
    """Means, over as many tokens as there are positions; or what --pooling says."""
    folder = without_modules(save_sentence_encoder(tmp_path / "st"), tmp_path / "hf")
    assert_vectors(folder, folder, normalize=False, longest=42)
    call("import-hf", folder, tmp_path / "out", "--pooling", "first")
    assert_vectors(tmp_path / "out", folder, normalize=False, longest=42, pooling=CLS)
    write_json(folder / "tokenizer_config.json", {"model_max_length": 7})
    assert_vectors(folder, folder, normalize=False, longest=7)


def test_roberta(tmp_path):
    """A piece depends on the space before it: title and text are apart."""
    folder = save_sentence_encoder(tmp_path / "st", "roberta")
    encoder, _ = load_encoder(str(folder), None, batch_size=2, cpu=True)
    wanted = vectors(folder, QUESTIONS)
    torch.testing.assert_close(encoder.questions(QUESTIONS), wanted, rtol=1e-4, atol=1e-5)
    passages = [Passage(title, text) for title, text in PASSAGES]
    texts = [f"{title}</s>{text}" for title, text in PASSAGES]
    wanted = vectors(folder, texts)
    torch.testing.assert_close(encoder.passages(passages), wanted, rtol=1e-4, atol=1e-5)


def test_pickled_weights(tmp_path):
    folder = save_sentence_encoder(tmp_path / "st")
    weights = {
        k.removeprefix("bert."): v for k, v in load_file(folder / "model.safetensors").items()
    }
    kept = {name: value for name, value in weights.items() if not name.startswith("cls.")}
    original = without_modules(folder, tmp_path / "original")
    torch.save(kept, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_vectors(folder, original)


def test_pickled_weights_run_no_code(tmp_path):
    """Neither of an import nor of a search."""
    folder = save_sentence_encoder(tmp_path / "st")
    weights = {**load_file(folder / "model.safetensors"), "note": Payload(tmp_path / "executed")}
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert str(folder) in refusal("import-hf", folder, tmp_path / "out")
    with refuses(folder):
        load_encoder(str(folder), None, batch_size=2, cpu=True)
    assert set(tmp_path.iterdir()) == {folder}


def test_prompts(tmp_path):
    folder = save_sentence_encoder(tmp_path / "st", longest=16)
    prompts = {"query": "question : ", "passage": "a summary of ", "document": ""}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    assert_vectors(folder, folder, ("question : ", "a summary of "), longest=16)
    named = {"prompts": {"any": "the "}, "default_prompt_name": "any"}
    write_json(folder / "config_sentence_transformers.json", named)
    assert_vectors(folder, folder, ("the ", "the "), longest=16)
    # Left out of a mean they would have no place here; the first token is that of any text.
    says = folder / "1_Pooling" / "config.json"
    write_json(says, {"pooling_mode": "cls", "include_prompt": False})
    assert_vectors(folder, folder, ("the ", "the "), longest=16, pooling=CLS)
    write_json(says, {"pooling_mode": "mean", "include_prompt": False})
    line = refusal("import-hf", folder, tmp_path / "out")
    assert_names(line, "1_Pooling", "include_prompt")
    assert not (tmp_path / "out").exists()
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": ""}})
    assert_vectors(folder, folder, longest=16)


def test_capitals(tmp_path):
    folder = save_sentence_encoder(tmp_path / "st")
    limits = {"max_seq_length": 12, "do_lower_case": True}
    write_json(folder / "sentence_bert_config.json", limits)
    encoder, _ = load_encoder(str(folder), None, batch_size=2, cpu=True)
    shouted = encoder.questions([text.upper() for text in QUESTIONS])
    torch.testing.assert_close(shouted, vectors(folder, QUESTIONS), rtol=1e-4, atol=1e-5)


def test_pooling_by_its_name(tmp_path):
    """As newer versions say it; and the mean where nothing is said."""
    folder = save_sentence_encoder(tmp_path / "st")
    path = folder / "1_Pooling" / "config.json"
    write_json(path, {"pooling_mode": "cls"})
    assert_vectors(folder, folder, pooling=CLS)
    write_json(path, {"word_embedding_dimension": 16})
    assert_vectors(folder, folder)


def test_what_is_printed(tmp_path):
    folder = save_sentence_encoder(tmp_path / "st")
    done = json.loads(call("import-hf", folder, tmp_path / "out", "--json"))
    assert (done["model_type"], done["pooling"], done["normalize"]) == ("bert", "mean", True)
    assert done["longest"] == 12
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["dict.txt", "hugging_face.json", "model.pt", "tokenizer.json"]
    symbols = (tmp_path / "out" / "dict.txt").read_text().split("\n")
    assert "<context> 1" in symbols and "<passage:100> 1" in symbols


# --- what is refused -----------------------------------------------------------------------------


def pooling(**content):
    return lambda folder: write_json(folder / "1_Pooling" / "config.json", content)


def modules(*changed):
    def change(folder):
        content = json.loads((folder / "modules.json").read_text())
        for number, name, value in changed:
            content[number][name] = value
        write_json(folder / "modules.json", content)

    return change


def file(name, content):
    return lambda folder: write_json(folder / name, content)


REFUSED = {
    "max": (pooling(**{MEAN: False, "pooling_mode_max_tokens": True}), "1_Pooling", "max_tokens"),
    "two": (pooling(**{CLS: True}), "1_Pooling", "mean_tokens", "cls_token"),
    "last token": (pooling(pooling_mode="lasttoken"), "1_Pooling", "lasttoken"),
    "no pooling": (lambda folder: (folder / "1_Pooling" / "config.json").unlink(), "1_Pooling"),
    "dense": (modules((2, "type", "sentence_transformers.models.Dense")), "modules.json", "Dense"),
    "order": (modules((0, "type", "models.Pooling")), "modules.json", "Pooling"),
    "outside": (modules((1, "path", "../1_Pooling")), "modules.json", "../1_Pooling"),
    "no list": (file("modules.json", {}), "modules.json"),
    "length": (
        file("sentence_bert_config.json", {"max_seq_length": 2}),
        "sentence_bert_config.json",
        "2",
    ),
    "no length": (
        file("sentence_bert_config.json", {"max_seq_length": "long"}),
        "sentence_bert_config.json",
        "long",
    ),
    "prompt": (
        file("config_sentence_transformers.json", {"prompts": {"query": "ask"}}),
        "config_sentence_transformers.json",
        "ask",
    ),
    "no prompt": (
        file("config_sentence_transformers.json", {"prompts": {"query": 7}}),
        "config_sentence_transformers.json",
    ),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_here(refused, tmp_path):
    folder = save_sentence_encoder(tmp_path / "st")
    change, *named = refused
    change(folder)
    line = refusal("import-hf", folder, tmp_path / "out")
    assert_names(line, *named)
    assert set(tmp_path.iterdir()) == {folder}


def test_another_kind_of_model(tmp_path):
    folder = save_sentence_encoder(tmp_path / "st")
    write_json(folder / "config.json", {"model_type": "mpnet"})
    line = refusal("import-hf", folder, tmp_path / "out")
    assert "config.json" in line and "mpnet" in line and "bert" in line


def test_a_pooling_that_the_folder_denies(tmp_path):
    folder = save_sentence_encoder(tmp_path / "st")
    line = refusal("import-hf", folder, tmp_path / "out", "--pooling", "first")
    assert "--pooling first" in line and "1_Pooling" in line
    assert set(tmp_path.iterdir()) == {folder}


FLAGS = {
    "seed": ("bert", ["--seed", "3"]),
    "target": ("bert", ["--target-tokeniser", "st"]),
    "of a GPT-2": ("bert", ["--gpt2-bpe", "st"]),
    "of an encoder": ("gpt2", ["--pooling", "mean"]),
}


@pytest.mark.parametrize(("kind", "flags"), FLAGS.values(), ids=FLAGS)
def test_flags_of_another_kind_of_model(kind, flags, tmp_path):
    save_half(tmp_path / "hf", kind)
    arguments = ["import-hf", str(tmp_path / "hf"), str(tmp_path / "out"), *flags]
    result = CliRunner().invoke(genft, arguments)
    assert result.exit_code == 2 and " ".join(flags) in " ".join(result.output.split())
    assert set(tmp_path.iterdir()) == {tmp_path / "hf"}
