"""What ``genft evaluate-lm`` refuses before it works."""

import pytest
from refusals import refuses

from genft_fairseq.evaluation.completions import Plan, require_room


@pytest.mark.parametrize(
    ("plan", "positions", "total", "named"),
    [
        (Plan(), 148, 150, [149, 148, "--prefix-length", "--length"]),
        (Plan(), 149, 149, [150, 149, "--prefix-length", "--length"]),
        (Plan(peer_compatible=True), 149, 300, ["--peer-compatible", 301]),
        (Plan(prefix_length=302, peer_compatible=True), 999, 999, [301, "--prefix-length", 302]),
    ],
)
def test_prefixes_and_continuations_that_do_not_fit(plan, positions, total, named):
    require_room(Plan(), 149, 150, "test")
    require_room(Plan(peer_compatible=True), 149, 301, "test")
    with refuses(*named):
        require_room(plan, positions, total, "test")
