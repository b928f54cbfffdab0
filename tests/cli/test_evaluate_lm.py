"""What ``genft evaluate-lm`` refuses before it works."""

import pytest

from genft_fairseq.cli.evaluate_lm import _require_room
from genft_fairseq.errors import UserError

ADVICE = ": give a shorter --prefix-length and --length (to genft test: after --)"


def test_too_long_continuations_are_refused_with_the_flags_that_shorten_them():
    _require_room(149, 150, "test", 50, 100)
    for positions, total, said in (
        (148, 150, "149 positions, but the model was trained with 148"),
        (149, 149, "150 tokens, but test holds 149"),
    ):
        with pytest.raises(UserError) as raised:
            _require_room(positions, total, "test", 50, 100)
        begun = "a prefix of 50 and a continuation of 100 need "
        assert str(raised.value) == begun + said + ADVICE
