"""Paired bootstrap: large differences are significant, none is not, and noise rarely is."""

import numpy as np
import pytest

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.significance import bleu_p_values, mean_p_value

REFERENCES = [f"der {animal} läuft heute {n} mal um den See" for n in range(20) for animal in "abc"]


def test_bleu():
    worse = [line.replace("läuft heute", "ging einmal") for line in REFERENCES]
    p_values = bleu_p_values(REFERENCES, {"same": REFERENCES, "worse": worse}, REFERENCES)
    assert p_values["worse"] < 0.01
    assert p_values["same"] > 0.5
    assert bleu_p_values(REFERENCES, {}, REFERENCES) == {}
    with pytest.raises(UserError, match="1 translations by other of 60 references"):
        bleu_p_values(REFERENCES, {"other": ["x"]}, REFERENCES)


def test_mean():
    random = np.random.default_rng(0)
    values = random.normal(size=50)
    assert mean_p_value(values, values + 0.5 + 0.1 * random.normal(size=50)) == 1 / 1001
    assert mean_p_value(values, values) == 1.0
    assert mean_p_value(values, -values) > 0.05
    with pytest.raises(UserError, match="cannot pair 3 texts with 50"):
        mean_p_value(values, [1.0, 2.0, 3.0])
    with pytest.raises(UserError, match="two at least"):
        mean_p_value([1.0], [2.0])
    with pytest.raises(UserError, match="not a finite number"):
        mean_p_value([1.0, 2.0], [float("nan"), 2.0])


def test_mean_without_a_difference_is_significant_as_often_as_announced():
    random = np.random.default_rng(1)
    pairs = random.normal(size=(400, 2, 40))
    shares = np.mean([mean_p_value(*pair) < 0.05 for pair in pairs])
    assert 0.02 < shares < 0.09
