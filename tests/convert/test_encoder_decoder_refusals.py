"""What ``genft import-hf`` refuses of encoder-decoders, before anything is written."""

import json
import os
import shutil

import pytest
import torch
from click.testing import CliRunner
from convert.test_hugging_face_refusals import Payload, configured, without
from models.tiny_hugging_face import save, save_half
from refusals import assert_names
from safetensors.torch import load_file, save_file
from tiny_gpt2 import refusal
from tokenizers import Tokenizer, processors

from genft_fairseq.cli import genft


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Folders of transformers', to copy and break."""
    folder = tmp_path_factory.mktemp("originals")
    for kind in ("t5", "bart", "bert2bert", "roberta2roberta"):
        save(folder / kind, kind)
    for kind in ("bert", "gpt2"):
        save_half(folder / kind, kind)
    return folder


def stored(change):
    """Change the parameters."""

    def rewrite(folder):
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def half(name, **fields):
    """Change the configuration of the encoder or the decoder."""

    def change(folder):
        content = json.loads((folder / "config.json").read_text())
        configured(**{name: {**content[name], **fields}})(folder)

    return change


def tokeniser(change):
    def rewrite(folder):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        change(tokenizer)
        tokenizer.save(str(folder / "tokenizer.json"))

    return rewrite


def truncated(name, size):
    return lambda folder: os.truncate(folder / name, size)


def more_tokens(tokenizer):
    tokenizer.add_tokens([f"more{number}" for number in range(6)])


def framed_by(frame, number):
    def change(tokenizer):
        special = [(frame.split()[-1], number)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=frame, special_tokens=special
        )

    return change


BIAS = "decoder.final_layer_norm.weight"
REFUSED = {
    "gone": ("t5", shutil.rmtree, ()),
    "no config": ("t5", without("config.json"), ("config.json",)),
    "no JSON": ("t5", truncated("config.json", 9), ("config.json",)),
    "no weights": ("t5", without("model.safetensors"), ("model.safetensors",)),
    "adapter": (
        "t5",
        lambda folder: (folder / "adapter_config.json").touch(),
        ("adapter_config.json",),
    ),
    "quantised": ("t5", configured(quantization_config={"x": 1}), ()),
    "no tokeniser": ("t5", without("tokenizer.json"), ()),
    "broken tokeniser": ("t5", truncated("tokenizer.json", 99), ("tokenizer.json",)),
    "other model": ("t5", configured(model_type="pegasus"), ("model_type", "pegasus")),
    "unknown half": (
        "bert2bert",
        half("decoder", model_type="electra"),
        ("decoder", "model_type", "electra"),
    ),
    "no half": ("bert2bert", configured(encoder=None), ("encoder", "model_type")),
    "shared halves": ("bert2bert", configured(tie_encoder_decoder=True), ("tie_encoder_decoder",)),
    "scale": ("bart", configured(scale_embedding=True), ("config.json", "scale_embedding", True)),
    "relative": (
        "bert2bert",
        half("encoder", position_embedding_type="relative_key"),
        ("config.json", "position_embedding_type", "relative_key"),
    ),
    "padding": (
        "roberta2roberta",
        half("decoder", pad_token_id=0),
        ("config.json", "pad_token_id", 0),
    ),
    "type": ("t5", configured(d_model="wide"), ("config.json",)),
    "heads": ("bart", configured(encoder_attention_heads=5), ()),
    "ids": ("t5", tokeniser(more_tokens), ("tokenizer.json", "config.json", "vocab_size")),
    "frame": (
        "t5",
        tokeniser(framed_by("$A <pad>", 0)),
        ("tokenizer.json", 0, "config.json", "eos_token_id"),
    ),
    "no start": (
        "bert2bert",
        configured(decoder_start_token_id=None),
        ("config.json", "decoder_start_token_id"),
    ),
    "start": (
        "bart",
        configured(decoder_start_token_id=290),
        ("config.json", "decoder_start_token_id", 290),
    ),
    "end": ("bart", configured(eos_token_id=-1), ("config.json", "eos_token_id", -1)),
    "truncated": ("t5", truncated("model.safetensors", 5000), ()),
    "missing": ("t5", stored(lambda state: state.pop(BIAS)), (BIAS,)),
    "extra": (
        "t5",
        stored(lambda state: state.update({"encoder.extra": torch.zeros(1)})),
        ("encoder.extra"),
    ),
    "shape": (
        "t5",
        stored(lambda state: state.update({BIAS: torch.zeros(3)})),
        (BIAS, "(3,)", "(16,)"),
    ),
    "not finite": ("t5", stored(lambda state: state[BIAS].fill_(float("nan"))), (BIAS,)),
    "embeddings": (
        "t5",
        stored(lambda s: s.update({"decoder.embed_tokens.weight": s["shared.weight"] + 1})),
        ("config.json", "encoder.embed_tokens", "decoder.embed_tokens"),
    ),
    "deeper": ("bart", configured(decoder_layers=3), ("model.decoder.layers.2",)),
    "shallower": ("bart", configured(decoder_layers=1), ("model.decoder.layers.1",)),
}


@pytest.mark.parametrize(("kind", "change", "named"), REFUSED.values(), ids=REFUSED)
def test_a_folder_is_refused(kind, change, named, originals, tmp_path):
    folder = shutil.copytree(originals / kind, tmp_path / "hf")
    change(folder)
    line = refusal("import-hf", folder, tmp_path / "out")
    assert_names(line, folder, *named)
    assert set(tmp_path.iterdir()) <= {folder}


def test_pickled_weights_run_no_code(originals, tmp_path):
    folder = shutil.copytree(originals / "t5", tmp_path / "hf")
    weights = {**load_file(folder / "model.safetensors"), "note": Payload(tmp_path / "executed")}
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    line = refusal("import-hf", folder, tmp_path / "out")
    assert_names(line, folder)
    assert set(tmp_path.iterdir()) == {folder}


COMPOSED = {
    "decoder": ("bert", "t5", ("model_type", "t5")),
    "encoder": ("gpt2", "bert", ("model_type", "gpt2")),
    "whole": ("bert2bert", "bert", ("model_type", "encoder-decoder")),
    "gone": ("bert", "nowhere", ("nowhere",)),
}


@pytest.mark.parametrize(("encoder", "decoder", "named"), COMPOSED.values(), ids=COMPOSED)
def test_halves_that_do_not_fit(encoder, decoder, named, originals, tmp_path):
    if not (originals / decoder).exists():
        tokenisers = ["--target-tokeniser", originals / "bert"]
    else:
        tokenisers = []
    given = [originals / encoder, tmp_path / "out", "--decoder", originals / decoder, *tokenisers]
    assert_names(refusal("import-hf", *given), *named)
    assert not list(tmp_path.iterdir())


FLAGS = {
    "gpt2_bpe": (["t5", "--gpt2-bpe", "x"], ["--gpt2-bpe x", "{hf}"]),
    "passages": (["gpt2", "--passages", 3], ["--passages 3", "{hf}"]),
    "tokeniser": (["gpt2", "--tokeniser", "x"], ["--tokeniser x", "{hf}"]),
    "pooling": (["t5", "--pooling", "mean"], ["--pooling mean", "{hf}"]),
    "seed of gpt2": (["gpt2", "--seed", 1], ["--seed 1", "{hf}"]),
    "seed": (["t5", "--seed", 1], ["--seed 1", "--decoder"]),
    "no passages": (["t5", "--passages", 0], ["--passages", "0"]),
    "negative": (["bert", "--seed", -1], ["--seed", "-1"]),
}


@pytest.mark.parametrize(("given", "expected"), FLAGS.values(), ids=FLAGS)
def test_flags_without_effect(given, expected, originals, tmp_path):
    folder = originals / given[0]
    words = ["import-hf", folder, tmp_path / "out", *given[1:]]
    done = CliRunner().invoke(genft, list(map(str, words)))
    assert done.exit_code == 2
    said = done.output.replace("\n", " ")
    assert all(part.format(hf=folder) in said for part in expected), said
    assert not list(tmp_path.iterdir())
