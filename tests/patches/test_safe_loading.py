"""Checkpoints that cannot run code, options that cannot either, and copies that are whole."""

import collections
import io
import os
import pickle
import shutil
import sys
import zipfile
from argparse import Namespace
from pathlib import Path

import fairseq.models.fconv
import fairseq.optim.adam
import fairseq.utils
import numpy as np
import omegaconf
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import FairseqConfig
from fairseq.distributed import utils as distributed_utils
from omegaconf import MISSING, OmegaConf
from refusals import refuses

import genft_fairseq  # noqa: F401  (applies the remedies)
from genft_fairseq.errors import UserError
from genft_fairseq.patches import safe_loading
from genft_fairseq.patches.safe_loading import TRUST_VARIABLE, evaluate_literal

FORMATS = {"zip": True, "legacy": False}


class Calls:
    """Unpickles to the result of a call: what an attacker writes into a checkpoint."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def load(path):
    """As fairseq's ``load_checkpoint_to_cpu`` does: an open file, through its own ``torch``."""
    with open(path, "rb") as file:
        return checkpoint_utils.torch.load(file, map_location=torch.device("cpu"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint_last.pt"


@pytest.fixture(autouse=True)
def _trust_nobody(monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)


ATTACKS = {
    f"{os.system.__module__}.system": lambda marker: Calls(os.system, f"echo > '{marker}'"),
    "eval": lambda marker: Calls(eval, f"open({str(marker)!r}, 'w').close()"),
    "shutil.copyfile": lambda marker: Calls(shutil.copyfile, __file__, str(marker)),
}


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_call_is_refused_and_named(name, layout, path, tmp_path):
    """And not made: the file it would create is not there."""
    marker = tmp_path / "executed"
    state = {"model": {"w": torch.zeros(2)}, "extra_state": ATTACKS[name](marker)}
    torch.save(state, path, _use_new_zipfile_serialization=FORMATS[layout])
    with refuses(path, name, f"{TRUST_VARIABLE}={path}"):
        load(path)
    assert not marker.exists()


def test_a_trusted_file_is_loaded(path, tmp_path, monkeypatch):
    """By name, and only that file; several are separated as in PATH."""
    marker = tmp_path / "executed"
    torch.save({"extra_state": Calls(os.system, f"echo > '{marker}'")}, path)
    other = tmp_path / "other.pt"
    shutil.copy(path, other)
    monkeypatch.setenv(TRUST_VARIABLE, str(other))
    with pytest.raises(UserError):
        load(path)
    assert not marker.exists()
    monkeypatch.setenv(TRUST_VARIABLE, os.pathsep.join([str(other), str(path)]))
    assert load(path) == {"extra_state": 0}
    assert marker.exists()


def test_trust_reaches_through_links_and_relative_paths(path, tmp_path, monkeypatch):
    torch.save({"extra_state": Calls(os.getcwd)}, path)
    link = tmp_path / "link.pt"
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TRUST_VARIABLE, path.name)
    assert load(link)["extra_state"] == str(Path.cwd())


@pytest.mark.parametrize("nobody", ["", os.pathsep])
def test_an_empty_list_trusts_nobody(nobody, path, tmp_path, monkeypatch):
    """The empty name must not stand for the current folder, or for everything."""
    torch.save(Calls(os.getcwd), path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TRUST_VARIABLE, nobody)
    with pytest.raises(UserError):
        load(path)


def test_what_another_process_sends_has_no_name():
    """A two-process resume reads a stream, through ``distributed.utils``; no file can be named."""
    stream = io.BytesIO()
    torch.save(Calls(os.getcwd), stream)
    stream.seek(0)
    with pytest.raises(UserError):
        distributed_utils.torch.load(stream)


def test_torch_itself_is_untouched():
    assert torch.load is not safe_loading.load
    assert checkpoint_utils.torch.load is safe_loading.load
    assert checkpoint_utils.torch.save is safe_loading.save is not torch.save


def whole(layout) -> bytes:
    stream = io.BytesIO()
    state = {"model": {"w": torch.zeros(3000)}, "best": np.float64(1), "args": Namespace(a=1)}
    torch.save(state, stream, _use_new_zipfile_serialization=FORMATS[layout])
    return stream.getvalue()


# Where a kill may fall: in the header, in the pickle, in the tensors, before the last byte.
CUTS = [1, 10, 75, 112, 223, 300, 350, 500, 2000, 5000, 9000, -1]
NOT_CHECKPOINTS = {
    "empty": b"",
    "text": b"epoch 1: loss 3.2\nepoch 2: loss 2.9\n",
    "html": b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
    "json": b'{"model": [1, 2, 3]}',
    "zip magic": b"PK\x03\x04 and then nothing",
    "binary": bytes(range(256)) * 20,
    **{f"{layout} cut at {cut}": whole(layout)[:cut] for layout in FORMATS for cut in CUTS},
}


@pytest.mark.parametrize("content", NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS.keys())
def test_a_file_that_is_no_whole_checkpoint(content, path):
    """One line that names the file, not a traceback out of torch's internals."""
    path.write_bytes(content)
    with refuses(path):
        load(path)


def test_a_missing_file_is_not_a_broken_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        safe_loading.load(str(tmp_path / "nowhere.pt"))


def same(got, want) -> bool:
    if isinstance(want, np.ndarray):
        again = pickle.loads(pickle.dumps(got, protocol=2))  # as torch.save would write it
        return (
            isinstance(got, np.ndarray)
            and type(again) is np.ndarray
            and got.dtype == again.dtype == want.dtype
            and np.array_equal(got, want)
            and np.array_equal(again, want)
        )
    return type(got) is type(want) and got == want


SCALARS = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool_"]
ORDINARY = {
    "namespace": Namespace(arch="transformer", lr=[0.1], nested=Namespace(a=None)),
    "dict config": OmegaConf.create(
        {"common": {"seed": 1, "user_dir": None, "lr": [0.1, [2]], "fp16": False, "name": "x"}}
    ),
    "list config": OmegaConf.create([1, None, {"a": [2.5, "b", True]}]),
    "interpolation": OmegaConf.create({"a": 1, "b": "${a}"}),
    **{name: getattr(np, name)(1) for name in SCALARS},
    **{f"{name} array": np.array([[0, 1], [1, 0]], dtype=name) for name in SCALARS},
    "array of no dimension": np.array(2.5),
    "fortran array": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "ordered dict": collections.OrderedDict(b=1, a=2),
    "plain": {"a": (1, 2.5, None, "x", {3}), "b": [b"bytes", True, 1 + 2j]},
}


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("value", ORDINARY.values(), ids=ORDINARY.keys())
def test_what_checkpoints_carry_is_loaded(value, layout, path):
    """The same types and values, in both of torch's formats."""
    torch.save({"x": value}, path, _use_new_zipfile_serialization=FORMATS[layout])
    assert same(load(path)["x"], value)


@pytest.mark.parametrize("content", [{}, {"loss": 1.5}], ids=["empty", "filled"])
def test_a_defaultdict_is_loaded(content, path):
    """As any dictionary of the same content: torch's reader fills no subclass but its own few."""
    torch.save({"x": collections.defaultdict(float, content)}, path)
    assert load(path)["x"] == content


def test_a_whole_configuration_is_loaded(path):
    """fairseq's own, written as its trainer writes it, enumerations as strings."""
    config = OmegaConf.to_container(OmegaConf.structured(FairseqConfig), enum_to_str=True)
    assert config["distributed_training"]["ddp_backend"] == "pytorch_ddp"
    torch.save({"cfg": config, "again": OmegaConf.create(config)}, path)
    got = load(path)
    assert got["cfg"] == config
    assert OmegaConf.is_config(got["again"])
    assert OmegaConf.to_container(got["again"], resolve=False) == config


def test_a_missing_value_stays_missing(path):
    torch.save(OmegaConf.create({"a": {"data": MISSING, "b": [MISSING, 1]}}), path)
    got = load(path)
    assert OmegaConf.is_missing(got.a, "data")
    assert OmegaConf.is_missing(got.a.b, 0)
    with pytest.raises(omegaconf.errors.MissingMandatoryValue):
        got.a.data  # noqa: B018


def test_typed_nodes_of_a_configuration(path):
    """Nodes that a structured configuration leaves behind keep their types."""
    nodes = {
        "i": omegaconf.IntegerNode(1),
        "f": omegaconf.FloatNode(0.5),
        "s": omegaconf.StringNode(None),
        "b": omegaconf.BooleanNode(True),
        "any": omegaconf.AnyNode("x"),
    }
    torch.save(OmegaConf.create(nodes), path)
    got = load(path)
    assert got == {"i": 1, "f": 0.5, "s": None, "b": True, "any": "x"}
    with pytest.raises(omegaconf.errors.ValidationError):
        got.i = "no number"


NUMPY_1 = [np.float64(2.5), np.float32(0.5), np.array([1.0, 2.0])]


@pytest.mark.parametrize("value", NUMPY_1, ids=["float64", "float32", "array"])
def test_checkpoints_of_numpy_1_are_loaded(value, path):
    """numpy 2 renamed ``numpy.core``, under which older checkpoints hold ``best`` and the like."""
    stream = io.BytesIO()
    torch.save({"best": value}, stream)
    with zipfile.ZipFile(stream) as new, zipfile.ZipFile(path, "w") as old:
        for name in new.namelist():
            content = new.read(name)
            assert not name.endswith("data.pkl") or b"numpy._core" in content
            old.writestr(name, content.replace(b"numpy._core", b"numpy.core"))
    assert same(load(path)["best"], value)


OPTIONS = {
    "(0.9, 0.98)": (0.9, 0.98),
    "[(512, 3)] * 20": [(512, 3)] * 20,
    "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] + [(512,2,2)]": [
        *((512, 10, 5), (512, 3, 2), (512, 3, 2), (512, 3, 2), (512, 3, 2)),
        *((512, 2, 2), (512, 2, 2)),
    ],
    "3 * [(64, 1)]": [(64, 1)] * 3,
    "[(32 * 2, 3)]": [(64, 3)],
    "[(1, 2), (3, 4 + 5)]": [(1, 2), (3, 9)],
    "True": True,
    "False": False,
    "None": None,
    "0.25": 0.25,
    "1e-30": 1e-30,
    "(1e-30, 1e-3)": (1e-30, 1e-3),
    "-1": -1,
    "[-1, -2.5]": [-1, -2.5],
    "{'a': 1}": {"a": 1},
    "{'lr': [0.1], 'b': {'c': None}}": {"lr": [0.1], "b": {"c": None}},
    "'text'": "text",
    "  [0.5]\n": [0.5],
    "()": (),
    "[]": [],
}


@pytest.mark.parametrize(("text", "value"), OPTIONS.items())
def test_an_option_is_read_as_eval_reads_it(text, value):
    got = evaluate_literal(text)
    assert got == value == eval(text)
    assert type(got) is type(value)


REFUSED = [
    "__import__('os').system('true')",
    "print(1)",
    "[print(1)]",
    "(1, [print(1)] * 2)",
    "os",
    "[x]",
    "().__class__",
    "[].append",
    "[x for x in (1, 2)]",
    "{x: 1 for x in (1, 2)}",
    "lambda: 1",
    "(y := 1)",
    "f'{1}'",
    "[1][0]",
    "1 if True else 2",
    "not True",
    "1 < 2",
    "2 ** 3",
    "2 - 1",
    "'%s' % 1",
    "1; 2",
    "import os",
    "",
    "   ",
    "(",
    "1 +",
    "[1] + (2,)",
    "[1] * 'a'",
    "{[]: 1}",
    "*[1]",
    "\0",
]


@pytest.mark.parametrize("text", REFUSED)
def test_more_than_a_literal_is_refused(text):
    with refuses(repr(text)):
        evaluate_literal(text)


TOO_LARGE = {
    "chained": "[0]*99999*99999",
    "chained from the left": "99999*99999*[0]",
    "in parentheses": "[0]*(99999*99999)",
    "by minus": "[0]*(-99999*-99999)",
    "nested": "[[0]*99999]*99999",
    "nested tuples": "(((0,)*99999,)*99999,)*9",
    "nested thrice": "[[[0]*9999]*9999]*9999",
    "a string": "'a'*10**10",
    "a long string": "'a'*99999*99999",
    "one list": "[0]*100001",
    "a power": "10**10**10",
    "added up": "[0]*(99999+99999)",
    "deep parentheses": "(" * 3000 + ")" * 3000,
    "deep lists": "[" * 3000 + "]" * 3000,
    "deep signs": "-" * 100_000 + "1",
    "a long sum": "1+" * 100_000 + "1",
    "a long number": "9" * 100_000,
}


@pytest.mark.parametrize("text", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_attacks_on_memory_are_refused(text):
    """In one short line, however long the text."""
    with pytest.raises(UserError) as caught:
        evaluate_literal(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [None, 1, 0.5, [1], b"1", (1,)])
def test_only_strings_are_evaluated(value):
    """As ``eval`` does, whose TypeError ``fairseq.utils.eval_bool`` expects."""
    with pytest.raises(TypeError):
        evaluate_literal(value)


def test_every_module_of_fairseq_reads_literals_only():
    """The modules that were loaded when the plugin was, which all the registries are."""
    using = {
        name
        for name, module in sys.modules.items()
        if name.startswith("fairseq.") and getattr(module, "eval", None) is evaluate_literal
    }
    for name in ("utils", "models.fconv", "models.fconv_self_att", "models.transformer_lm"):
        assert f"fairseq.{name}" in using
    for name in ("optim.adam", "optim.adafactor", "criterions.ctc", "models.hubert.hubert"):
        assert f"fairseq.{name}" in using


def test_every_module_that_evaluates_is_among_them():
    """Of all sources that call ``eval``: a module imported later would keep the builtin."""
    import ast

    root = Path(fairseq.utils.__file__).parent
    careless = []
    for source in root.rglob("*.py"):
        parts = source.relative_to(root.parent).with_suffix("").parts
        text = source.read_text(encoding="utf-8")
        if "examples" in parts or "eval(" not in text:
            continue
        calls = [
            node
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "eval"
        ]
        name = ".".join(parts).removesuffix(".__init__")
        module = sys.modules.get(name)
        if calls and getattr(module, "eval", None) is not evaluate_literal:
            careless.append(f"{source}:{calls[0].lineno}")
    assert careless == []


ATTACK = "__import__('os').getcwd()"


def test_fairseqs_own_readers_refuse_code():
    for reader in (fairseq.utils.eval_str_list, fairseq.utils.eval_str_dict):
        with pytest.raises(UserError):
            reader(ATTACK)
    with pytest.raises(UserError):
        fairseq.utils.eval_bool(ATTACK)
    assert fairseq.utils.eval_str_list("0.25") == [0.25]
    assert fairseq.utils.eval_str_list("(1, 2)", type=int) == [1, 2]
    assert fairseq.utils.eval_bool("True") is True
    assert fairseq.utils.eval_bool(3, default=True) is True  # a TypeError, which it expects


def test_a_convolutional_models_layers_are_read_not_run(monkeypatch):
    """The string stands in the configuration that a checkpoint carries."""
    from criterions.tiny_fairseq import tiny_task

    task = tiny_task("translation")
    args = Namespace(encoder_embed_path=None, decoder_embed_path=None)
    fairseq.models.fconv.base_architecture(args)
    args.max_source_positions = args.max_target_positions = 8
    args.share_input_output_embed = False
    args.encoder_layers = args.decoder_layers = "[(8, 3)] * 2"
    args.encoder_embed_dim = args.decoder_embed_dim = args.decoder_out_embed_dim = 8
    args.dropout = 0.0
    model = fairseq.models.fconv.FConvModel.build_model(args, task)
    assert len(model.encoder.convolutions) == 2
    called = []
    monkeypatch.setattr(os, "getcwd", lambda: called.append(1))
    args.decoder_layers = ATTACK
    with refuses(ATTACK):
        fairseq.models.fconv.FConvModel.build_model(args, task)
    assert not called


def test_a_copy_replaces_the_old_file(tmp_path):
    source, destination = tmp_path / "checkpoint1.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new")
    destination.write_bytes(b"old")
    with open(destination, "rb") as held:
        checkpoint_utils.PathManager.copy(str(source), str(destination), overwrite=True)
        assert held.read() == b"old"  # renamed over, never written into
    assert destination.read_bytes() == b"new"
    assert {file.name for file in tmp_path.iterdir()} == {source.name, destination.name}


def test_a_copy_that_is_cut_leaves_the_old_file(tmp_path, monkeypatch):
    """A full disk, or a kill, halfway: the old checkpoint is whole, and the next copy succeeds."""
    source, destination = tmp_path / "checkpoint1.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new checkpoint")
    destination.write_bytes(b"old checkpoint")

    def cut(source, target, **_):
        Path(target).write_bytes(Path(source).read_bytes()[:3])
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", cut)
        with refuses(error=OSError):
            checkpoint_utils.PathManager.copy(str(source), str(destination), overwrite=True)
    assert destination.read_bytes() == b"old checkpoint"
    checkpoint_utils.PathManager.copy(str(source), str(destination), overwrite=True)
    assert destination.read_bytes() == b"new checkpoint"
