"""The flags of half precision: what they imply, which exclude each other, how they fail."""

import sys
import types
from argparse import Namespace

import pytest
import torch
from fairseq import options, trainer, utils
from fairseq.dataclass import initialize
from fairseq.dataclass.configs import FairseqConfig
from fairseq.optim import AMPOptimizer
from fairseq.optim.fp16_optimizer import _FP16OptimizerMixin
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf
from refusals import refuses

from genft_fairseq.errors import UserError
from genft_fairseq.patches import precision

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


def test_training_that_was_imported_before_is_checked_as_well(monkeypatch):
    """``fairseq_cli.train`` then has a name of its own for what completes the configuration."""
    calls = []
    train = types.SimpleNamespace(add_defaults=calls.append)
    monkeypatch.setitem(sys.modules, "fairseq_cli.train", train)
    monkeypatch.setattr(initialize, "add_defaults", calls.append)
    precision._check_hydra()
    with pytest.raises(UserError):
        train.add_defaults(config(fp16=True, bf16=True))
    assert len(calls) == 1


def failing(error):
    """A trainer whose update fails, and what the remedy makes of it."""

    class Trainer:
        cfg = Namespace(common=Namespace(min_loss_scale=0.5))

        def train_step(self, samples):
            try:
                raise error
            except FloatingPointError:
                next(iter(samples))  # the search for the cause, which itself may fail
                raise

    return Trainer


@pytest.mark.parametrize("samples", [[], ["found"]], ids=["search fails", "search ends"])
@pytest.mark.parametrize("source", ["Minimum loss scale reached", "AMP: Minimum loss scale"])
def test_the_least_loss_scale_is_one_line(samples, source, monkeypatch):
    monkeypatch.setattr(trainer, "Trainer", failing(FloatingPointError(source)))
    precision._explain_least_loss_scale()
    with refuses("--min-loss-scale", "0.5"):
        trainer.Trainer().train_step(samples)


@pytest.mark.parametrize(
    "error", [FloatingPointError("gradients are Nan/Inf"), RuntimeError("Minimum loss scale")]
)
def test_other_errors_stay_what_they_are(error, monkeypatch):
    monkeypatch.setattr(trainer, "Trainer", failing(error))
    precision._explain_least_loss_scale()
    with pytest.raises(type(error)) as raised:
        trainer.Trainer().train_step(["found"])
    assert raised.value is error


PATCHED = [
    *((options, "parse_args_and_arch"), (initialize, "add_defaults"), (trainer, "torch")),
    *((AMPOptimizer, "__init__"), (AMPOptimizer, "step"), (FairseqTask, "train_step")),
    *((_FP16OptimizerMixin, "build_fp32_params"), (trainer.Trainer, "train_step")),
]


def test_applying_again_changes_nothing():
    before = [vars(owner)[name] for owner, name in PATCHED]
    precision.apply()
    assert all(vars(owner)[name] is old for (owner, name), old in zip(PATCHED, before, strict=True))
