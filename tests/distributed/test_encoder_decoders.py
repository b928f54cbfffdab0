"""Two processes train an imported encoder-decoder as one does that reads the batches of both."""

import functools

import pytest
import torch
from encoder_decoder_folder import binarized, fine_tuned, import_model
from fairseq_commands import OPTIMISATION, USER_DIR, parameters

# Three batches an epoch: on two processes two updates, the second with a dummy batch.
TRAINING = [
    *("--optimizer", "sgd", "--lr", 0.1, "--clip-norm", 1, "--max-epoch", 2, "--dropout", 0),
    *("--batch-size", 7, "--max-tokens", 2000, "--required-batch-size-multiple", 1),
    *("--num-workers", 0, "--criterion", "scalegrad", "--gamma", 0.5, "--disable-validation"),
]
# BERT2BERT has a part that takes no part, which torch's wrapper would wait for.
CASES: dict[str, tuple[str, list[object]]] = {
    "t5": ("t5", []),
    "t5 by parts": ("t5", ["--loss-chunk-size", 5, "--checkpoint-activations"]),
    "bert2bert": ("bert2bert", ["--attention-dropout", 0, "--loss-chunk-size", 5]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of import-hf, and data for it."""

    @functools.cache
    def made(kind):
        folder = tmp_path_factory.mktemp(kind)
        import_model(folder, kind)
        sizes = {"train": 21, "valid": 3}
        return folder / "fairseq", binarized(folder / "fairseq", folder / "data", sizes)

    return made


@pytest.fixture(scope="module")
def by_one_process(models, trained):
    """What one process ends with that reads two batches an update."""

    @functools.cache
    def end(name):
        (ended,) = trained([*command(models, name), "--update-freq", 2])
        return ended

    return end


def command(models, name):
    kind, flags = CASES[name]
    imported, data = models(kind)
    given = [data, "--user-dir", USER_DIR, *fine_tuned(imported)]
    return [*given, *OPTIMISATION, *TRAINING, *flags]


@pytest.mark.parametrize("backend", ["pytorch_ddp", "legacy_ddp"])
@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(name, backend, models, trained, by_one_process):
    one = by_one_process(name)
    two = trained([*command(models, name), "--ddp-backend", backend], processes=2)
    assert [end.updates for end in two] == [one.updates] * 2 == [4, 4]
    assert (one.dummies, two[0].dummies, two[1].dummies) == (0, 0, 2)  # one an epoch
    start = parameters(models(CASES[name][0])[0] / "model.pt")
    changed = {key for key in start if (one.parameters[key] - start[key]).abs().max() > 1e-3}
    assert len(changed) > len(start) / 2  # no agreement by inaction
    for key, want in one.parameters.items():
        torch.testing.assert_close(two[0].parameters[key], want, rtol=1e-5, atol=1e-5)
        assert torch.equal(two[0].parameters[key], two[1].parameters[key]), key
