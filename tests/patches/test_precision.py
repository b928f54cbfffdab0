"""The flags of half precision: what they imply, which exclude each other, how they fail."""

import types
from argparse import Namespace

import pytest
import torch
from fairseq import options, utils
from fairseq.dataclass import initialize
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf
from refusals import refuses

from genft_fairseq.errors import UserError
from genft_fairseq.patches import precision, trainer

WORDS = ["data", "--task", "translation", "--arch", "transformer"]


@pytest.fixture(autouse=True)
def one_machine(monkeypatch):
    """A machine without a GPU, wherever the tests run."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def config(**common):
    cfg = OmegaConf.structured(FairseqConfig)
    OmegaConf.set_struct(cfg, False)
    cfg.common.update(common)
    return cfg


def parsed(*words, **settings):
    return options.parse_args_and_arch(options.get_training_parser(), [*WORDS, *words], **settings)


@pytest.mark.parametrize(
    "given",
    [
        *("--fp16 --bf16", "--fp16 --amp", "--bf16 --amp", "--fp16 --bf16 --amp"),
        *("--memory-efficient-fp16 --amp", "--memory-efficient-fp16 --bf16"),
        "--memory-efficient-fp16 --memory-efficient-bf16",
    ],
)
def test_two_precisions_are_refused_by_the_parser(given):
    with refuses(*given.split()):
        parsed(*given.split())


@pytest.mark.parametrize(
    ("words", "implied"),
    [
        ("", ""),
        ("--fp16", "fp16"),
        ("--fp16 --fp16-no-flatten-grads", "fp16 fp16_no_flatten_grads"),
        ("--memory-efficient-fp16", "fp16 memory_efficient_fp16"),
        ("--memory-efficient-fp16 --fp16", "fp16 memory_efficient_fp16"),
        ("--bf16", "bf16"),
        ("--memory-efficient-bf16", "bf16 memory_efficient_bf16"),
        ("--amp", "amp"),
    ],
)
def test_one_precision_implies_no_tpu(words, implied):
    args = parsed(*words.split())
    names = [*precision.FLAGS, "fp16_no_flatten_grads", "tpu"]
    assert {name for name in names if getattr(args, name)} == set(implied.split())


def test_a_parser_that_also_returns_what_it_does_not_know():
    args, unknown = parsed("--bf16", "--odd", parse_known=True)
    assert unknown == ["--odd"]
    assert (args.bf16, args.tpu) == (True, False)


def test_decoding_is_asked_nothing_new():
    """It knows ``--fp16`` alone."""
    words = ["data", "--path", "model.pt", "--fp16", "--amp"]
    args = options.parse_args_and_arch(options.get_generation_parser(), words)
    assert (args.fp16, args.amp, args.tpu) == (True, True, False)


@pytest.mark.parametrize("words", ["--tpu", "--tpu --bf16"])
def test_a_tpu_that_cannot_be_is_refused(words):
    with refuses("--tpu"):
        parsed(*words.split())


def test_with_torch_xla_the_tpu_stays(monkeypatch):
    monkeypatch.setattr(utils, "xm", types.ModuleType("xla_model"))
    assert parsed("--bf16").tpu
    with refuses("--fp16", "--tpu", error=ValueError):
        parsed("--fp16", "--tpu")


def hydra(monkeypatch, gpu=False, **common):
    """The common flags after fairseq has completed a configuration, as it does before training."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    cfg = config(**common)
    initialize.add_defaults(cfg)
    return {name for name in precision.FLAGS if cfg.common[name]}


def test_hydra_is_checked_before_anything_is_written(monkeypatch):
    with refuses("--fp16", "--amp"):
        hydra(monkeypatch, fp16=True, amp=True)
    for name in ("fp16", "bf16"):
        both = {name, f"memory_efficient_{name}"}
        assert hydra(monkeypatch, **{f"memory_efficient_{name}": True}) == both
        assert hydra(monkeypatch, **{name: True}) == {name}
    assert hydra(monkeypatch) == set()


def test_hydra_on_a_gpu_and_on_a_tpu(monkeypatch):
    odd = {"fp16": True, "amp": True}
    assert hydra(monkeypatch, tpu=True, **odd) == set(odd)
    with pytest.raises(UserError):
        hydra(monkeypatch, gpu=True, **odd)
    both = {"fp16", "memory_efficient_fp16"}
    assert hydra(monkeypatch, gpu=True, memory_efficient_fp16=True) == both


def failed(error, samples):
    """What a trainer whose update fails ends with."""

    def update(trainer, samples):
        try:
            raise error
        except FloatingPointError:
            next(iter(samples))  # the search for the cause, which itself may fail
            raise

    settings = Namespace(common=Namespace(min_loss_scale=0.5), optimization=Namespace(lr=[0.25]))
    training = Namespace(cfg=settings, get_num_updates=lambda: 6)
    trainer.train_step(update, training, samples)


@pytest.mark.parametrize("samples", [[], ["found"]], ids=["search fails", "search ends"])
@pytest.mark.parametrize("source", ["Minimum loss scale reached", "AMP: Minimum loss scale"])
def test_the_least_loss_scale_is_one_line(samples, source):
    with refuses("--min-loss-scale", "0.5"):
        failed(FloatingPointError(source), samples)


def test_gradients_that_are_not_finite_are_one_line():
    with refuses("--lr", "0.25", "7"):
        failed(FloatingPointError("gradients are Nan/Inf"), ["found"])


@pytest.mark.parametrize(
    "error",
    [FloatingPointError("gradients are inconsistent"), RuntimeError("Minimum loss scale")],
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised:
        failed(error, ["found"])
    assert raised.value is error
