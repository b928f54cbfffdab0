"""Two processes train a bi-encoder as one does that reads the batches of both.

The negatives of a question are those of its own batch in either way, so that nothing differs.
"""

import pytest
import tiny_retrieval
import torch
from fairseq_commands import OPTIMISATION, USER_DIR

# 24 questions in 5 batches: the second process ends each epoch with a dummy batch.
TRAINING = [
    *("--optimizer", "sgd", "--lr", 0.2, "--max-epoch", 2, "--batch-size", 5),
    *("--max-tokens", 2000, "--required-batch-size-multiple", 1, "--num-workers", 0),
]
CASES = {
    "shared": [],
    "random": ["--positives", "random", "--hard-negatives", 2, "--pooling", "first"],
    "cosines": ["--l2-normalize", "--score-scale", 5],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_retrieval.make_folder(tmp_path_factory.mktemp("retrieval"))


def command(folder, name, apart=False):
    model = [flag for flag in tiny_retrieval.TINY if not apart or flag != "--share-encoders"]
    return [folder, "--user-dir", USER_DIR, *model, *OPTIMISATION, *TRAINING, *CASES[name]]


@pytest.mark.parametrize("backend", ["pytorch_ddp", "legacy_ddp"])
@pytest.mark.parametrize(("name", "apart"), [*((name, False) for name in CASES), ("shared", True)])
def test_two_processes_equal_one(name, apart, backend, folder, trained):
    arguments = command(folder, name, apart)
    (one,) = trained([*arguments, "--update-freq", 2])
    two = trained([*arguments, "--ddp-backend", backend], processes=2)
    assert [end.updates for end in two] == [one.updates] * 2 == [6, 6]
    assert (one.dummies, two[0].dummies, two[1].dummies) == (0, 0, 2)
    for key, want in one.parameters.items():
        torch.testing.assert_close(two[0].parameters[key], want, rtol=1e-5, atol=1e-5)
        assert torch.equal(two[0].parameters[key], two[1].parameters[key]), key
    start = trained([*arguments, "--lr", 0])[0].parameters
    moved = max(float((one.parameters[key] - start[key]).abs().max()) for key in start)
    assert moved > 1e-3
