"""Checkpoints that are damaged, or made by hand: refused in a line, and none of their code run."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from hypothesis import given
from hypothesis import strategies as st
from trust.damage import (
    assert_read_or_refused,
    changed,
    damaged,
    fuzz,
)

from genft_fairseq.convert.averaging import average_checkpoints
from genft_fairseq.convert.checkpoints import read_trained
from genft_fairseq.evaluation.loading import build_models, read_checkpoint
from genft_fairseq.experiments.architectures import read_configuration
from genft_fairseq.experiments.comparison import _require_checkpoint
from genft_fairseq.experiments.training_log import read_checkpoint as read_progress
from genft_fairseq.experiments.training_log import training_metrics

PARAMETERS = {
    "decoder.embed_tokens.weight": torch.ones(8, 4),
    "decoder.layers.0.bias": torch.ones(4),
}


def state() -> dict[str, Any]:
    """A checkpoint as fairseq writes it, of plain values but for its parameters."""
    return {
        **{"args": None, "model": dict(PARAMETERS), "criterion": None, "task_state": {}},
        "cfg": {
            "common": {"cpu": True, "seed": 1},
            "task": {"_name": "translation", "data": "data", "source_lang": "en"},
            "model": {"_name": "transformer", "arch": "transformer", "encoder_layers": 1},
        },
        "optimizer_history": [
            {
                **{"criterion_name": "CrossEntropyCriterion", "optimizer_name": "FairseqAdam"},
                **{"lr_scheduler_state": {"best": 1.5}, "num_updates": 2},
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1}, "previous_training_time": 1.5, "best": 3.0},
        "last_optimizer_state": {"state": {}, "param_groups": []},
    }


def saved(value: Any, is_zip: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


READERS = {
    "as fairseq-generate": lambda path: checkpoint_utils.load_checkpoint_to_cpu(str(path)),
    "as genft evaluate-*": lambda path: read_checkpoint(str(path), {"data": "data"}),
    "as genft finetune": read_configuration,
    "as genft export-hf": read_trained,
    "as genft average-checkpoints": lambda path: average_checkpoints([path]),
    "as genft compare": lambda path: (_require_checkpoint(path), read_progress(path)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_good_checkpoint_is_read(name, folder):
    path = folder / "checkpoint.pt"
    path.write_bytes(saved(state()))
    assert assert_read_or_refused(lambda: READERS[name](path), path, folder=folder) is None


@pytest.mark.parametrize("name", READERS)
@fuzz
@given(content=damaged(saved(state()), saved(state(), is_zip=False)))
def test_damaged_bytes(name, folder, content):
    """Anywhere: in the zip's own records, in the pickle, in the numbers."""
    path = folder / "checkpoint.pt"
    path.write_bytes(content)
    assert_read_or_refused(lambda: READERS[name](path), path, folder=folder)


def with_pickle(content: bytes, beside: bytes | None = None) -> bytes:
    """A checkpoint whose zip is whole, and whose pickle is another."""
    stream = io.BytesIO()
    whole = io.BytesIO(beside or saved(state()))
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return stream.getvalue()


def pickle_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        return archive.read(name)


@fuzz
@given(content=damaged(pickle_of(saved(state()))))
def test_damaged_pickles(folder, content):
    """Where the zip is whole, its checksums too."""
    path = folder / "checkpoint.pt"
    path.write_bytes(with_pickle(content))
    read = READERS["as fairseq-generate"]
    assert_read_or_refused(lambda: read(path), path, folder=folder)


@pytest.mark.parametrize("name", READERS)
@fuzz
@given(data=st.data())
def test_values_of_other_kinds(name, folder, data):
    """A configuration, a history or parameters that are missing, or something else."""
    plain = {**state(), "model": dict.fromkeys(PARAMETERS, "a tensor")}
    odd = data.draw(changed(plain))
    if isinstance(odd, dict) and isinstance(odd.get("model"), dict):
        odd["model"] = {
            k: PARAMETERS.get(k) if v == "a tensor" else v for k, v in odd["model"].items()
        }
    path = folder / "checkpoint.pt"
    path.write_bytes(saved(odd))
    assert_read_or_refused(lambda: READERS[name](path), path, folder=folder)


class Calls:
    """Unpickles to the result of a call."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


# Anything importable that does something when it is called, none of which may be.
CALLS = [
    *(os.mkdir, os.system, os.getcwd, os.path.join, open, print, eval, exec, __import__, getattr),
    *(globals, bytearray, type, object, str.upper, pickle.loads, torch.load, torch.hub.load, Path),
    *(io.FileIO, zipfile.ZipFile, torch.ones, torch.nn.Linear, torch.storage._load_from_bytes),
]
HARMLESS = {torch.ones, Path, bytearray}  # what some version of torch's reader may know


@fuzz
@given(
    function=st.sampled_from([call for call in CALLS if call not in HARMLESS]),
    where=st.sampled_from(["model", "cfg", "extra_state", "args"]),
    is_zip=st.booleans(),
)
def test_no_call_is_made(function, where, is_zip, folder):
    """Whatever a checkpoint names, wherever it stands."""
    path, marker = folder / "checkpoint.pt", folder / "made"
    content = state()
    content[where] = {"x": Calls(function, str(marker))}
    path.write_bytes(saved(content, is_zip))
    read = READERS["as fairseq-generate"]
    line = assert_read_or_refused(lambda: read(path), path, folder=folder)
    assert line is not None and "GENFT_TRUST_CHECKPOINT" in line
    assert not marker.exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_name_of_a_megabyte_is_refused_at_once(is_zip, folder):
    """torch's own words about it are searched in quadratic time: for days."""
    path = folder / "checkpoint.pt"
    content = saved({"model": {"w": torch.ones(1)}, "x": Calls(os.getcwd)}, is_zip)
    name = b"getcwd\n"
    long = b"[" * (1 << 20) + name
    if is_zip:
        assert name in pickle_of(content)
        path.write_bytes(with_pickle(pickle_of(content).replace(name, long), content))
    else:
        assert name in content
        path.write_bytes(content.replace(name, long))
    read = READERS["as fairseq-generate"]
    line = assert_read_or_refused(lambda: read(path), path, folder=folder)
    assert line is not None and "GENFT_TRUST_CHECKPOINT" in line


def test_a_tensor_of_a_terabyte_in_a_few_bytes(folder):
    """All of whose numbers are one number: it is not written out."""
    path = folder / "checkpoint.pt"
    content = state()
    content["model"] = {"w": torch.ones(1).expand(1 << 20, 1 << 18)}
    path.write_bytes(saved(content))
    assert len(path.read_bytes()) < 10_000
    read = READERS["as genft average-checkpoints"]
    line = assert_read_or_refused(lambda: read(path), path, folder=folder)
    assert line is not None and "w" in line


# --- what is built of it --------------------------------------------------------------------------

SETTINGS = {
    "_name": "no_such_model",
    "encoder_layers": "many",
    "decoder_embed_dim": -4,
    "encoder_attention_heads": 0,
    "dropout": {},
    "activation_fn": "os.system",
    "share_all_embeddings": None,
    "max_source_positions": "a",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_make_no_model(name, folder, translation_data, translation_baseline):
    whole = torch.load(translation_baseline / "checkpoint_last.pt", weights_only=False)
    setattr(whole["cfg"]["model"], name, SETTINGS[name])
    path = folder / "checkpoint.pt"
    torch.save(whole, path)
    overrides = {"data": str(translation_data)}

    def build() -> None:
        build_models(str(path), read_checkpoint(str(path), overrides), overrides)

    line = assert_read_or_refused(build, path, folder=folder)
    assert line is not None or name in ("share_all_embeddings", "dropout")


def test_figures_of_a_run_without_the_plugin(folder):
    (folder / "train.log").write_text("| valid | loss 3 | ppl 8 | num_updates 2\n")
    (folder / "checkpoint_last.pt").write_bytes(saved(state()))
    line = assert_read_or_refused(lambda: training_metrics(folder), folder, folder=folder)
    assert line is not None
