"""What ``genft evaluate-lm`` refuses before it works."""

import pytest

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.completions import Plan, require_room

ADVICE = ": give a shorter --prefix-length and --length (to genft test: after --)"


def test_too_long_continuations_are_refused_with_the_flags_that_shorten_them():
    require_room(Plan(), 149, 150, "test")
    for positions, total, said in (
        (148, 150, "149 positions, but the model was trained with 148"),
        (149, 149, "150 tokens, but test holds 149"),
    ):
        with pytest.raises(UserError) as raised:
            require_room(Plan(), positions, total, "test")
        begun = "a prefix of 50 and a continuation of 100 need "
        assert str(raised.value) == begun + said + ADVICE


def test_rows_of_the_peers():
    require_room(Plan(peer_compatible=True), 149, 301, "test")
    with pytest.raises(
        UserError, match="--peer-compatible takes rows of 301 tokens, but test holds"
    ):
        require_room(Plan(peer_compatible=True), 149, 300, "test")
    with pytest.raises(UserError, match="from rows of 301 tokens, but --prefix-length is 302"):
        require_room(Plan(prefix_length=302, peer_compatible=True), 999, 999, "test")
