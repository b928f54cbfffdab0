"""What imported encoder-decoders write, and hold meanwhile, against transformers itself."""

import copy

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator
from models.imported import EOS, PAD, Imported, imported
from models.tiny_hugging_face import KINDS

from genft_fairseq.evaluation.decoding import cache_bytes
from genft_fairseq.generation.rollout import continue_prefixes, read_prefix


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Imported]:
    torch.manual_seed(0)
    return {kind: imported(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def pair(request, models) -> Imported:
    return copy.deepcopy(models[request.param])


@torch.no_grad()
def test_incremental_states(pair):
    """Step by step, several tokens at once, and reordered: as all at once."""
    batch = pair.batch(T=8)
    model, tokens = pair.ours, batch.target
    whole = batch.our_logits()
    encoder_out = model.encoder(batch.source)
    state: dict = {}
    steps = [
        model.decoder(tokens[:, : t + 1], encoder_out=encoder_out, incremental_state=state)[0]
        for t in range(8)
    ]
    assert all(step.size(1) == 1 for step in steps)
    close = {"atol": 1e-5 * float(whole.abs().max()), "rtol": 0}
    torch.testing.assert_close(torch.cat(steps, 1), whole, **close)
    state = read_prefix(model, tokens[:, :5], encoder_out)
    rest = model.decoder(tokens, encoder_out=encoder_out, incremental_state=state)[0]
    torch.testing.assert_close(rest, whole[:, 5:], **close)

    # Any rows, in any order and number.
    order = torch.tensor([2, 0, 0, 1, 2])
    state = read_prefix(model, tokens[:, :5], encoder_out)
    reordered = model.encoder.reorder_encoder_out(encoder_out, order)
    model.decoder.reorder_incremental_state_scripting(state, order)
    step = model.decoder(tokens[order, :6], encoder_out=reordered, incremental_state=state)[0]
    torch.testing.assert_close(step, whole[order, 5:6], **close)
    torch.testing.assert_close(model.decoder(tokens[order], reordered)[0], whole[order], **close)


@torch.no_grad()
def test_hypotheses_share_their_source(pair):
    """Through a beam's usual orders the keys and values of a source are held once."""
    batch = pair.batch(B=2)
    model, beam = pair.ours, 3
    encoder_out = model.encoder(batch.source)
    rows = torch.arange(2).repeat_interleave(beam)
    encoder_out = model.encoder.reorder_encoder_out(encoder_out, rows)
    tokens = batch.target[rows]
    state: dict = {}
    model.decoder(tokens[:, :1], encoder_out=encoder_out, incremental_state=state)

    def held() -> set[int]:
        found = model.decoder.cached_tensors(state)
        return {len(value) for part, value in found if part == "cross_attention"}

    assert held() == {2}
    for order, sources in (([2, 0, 0, 3, 5, 3], 2), ([3, 4, 4], 1), ([2, 0, 1], 1)):
        new = torch.tensor(order)
        model.decoder.reorder_incremental_state_scripting(state, new)
        encoder_out = model.encoder.reorder_encoder_out(encoder_out, new)
        rows, tokens = rows[new], tokens[new]
        assert held() == {sources}
    position = model.decoder(tokens[:, :2], encoder_out=encoder_out, incremental_state=state)[0]
    expected = model(batch.source, None, batch.target)[0][rows, 1:2]
    torch.testing.assert_close(position, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_bytes_that_are_held(models):
    """By hand: keys and values of 2 layers, 16 wide, of 5 tokens written and 9 read."""
    pair = models["bart"]
    batch = pair.batch(B=1)
    state = read_prefix(pair.ours, batch.target[:, :5], pair.ours.encoder(batch.source))
    held = cache_bytes(pair.ours.decoder, state)
    assert held["self_attention"] == 2 * 2 * 5 * 16 * 4
    assert held["cross_attention"] == 2 * 2 * 9 * 16 * 4
    assert held["other"] == 9  # which of them are text


@torch.no_grad()
def _let_it_end(pair: Imported, by: float) -> None:
    """Make ``</s>`` likelier by about so many nats, in both models."""
    batch = pair.batch(B=8, T=12)
    features = pair.ours(batch.source, None, batch.target, features_only=True)[0]
    mean = features.mean(dim=(0, 1)) / pair.ours.decoder.scale
    step = by * mean / (mean @ mean) / pair.ours.decoder.scale
    pair.ours.decoder.output_projection.weight[EOS] += step
    pair.theirs.get_output_embeddings().weight[pair.described.target.eos] += step


@pytest.mark.parametrize("beam", [1, 4])
@torch.no_grad()
def test_decoding_is_that_of_transformers(pair, beam):
    """Token for token, greedily and by a beam, by fairseq's own generator."""
    _let_it_end(pair, 7.0)
    batch = pair.batch(B=8)
    side = pair.described.target
    generator = SequenceGenerator(
        [pair.ours], pair.ours.decoder.dictionary, beam_size=beam, max_len_b=24, min_len=1
    )
    sample = {
        "net_input": {
            "src_tokens": batch.source,
            "src_lengths": batch.source.ne(PAD).sum(1),
            "prev_output_tokens": batch.target,
        }
    }
    found = generator.generate([pair.ours], sample)
    given = batch.their_input()
    never = [side.pad] if side.pad is not None else []
    ids = pair.theirs.generate(
        input_ids=given["input_ids"],
        attention_mask=given["attention_mask"],
        decoder_input_ids=given["decoder_input_ids"][:, :1],
        num_beams=beam,
        do_sample=False,
        max_new_tokens=25,
        min_new_tokens=1,
        early_stopping=beam > 1,
        use_cache=False,  # which transformers sizes by the encoder's layers in T5
        length_penalty=1.0,
        eos_token_id=side.eos,
        pad_token_id=side.pad if side.pad is not None else side.eos,
        forced_eos_token_id=None,
        forced_bos_token_id=None,
        suppress_tokens=never or None,
    )
    ended = 0
    for hypotheses, row in zip(found, ids, strict=True):
        mine = pair.to_ids(hypotheses[0]["tokens"], "target").tolist()
        their = row[1:].tolist()
        if side.eos not in their:  # fairseq ends it there, transformers cuts it off
            assert beam > 1 or mine[:-1] == their[: len(mine) - 1]
            continue
        ended += 1
        assert mine == their[: their.index(side.eos) + 1]
    assert ended >= 4


@torch.no_grad()
def test_its_own_text_for_losses(pair):
    """A rollout ends where it ends, and is what reading again at each step gives."""
    _let_it_end(pair, 4.0)
    batch = pair.batch()
    model = pair.ours
    encoder_out = model.encoder(batch.source)
    written = continue_prefixes(
        model, batch.target[:, :2], 9, PAD, encoder_out=encoder_out, eos_idx=EOS
    )
    for row in range(3):
        tokens = batch.target[row : row + 1, :2]
        for expected in written[row].tolist():
            if expected == PAD:
                assert int(tokens[0, -1]) == EOS
                continue
            logits = model(batch.source[row : row + 1], None, tokens)[0][0, -1]
            logits[PAD] = -torch.inf
            assert int(logits.argmax()) == expected
            tokens = torch.cat([tokens, torch.tensor([[expected]])], dim=1)
