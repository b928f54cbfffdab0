"""How long ago a token was last seen, against the loop of the definition."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from genft_fairseq.functional.seen_tokens import token_distance

PAD = 1


@given(st.integers(1, 12), st.integers(0, 2**31), st.integers(0, 6))
def test_equals_the_loop(T, seed, padding):
    generator = torch.Generator().manual_seed(seed)
    tokens, queries = torch.randint(0, 5, (2, 3, T), generator=generator)
    tokens[tokens == PAD] = 4
    if padding:
        tokens[1, -padding:] = PAD
    got = token_distance(tokens, queries, PAD).tolist()
    for row in range(3):
        text, asked = tokens[row].tolist(), queries[row].tolist()
        for t in range(T):
            steps = [t - s for s in range(t) if text[s] == asked[t] != PAD]
            assert got[row][t] == min(steps, default=0)


def test_by_hand():
    # Of "a b a c b": a was last seen 2 steps ago, c never, b 3 steps ago.
    text = torch.tensor([[5, 6, 5, 7, 6]])
    assert token_distance(text, text, PAD).tolist() == [[0, 0, 2, 0, 3]]
