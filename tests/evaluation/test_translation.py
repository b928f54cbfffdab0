"""The untouched references of a data folder, beside what fairseq-generate prints of its targets."""

import pytest

from genft_fairseq.evaluation.predictions import parse_generated
from genft_fairseq.evaluation.translation import generated_metrics
from genft_fairseq.metrics.translation import translation_metrics

RAW = ["Ein Mann läuft, dann schläft er.", "Zwei Hunde.", "Der Bus kommt."]


def folder(path, raw):
    (path / "raw").mkdir()
    (path / "raw" / "test.de").write_text("".join(f"{line}\n" for line in raw))
    symbols = ["▁Ein", "▁Mann", "▁lä", "uft", ",", "▁dann"]
    (path / "dict.de.txt").write_text("".join(f"{symbol} 1\n" for symbol in symbols))
    return path


def output(targets, written):
    lines = [
        f"T-{i}\t{target}\nH-{i}\t-1\t{text}\nD-{i}\t-1\t{text}\n"
        for i, (target, text) in enumerate(zip(targets, written, strict=True))
    ]
    return parse_generated("".join(lines), "output")


@pytest.mark.parametrize(
    "targets",
    [
        ["<<unk>> Mann läuft, <<unk>> schläft er.", "Zwei <<unk>>", "<<unk>> Bus <<unk>>"],
        ["▁Ein <<unk>> uft , <<unk>> ▁er .", "<<unk>> ▁Hunde .", "<<unk>> <<unk>> <<unk>>"],
    ],
)
def test_targets_with_unknown_words_are_those_of_the_references(tmp_path, targets):
    """They may stand for anything, wherever they are; the score is of the text."""
    written = ["Ein Mann <unk>, dann schläft er.", "Zwei Hunde.", "Der <unk>"]
    metrics, file = generated_metrics(output(targets, written), folder(tmp_path, RAW), "test", "de")
    assert file == tmp_path / "raw" / "test.de"
    assert metrics == translation_metrics(written, RAW)


@pytest.mark.parametrize("capitals", [True, False])
def test_targets_without_capitals_are_scored_without_regard_to_case(tmp_path, capitals):
    """Where no manifest says that they were taken away."""
    targets = RAW if capitals else [line.lower() for line in RAW]
    written = [line.lower() for line in RAW]
    metrics, _ = generated_metrics(output(targets, written), folder(tmp_path, RAW), "test", "de")
    assert metrics == translation_metrics(written, RAW, lowercase=not capitals)
    assert (metrics["bleu"] == pytest.approx(100)) == (not capitals)


@pytest.mark.parametrize(
    "targets",
    [
        ["Kein <<unk>> läuft.", "<<unk>> Hund.", "Der Bus kommt."],
        ["er <<unk>> Ein", "Hunde <<unk>> Zwei", "<<unk>> Der Bus kommt. <<unk>> Der"],
        ["<<unk>> Mann <<unk>> Ein <<unk>>", "Zwei <<unk>> Zwei <<unk>>", "Bus <<unk>>"],
    ],
)
def test_targets_of_another_text(tmp_path, targets):
    """What is known of a target stands in the line, in order, or it is another line's."""
    metrics, file = generated_metrics(output(targets, RAW), folder(tmp_path, RAW), "test", "de")
    assert file is None and "tokenised_bleu" in metrics
