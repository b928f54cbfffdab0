"""What a checkpoint may say of an imported model, and what is refused."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from models.imported import imported
from refusals import refuses

from genft_fairseq.models.huggingface import architectures
from genft_fairseq.models.huggingface.description import Side, loads


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("t5"), "t5")


BROKEN: dict[str, dict[str, Any]] = {
    "no size": {"target": {"size": "many"}},
    "huge": {"source": {"size": 10**12}},
    "id beyond": {"source": {"eos": 10**6}},
    "two symbols, one id": {"target": {"bos": 1, "eos": 1}},
    "prefix": {"source": {"prefix": [1]}},
    "start": {"start": "<begin>"},
    "positions": {"target_positions": 0},
    "tied": {"tied": "yes"},
    "generation": {"generation": [1]},
    "config": {"config": None},
    "unknown field": {"code": "print()"},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_description_is_one_line(change, t5):
    content = json.loads(t5.described.dumps())
    for name, value in change.items():
        if isinstance(value, dict) and name in content:
            content[name] |= value
        else:
            content[name] = value
    with refuses("the checkpoint"):
        loads(json.dumps(content), "the checkpoint")


@pytest.mark.parametrize(
    ("name", "value"),
    [("feed_forward_proj", "gated-nothing"), ("num_heads", "four"), ("dropout_rate", 7)],
)
def test_a_configuration_that_makes_no_model(name, value, t5):
    content = json.loads(t5.described.dumps())
    content["config"][name] = value
    with refuses():
        architectures.build(loads(json.dumps(content), "the checkpoint"))


def test_a_half_is_no_model(t5):
    content = json.loads(t5.described.dumps()) | {"model_type": "bert"}
    with refuses("model_type", "bert"):
        architectures.build(loads(json.dumps(content), "the checkpoint"))


def test_the_numbers_of_a_side():
    """By hand: 3, 0 and 2 of six are fairseq's symbols, and one was added."""
    side = Side(6, bos=None, pad=0, eos=3, unk=2, added=("<question>",))
    assert side.symbols == ["1", "4", "5", "<question>"]
    assert side.rows == [-1, 0, 3, 2, 1, 4, 5, -1]
    assert [side.symbol(number) for number in range(6)] == [
        *("<pad>", "1", "<unk>", "</s>", "4", "5")
    ]
    assert side.index("5") == 6


def test_dropout_cannot_be_kept_in_decoding(t5):
    """transformers' modules are not told of it, and it would do nothing."""
    cfg = SimpleNamespace(generation=SimpleNamespace(retain_dropout=True))
    with refuses("--retain-dropout"):
        t5.ours.prepare_for_inference_(cfg)
