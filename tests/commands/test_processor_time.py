"""The processor time of updates: in every checkpoint, and in no log."""

import torch
from fairseq_commands import TINY_TRANSLATION, train


def seconds(folder):
    state = torch.load(folder / "checkpoint_last.pt", weights_only=False)
    meters = {name: meter for _, name, _, meter in state["extra_state"]["metrics"]["default"]}
    return meters["_train_processor"]["sum"], meters["train_wall"]["sum"]


def test_counted_and_carried_on(translation_data, tmp_path):
    common = (translation_data, tmp_path, TINY_TRANSLATION, "--criterion", "cross_entropy")
    first = train(*common, "--max-update", 3)
    three, wall = seconds(tmp_path)
    # Both clocks are read around the same updates; threads may make the processor's the larger.
    assert 0 < three < 20 * wall
    assert "_train_processor" not in first.output
    train(*common, "--max-update", 6)
    # fairseq's own sums stand still after a resume (compat mends it).
    after, after_wall = seconds(tmp_path)
    assert after > three and after_wall > wall
