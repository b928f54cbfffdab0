"""Folders of transformers' that are damaged: refused in a line, with nothing written."""

import json
import shutil

import pytest
from encoder_decoder_folder import import_model
from genft_process import genft
from hypothesis import given, settings
from hypothesis import strategies as st
from models.tiny_hugging_face import save
from refusals import assert_refused
from sentence_encoder_folder import save_sentence_encoder
from tiny_gpt2 import hugging_face_folder
from trust.damage import as_json, assert_read_or_refused, changed, damaged, fuzz

from genft_fairseq.convert import encoder_decoder, sentence_encoder
from genft_fairseq.convert import gpt2 as of_gpt2
from genft_fairseq.convert.encoder_decoder import read_tokeniser
from genft_fairseq.convert.gpt2_tokeniser import require_tokeniser
from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser
from genft_fairseq.models.huggingface import description

few = settings(fuzz, max_examples=max(12, fuzz.max_examples // 3))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    hugging_face_folder(folder, n_layer=1)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    save(folder, "t5", num_layers=1, num_decoder_layers=1)
    return folder


def read_gpt2(folder):
    settings, config = of_gpt2.read_settings(folder)
    tokeniser = require_tokeniser(folder, None)
    tokeniser.require_size(settings.vocabulary)
    of_gpt2.read_weights(folder, config)


def read_t5(folder):
    tokeniser = read_tokeniser(folder, "--tokeniser")
    model, content = encoder_decoder.load(folder)
    described = encoder_decoder.describe(
        model, content, tokeniser, tokeniser, (), str(folder / "config.json")
    )
    description.loads(described.dumps(), str(folder))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    folder = save_sentence_encoder(tmp_path_factory.mktemp("st"), num_hidden_layers=1)
    prompts = {"prompts": {"query": "question : "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


def read_sentences(folder):
    _, described, _ = sentence_encoder.load(folder, None, None, ())
    description.loads(described.dumps(), str(folder))


GENERATION = "generation_config.json"
OF_SENTENCES = [
    *("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config.json"),
    "config_sentence_transformers.json",
]
FILES = [
    *(("gpt2", "config.json"), ("gpt2", "model.safetensors")),
    *(("gpt2", "vocab.json"), ("gpt2", "merges.txt")),
    *(("t5", "config.json"), ("t5", "model.safetensors"), ("t5", "tokenizer.json")),
    ("t5", GENERATION),
    *(("sentences", name) for name in OF_SENTENCES),
]
READ = {"gpt2": read_gpt2, "t5": read_t5, "sentences": read_sentences}


@pytest.mark.parametrize("kind", READ)
def test_a_good_folder_is_read(kind, folder, request):
    source = shutil.copytree(request.getfixturevalue(kind), folder / "hf")
    assert assert_read_or_refused(lambda: READ[kind](source), source, folder=folder) is None


@pytest.mark.parametrize(("kind", "name"), FILES)
@few
@given(data=st.data())
def test_damaged_files(kind, name, folder, request, data):
    source = shutil.copytree(request.getfixturevalue(kind), folder / "hf", dirs_exist_ok=True)
    (source / name).write_bytes(data.draw(damaged((source / name).read_bytes())))
    assert_read_or_refused(lambda: READ[kind](source), source, folder=folder)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name in FILES if name in (*OF_SENTENCES, GENERATION)]
)
@few
@given(data=st.data())
def test_values_of_other_kinds(kind, name, folder, request, data):
    source = shutil.copytree(request.getfixturevalue(kind), folder / "hf", dirs_exist_ok=True)
    content = json.loads((source / name).read_bytes())
    (source / name).write_bytes(as_json(data.draw(changed(content))))
    assert_read_or_refused(lambda: READ[kind](source), source, folder=folder)


SIZES = {
    "layers": ("gpt2", {"n_layer": 10**9}, ["n_layer", "1000000000"]),
    "words": ("gpt2", {"vocab_size": 10**9}, []),
    "width": ("t5", {"d_model": 10**6}, []),
    "layers of T5": ("t5", {"num_layers": 10**9}, ["num_layers", "1000000000"]),
}


@pytest.mark.parametrize(("kind", "change", "named"), SIZES.values(), ids=SIZES)
def test_a_model_that_no_memory_holds(kind, change, named, folder, request):
    """Its configuration says so in a few bytes: the weights beside it say otherwise."""
    source = shutil.copytree(request.getfixturevalue(kind), folder / "hf")
    content = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**content, **change}))
    read = of_gpt2.read_settings if kind == "gpt2" else encoder_decoder.load

    def load():
        found = read(source)
        if kind == "gpt2":
            of_gpt2.read_weights(source, found[1])

    line = assert_read_or_refused(load, source, folder=folder)
    assert line is not None and all(name in line for name in named)


# --- what genft import-hf leaves ------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    import_model(folder, "t5", num_layers=1, num_decoder_layers=1)
    return folder / "fairseq"


@pytest.mark.parametrize("name", ["hugging_face.json", "tokenizer.json"])
@few
@given(data=st.data())
def test_damaged_tokenisers_of_imported_models(name, folder, imported, data):
    for file in ("hugging_face.json", "tokenizer.json"):
        shutil.copy(imported / file, folder)
    (folder / name).write_bytes(data.draw(damaged((folder / name).read_bytes())))

    def use():
        tokeniser = ModelTokeniser.read(folder)
        tokeniser.decode(tokeniser.encode_target("some text 12"))
        description.read(folder)

    assert_read_or_refused(use, folder, folder=folder)


@few
@given(data=st.data())
def test_descriptions_in_checkpoints(folder, imported, data):
    content = json.loads((imported / "hugging_face.json").read_bytes())
    text = json.dumps(data.draw(changed(content)))
    assert_read_or_refused(
        lambda: description.loads(text, "checkpoint.pt"),
        "checkpoint.pt",
        folder=folder,
    )


def test_the_command_writes_nothing_of_a_damaged_folder(gpt2, folder):
    source = shutil.copytree(gpt2, folder / "hf")
    whole = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    done = genft("import-hf", source, folder / "out")
    assert_refused(done, source, unwritten=folder / "out")
    assert [path.name for path in folder.iterdir()] == ["hf"]
