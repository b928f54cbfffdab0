"""Other tokenisers, folders that are written whole or not, and checkpoints that are refused."""

import json
import os
import resource
import shutil
import signal

import pytest
import torch
from click.testing import CliRunner
from encoder_decoder_folder import import_model
from fairseq_commands import parameters
from models.tiny_hugging_face import TEXT, save, save_half
from refusals import assert_names
from safetensors.torch import load_file, save_file
from tiny_gpt2 import altered, call, refusal
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM

from genft_fairseq import files
from genft_fairseq.cli import genft


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    import_model(folder, "t5")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of transformers', to copy."""
    folder = tmp_path_factory.mktemp("originals")
    for kind, write in {"t5": save, "bart": save, "bert": save_half, "gpt2": save_half}.items():
        write(folder / kind, kind)
    return folder


# --- tokenisers ----------------------------------------------------------------------------------


def test_a_tokeniser_elsewhere(folders, tmp_path):
    """``--tokeniser`` names it, and one of another model does not fit."""
    folder = shutil.copytree(folders / "t5", tmp_path / "hf")
    (folder / "tokenizer.json").unlink()
    line = refusal("import-hf", folder, tmp_path / "out", "--tokeniser", folders / "bart")
    assert_names(line, folders / "bart" / "tokenizer.json", 289)
    line = refusal("import-hf", folder, tmp_path / "out", "--target-tokeniser", tmp_path)
    assert_names(line, folder, "--tokeniser")
    given = ["--tokeniser", folders / "t5"]
    line = refusal("import-hf", folder, tmp_path / "out", *given, "--target-tokeniser", tmp_path)
    assert_names(line, f"{tmp_path} ", "--target-tokeniser")
    call("import-hf", folder, tmp_path / "out", *given)
    made, given = (
        Tokenizer.from_file(str(folder / "tokenizer.json"))
        for folder in (tmp_path / "out", folders / "t5")
    )
    assert made.get_vocab() == given.get_vocab()
    assert [made.encode(text).ids for text in TEXT] == [given.encode(text).ids for text in TEXT]


def use_other_files(folder):
    """What tokenizer.json was made of."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    if model["type"] == "WordPiece":
        subwords = sorted(model["vocab"], key=model["vocab"].get)
        (folder / "vocab.txt").write_text("".join(f"{subword}\n" for subword in subwords))
    else:
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = "".join(f"{' '.join(merge)}\n" for merge in model["merges"])
        (folder / "merges.txt").write_text("#version: 0.2\n" + merges)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_files_that_transformers_makes_a_tokeniser_of(kind, folders, tmp_path):
    decoder = shutil.copytree(folders / kind, tmp_path / kind)
    use_other_files(decoder)
    call("import-hf", folders / "bert", tmp_path / "out", "--decoder", decoder)
    made, given = (
        Tokenizer.from_file(str(folder / name))
        for folder, name in (
            (tmp_path / "out", "tokenizer.target.json"),
            (folders / kind, "tokenizer.json"),
        )
    )
    for text in TEXT:
        assert made.encode(text).ids == given.encode(text).ids
    if kind == "bert":
        (decoder / "vocab.txt").write_text("")
    else:
        (decoder / "merges.txt").unlink()
    given = [folders / "bert", tmp_path / "no", "--decoder", decoder]
    assert_names(refusal("import-hf", *given), decoder)


# --- output layers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "table"),
    [
        ("t5", "lm_head.weight", "shared.weight"),
        ("bart", "lm_head.weight", "model.shared.weight"),
        (
            "bert2bert",
            "decoder.cls.predictions.decoder.weight",
            "decoder.bert.embeddings.word_embeddings.weight",
        ),
    ],
)
def test_an_output_layer_of_its_own(kind, name, table, tmp_path):
    """Not the embedding, although a configuration says so: what the file holds is kept."""
    save(tmp_path / "hf", kind)
    weights = load_file(tmp_path / "hf" / "model.safetensors")
    weights[name] = torch.randn_like(weights[table])
    save_file(weights, tmp_path / "hf" / "model.safetensors", {"format": "pt"})
    call("import-hf", tmp_path / "hf", tmp_path / "out")
    described = json.loads((tmp_path / "out" / "hugging_face.json").read_text())
    assert described["tied"] is False
    ours = parameters(tmp_path / "out" / "model.pt")["decoder.output_projection.weight"]
    assert torch.equal(ours[-1], weights[name][-1])
    call("export-hf", tmp_path / "out" / "model.pt", tmp_path / "back")
    back = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back").state_dict()
    assert torch.equal(back[name], weights[name]) and torch.equal(back[table], weights[table])


# --- folders that are written --------------------------------------------------------------------


def test_a_folder_that_holds_something_is_kept(imported, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    for command, source in (("import-hf", "hf"), ("export-hf", "fairseq/model.pt")):
        assert_names(refusal(command, imported / source, tmp_path / "out"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def in_a_child(function):
    """How a forked process ends that calls it."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("command", ["import-hf", "export-hf"])
@pytest.mark.parametrize("end", ["full", "kill"])
def test_a_folder_is_whole_or_not_there(end, command, imported, tmp_path):
    """Where the disk is full in the middle of the parameters, and where the command is killed."""
    source = imported / ("hf" if command == "import-hf" else "fairseq/model.pt")

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        line = refusal(command, source, tmp_path / "out")
        assert_names(line, tmp_path)

    def killed():
        files.Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        call(command, source, tmp_path / "out")

    assert in_a_child(full if end == "full" else killed) == (0 if end == "full" else -9)
    assert not (tmp_path / "out").exists()
    left = list(tmp_path.iterdir())
    assert [path.suffix for path in left] == ([".partial"] if end == "kill" else [])
    call(command, source, tmp_path / "out")
    names = {"import-hf": "model.pt", "export-hf": "model.safetensors"}
    assert (tmp_path / "out" / names[command]).is_file()


# --- export --------------------------------------------------------------------------------------


def set_model(**settings):
    return lambda state: vars(state["cfg"]["model"]).update(settings)


def described(**changes):
    def change(state):
        model = vars(state["cfg"]["model"])
        model["hugging_face_description"] = json.dumps(
            {**json.loads(model["hugging_face_description"]), **changes}
        )

    return change


NORM = "decoder.stack.final_layer_norm.weight"
EXPORT_REFUSED = {
    "grouped": (set_model(_name="fid_t5", arch="fid_t5", decoder_kv_heads=1), ()),
    "sparse": (set_model(_name="fid_t5", arch="fid_t5", cross_attention_interval=2), ()),
    "missing": (lambda state: state["model"].pop(NORM), (NORM,)),
    "unknown": (
        lambda state: state["model"].update({"decoder.extra": torch.zeros(1)}),
        ("decoder.extra",),
    ),
    "shape": (lambda state: state["model"].update({NORM: torch.zeros(3)}), (NORM,)),
    "no description": (set_model(hugging_face_description=None), ()),
    "other description": (described(start="x"), ()),
    "other type": (described(model_type="t6"), ("model_type",)),
    "no model": (lambda state: state.pop("model"), ()),
}


@pytest.mark.parametrize(("change", "named"), EXPORT_REFUSED.values(), ids=EXPORT_REFUSED)
def test_a_checkpoint_is_refused(change, named, imported, tmp_path):
    folder = altered(imported / "fairseq", tmp_path / "fairseq", change)
    line = refusal("export-hf", folder / "model.pt", tmp_path / "out")
    assert_names(line, *(named or [folder / "model.pt"]))
    assert not (tmp_path / "out").exists()


def test_symbols_that_transformers_does_not_know(imported, tmp_path):
    call("import-hf", imported / "hf", tmp_path / "fid", "--passages", 2)
    line = refusal("export-hf", tmp_path / "fid" / "model.pt", tmp_path / "out")
    assert_names(line, tmp_path / "fid" / "model.pt", "<question>")
    assert not (tmp_path / "out").exists()


def test_export_without_a_tokeniser(imported, tmp_path):
    folder = altered(imported / "fairseq", tmp_path / "fairseq", lambda state: None)
    (folder / "tokenizer.json").unlink()
    line = refusal("export-hf", folder / "model.pt", tmp_path / "out")
    assert_names(line, "tokenizer.json", folder / "model.pt", "--data")
    given = [folder / "model.pt", tmp_path / "out", "--data", tmp_path]
    assert_names(refusal("export-hf", *given), "tokenizer.json", f"{tmp_path} ")
    done = CliRunner().invoke(genft, list(map(str, ["export-hf", *given, "--endoftext", "own"])))
    assert done.exit_code == 2
    assert_names(done.output, "--endoftext", "own")
    call("export-hf", *given[:2], "--data", imported / "fairseq")


def vocab_alone(folder, subwords):
    """An old BERT: a list of subwords, and nothing that says what it is."""
    (folder / "tokenizer.json").unlink()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *subwords]
    (folder / "vocab.txt").write_text("".join(f"{subword}\n" for subword in names))
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("subwords", "expected"), [(["paris", "cat"], [5, 6]), (["Paris", "cat"], [5, 6])]
)
def test_an_old_bert(subwords, expected, folders, tmp_path):
    """Its subwords tell whether it knows capitals."""
    bert = shutil.copytree(folders / "bert", tmp_path / "bert")
    vocab_alone(bert, subwords)
    call("import-hf", bert, tmp_path / "out", "--decoder", bert)
    made = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert made.encode("Paris cat").ids == [2, *expected, 3]
    lowered = made.encode("paris cat").ids[1]
    assert lowered == (5 if subwords[0] == "paris" else 1)


def test_a_tokeniser_of_another_class_is_not_guessed(folders, tmp_path):
    bert = shutil.copytree(folders / "bert", tmp_path / "bert")
    vocab_alone(bert, ["cat"])
    said = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
    (bert / "tokenizer_config.json").write_text(json.dumps(said))
    line = refusal("import-hf", bert, tmp_path / "out", "--decoder", bert)
    assert_names(line, bert, "--tokeniser")
