"""Encoder-decoders by ``genft import-hf`` and ``export-hf``: every number where it belongs."""

import copy
import functools
import json
import shutil

import pytest
import torch
from encoder_decoder_folder import dictionaries, import_model
from fairseq_commands import parameters
from models.tiny_hugging_face import KINDS, TEXT, save, save_half
from tiny_gpt2 import call
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

# transformers' ids of fairseq's <s>, <pad>, </s> and <unk>, from how the tokenisers are made;
# T5 has no <s>, and GPT-2 one token, the last, for whatever is no text.
SPECIAL = {
    "t5": [None, 0, 1, 2],
    "t5_v1_1": [None, 0, 1, 2],
    "bart": [0, 1, 2, 3],
    "bert": [2, 0, 3, 1],
    "roberta": [0, 1, 2, 3],
    "gpt2": [None, None, 290, None],
}
# What every text begins with, what the decoder reads first, and the most tokens of a text.
DESCRIBED = {
    "t5": ([], "<pad>", None),
    "t5_v1_1": ([], "<pad>", None),
    "bart": (["<s>"], "</s>", 40),
    "bert": (["<s>"], "<s>", 42),
    "roberta": (["<s>"], "<s>", 40),  # its positions are counted from 2 on
    "gpt2": ([], "</s>", 40),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The folder of a kind with transformers' model and fairseq's; and the former, loaded."""

    @functools.cache
    def imported(kind):
        folder = tmp_path_factory.mktemp(kind)
        return folder, import_model(folder, kind)

    return imported


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Folders of what encoder-decoders are composed of, and the models in them."""
    folder = tmp_path_factory.mktemp("halves")
    return folder, {kind: save_half(folder / kind, kind) for kind in ("bert", "roberta", "gpt2")}


def sides(kind):
    """The kinds of what reads and of what writes."""
    source, _, target = kind.partition("2")
    return (source, target) if target else (kind, kind)


def rows(kind, size):
    """transformers' id of each of fairseq's, None where it has none."""
    own = SPECIAL[kind]
    return own + [number for number in range(size) if number not in own]


def assert_same_tensors(got, want):
    assert got.keys() == want.keys()
    assert [name for name in want if not torch.equal(got[name], want[name])] == []


# --- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_dictionaries_and_the_rows_of_the_vocabulary(kind, original):
    folder, model = original(kind)
    weights = parameters(folder / "fairseq" / "model.pt")
    stacks = {"encoder": model.get_encoder(), "decoder": model.get_decoder()}
    names = zip(sides(kind), stacks.items(), dictionaries(folder / "fairseq"), strict=True)
    for side, (name, stack), dictionary in names:
        embedding = stack.get_input_embeddings().weight
        wanted = rows(side, len(embedding))
        assert dictionary.read_text() == "".join(f"{number} 1\n" for number in wanted[4:])
        (found,) = (
            value
            for key, value in weights.items()
            if key.startswith(f"{name}.stack.")
            and key.endswith(("embed_tokens.weight", "word_embeddings.weight", "wte.weight"))
        )
        for row, number in zip(found, wanted, strict=True):
            want = torch.zeros_like(row) if number is None else embedding[number]
            assert torch.equal(row, want), number
    assert len(set(dictionaries(folder / "fairseq"))) == (2 if kind == "bert2gpt2" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_description(kind, original):
    folder, _ = original(kind)
    described = json.loads((folder / "fairseq" / "hugging_face.json").read_text())
    for name, side in zip(("source", "target"), sides(kind), strict=True):
        prefix, start, positions = DESCRIBED[side]
        assert described[name]["prefix"] == prefix
        assert described[f"{name}_positions"] == positions
        assert [described[name][key] for key in ("bos", "pad", "eos", "unk")] == SPECIAL[side]
    assert described["start"] == start
    assert described["tied"] == (kind != "t5_v1_1")


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind, original, tmp_path):
    """Every tensor, every field of the configuration, and the ids of a text."""
    folder, model = original(kind)
    call("export-hf", folder / "fairseq" / "model.pt", tmp_path / "back")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back", local_files_only=True)
    assert_same_tensors(back.state_dict(), model.state_dict())
    files = (place / "config.json" for place in (tmp_path / "back", folder / "hf"))
    got, want = (json.loads(file.read_text()) for file in files)
    assert got == want
    for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        wanted = getattr(model.generation_config, name)
        assert getattr(back.generation_config, name) == wanted, name
    places = ["source", "target"] if kind == "bert2gpt2" else ["."]
    for place in places:
        before = Tokenizer.from_file(str(folder / "hf" / place / "tokenizer.json"))
        after = AutoTokenizer.from_pretrained(tmp_path / "back" / place, local_files_only=True)
        for text in [*TEXT, "Gänse\u2014and <s> 7"]:
            assert after(text)["input_ids"] == before.encode(text).ids
        for token in ("eos_token_id", "pad_token_id", "unk_token_id"):
            own = dict(
                zip(("pad_token_id", "eos_token_id", "unk_token_id"), (1, 2, 3), strict=True)
            )
            side = sides(kind)[places.index(place)]
            assert getattr(after, token) == SPECIAL[side][own[token]]


def test_one_parameter_that_training_moved(original, tmp_path):
    folder, model = original("bart")
    copied = shutil.copytree(folder / "fairseq", tmp_path / "fairseq")
    state = torch.load(copied / "model.pt", weights_only=False)
    moved = "decoder.stack.layers.1.fc1.weight"
    state["model"][moved][3, 5] = 7.0
    torch.save(state, copied / "model.pt")
    call("export-hf", copied / "model.pt", tmp_path / "back")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back").state_dict()
    want = {name: value.clone() for name, value in model.state_dict().items()}
    want["model.decoder.layers.1.fc1.weight"][3, 5] = 7.0
    assert_same_tensors(back, want)


def test_half_precision(original, tmp_path):
    """A checkpoint of ``--fp16`` has parameters in half precision, and so has its export."""
    folder, model = original("t5")
    copied = shutil.copytree(folder / "fairseq", tmp_path / "fairseq")
    state = torch.load(copied / "model.pt", weights_only=False)
    state["model"] = {
        name: value.half() if value.is_floating_point() else value
        for name, value in state["model"].items()
    }
    torch.save(state, copied / "model.pt")
    call("export-hf", copied / "model.pt", tmp_path / "back")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back", dtype="auto")
    assert back.dtype == torch.float16
    assert_same_tensors(back.state_dict(), copy.deepcopy(model).half().state_dict())


# --- the folders that there are ------------------------------------------------------------------


def use_shards(folder, model):
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").exists()


def use_pickle(folder, model):
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def use_half_precision(folder, model):
    """What half precision can hold is read in single precision."""
    rounded = {name: value.half().float() for name, value in model.state_dict().items()}
    model.load_state_dict(rounded)
    model.half().save_pretrained(folder)
    model.float()


CHANGES = {"t5_v1_1": use_shards, "bart": use_pickle, "t5": use_half_precision}


@pytest.mark.parametrize(("kind", "change"), CHANGES.items())
def test_every_kind_of_weights(kind, change, tmp_path):
    model = save(tmp_path / "hf", kind)
    change(tmp_path / "hf", model)
    call("import-hf", tmp_path / "hf", tmp_path / "fairseq")
    call("export-hf", tmp_path / "fairseq" / "model.pt", tmp_path / "back")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back")
    assert back.dtype == torch.float32
    assert_same_tensors(back.state_dict(), model.state_dict())


# --- composed of two -----------------------------------------------------------------------------

# Where the decoder's parameters are, by what their names begin with.
PLACES = {
    "bert": {"bert.": "decoder.bert.", "cls.predictions.": "decoder.cls.predictions."},
    "roberta": {"roberta.": "decoder.roberta.", "lm_head.": "decoder.lm_head."},
    "gpt2": {"transformer.": "decoder.transformer.", "lm_head.": "decoder.lm_head."},
}
NEW = ("crossattention", "ln_cross_attn", "enc_to_dec_proj")


@pytest.mark.parametrize("kind", ["bert2bert", "bert2gpt2", "roberta2roberta"])
def test_composed(kind, halves, tmp_path):
    """The same seed makes the same file; another one moves cross-attention, and nothing else."""
    folder, models = halves
    encoder, decoder = kind.split("2", 1)
    given = [folder / encoder, tmp_path / "out", "--decoder", folder / decoder]
    files, exported = [], []
    for flags in ([], ["--seed", 1], ["--seed", 7]):
        assert f"--seed {(flags or [0, 1])[1]}" in call("import-hf", *given, *flags)
        files.append((tmp_path / "out" / "model.pt").read_bytes())
        if flags:
            back = tmp_path / f"back{len(files)}"
            call("export-hf", tmp_path / "out" / "model.pt", back)
            exported.append(AutoModelForSeq2SeqLM.from_pretrained(back).state_dict())
        shutil.rmtree(tmp_path / "out")
    assert files[0] == files[1]
    found, other = exported
    wanted = {"encoder.": (models[encoder], f"{encoder}.")}
    wanted |= {after: (models[decoder], before) for before, after in PLACES[decoder].items()}
    pretrained = {
        after + name.removeprefix(before): value
        for after, (model, before) in wanted.items()
        for name, value in model.state_dict().items()
        if name.startswith(before) and (after == "encoder." or ".pooler." not in name)
    }
    assert [name for name in pretrained if not torch.equal(pretrained[name], found[name])] == []
    new = set(found) - set(pretrained)
    pooler = encoder == "roberta"  # which language models are saved without
    assert all(any(part in name for part in NEW) or (pooler and "pooler" in name) for name in new)
    differing = {name for name in found if not torch.equal(found[name], other[name])}
    drawn = ("query.weight", "key.weight", "q_attn.weight", "crossattention.c_proj.weight")
    assert {name for name in new if name.endswith(drawn)} <= differing <= new


# --- symbols of Fusion-in-Decoder ----------------------------------------------------------------

SPELLED = {
    "<question>": "question:",
    "<title>": "title:",
    "<context>": "context:",
    **{f"<passage:{number}>": f"passage {number}:" for number in range(3)},
}


@pytest.mark.parametrize("kind", ["t5", "t5_v1_1", "bart"])
def test_the_symbols_of_passages(kind, original, tmp_path):
    """Behind the model's own, beginning as the mean of the rows of what spells them."""
    folder, model = original(kind)
    said = call("import-hf", folder / "hf", tmp_path / "out", "--passages", 2)
    assert "--arch fid_t5 --task fid" in said
    plain = (folder / "fairseq" / "dict.txt").read_text()
    added = "".join(f"{symbol} 1\n" for symbol in SPELLED)
    assert (tmp_path / "out" / "dict.txt").read_text() == plain + added
    tokenizer = Tokenizer.from_file(str(folder / "hf" / "tokenizer.json"))
    weights = parameters(tmp_path / "out" / "model.pt")
    embedding = model.get_decoder().get_input_embeddings().weight
    for name, table in (
        ("decoder.stack.embed_tokens.weight", embedding),
        ("encoder.stack.embed_tokens.weight", embedding),
        ("decoder.output_projection.weight", model.get_output_embeddings().weight),
    ):
        for at, text in enumerate(SPELLED.values()):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert len(ids) > 1
            row = weights[name][-6 + at]
            torch.testing.assert_close(row, table[ids].mean(dim=0), rtol=1e-6, atol=1e-7)
            if kind == "bart" and name.startswith("decoder.output"):  # a constant for each token
                number = weights["decoder.output_projection.bias"][-6 + at]
                torch.testing.assert_close(number, model.final_logits_bias[0, ids].mean())


def test_t5_v1_1_as_it_is_published(tmp_path):
    """``tie_word_embeddings`` says that the output is not scaled."""
    model = save(tmp_path / "hf", "t5_v1_1")
    file = tmp_path / "hf" / "config.json"
    fields = json.loads(file.read_text())
    assert fields.pop("scale_decoder_outputs") is False
    file.write_text(json.dumps({**fields, "tie_word_embeddings": False}))
    call("import-hf", tmp_path / "hf", tmp_path / "out")
    call("export-hf", tmp_path / "out" / "model.pt", tmp_path / "back")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back")
    assert not back.config.scale_decoder_outputs
    assert_same_tensors(back.state_dict(), model.state_dict())
