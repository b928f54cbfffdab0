"""The figures that a report knows: what people call them, and how they are written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a figure is shown.

    Attributes:
        title: what people call it.
        digits: behind the point.
        factor: what the stored number is multiplied by, 100 for a share shown in per cent.
        better: ``higher``, ``lower``, or nothing where neither is better in itself.
    """

    title: str
    digits: int = 2
    factor: float = 1.0
    better: str = ""

    def shown(self, value: float | None) -> str:
        """Return a value as it stands in a table; nothing for one that is not known."""
        return "" if value is None else f"{value * self.factor:,.{self.digits}f}"


def _percent(title: str, better: str = "higher", digits: int = 1) -> Measure:
    return Measure(title, digits, 100.0, better)


def _repetition(n: int) -> Measure:
    return _percent(f"rep-{n} %", "lower", 2)


# By the names of the files of `genft evaluate-*`, `genft compare` and the training logs, in the
# order of a table's columns.
SCORES = {
    "bleu": Measure("BLEU", better="higher"),
    "tokenised_bleu": Measure("BLEU (tokenised)", better="higher"),
    "chrf": Measure("chrF", better="higher"),
    "exact_match": _percent("exact match %"),
    "f1": _percent("F1 %"),
    "rouge_1": _percent("ROUGE-1"),
    "rouge_2": _percent("ROUGE-2"),
    "rouge_l": _percent("ROUGE-L"),
    "rouge_lsum": _percent("ROUGE-Lsum"),
    "perplexity": Measure("ppl", better="lower"),
    "accuracy": _percent("accuracy %"),
    "mauve": Measure("MAUVE", 3, better="higher"),
    "length_ratio": Measure("length ratio", 3),
    "words": Measure("words", 1),
    "rep_1": _repetition(1),
    "rep_2": _repetition(2),
    "rep_3": _repetition(3),
    "rep_4": _repetition(4),
    "uniq": Measure("uniq", 0),
    "uniq_seq": Measure("uniq-seq", 0),
    "novel_2": _percent("novel bigrams %", ""),
}
COST = {
    "updates": Measure("updates", 0),
    "valid_ppl": Measure("validation ppl", better="lower"),
    "train_seconds": Measure("training s", 1),  # fewer updates take less
    "seconds_per_update": Measure("s an update", 3, better="lower"),
    "time_ratio": Measure("time ratio", better="lower"),
    "average_memory_mib": Measure("memory MiB", 0, better="lower"),
    "peak_memory_mib": Measure("peak MiB", 0, better="lower"),
}
REPETITIONS = ("rep_1", "rep_2", "rep_3", "rep_4")


def measure(name: str) -> Measure:
    """Return how a figure is shown; one that nobody foresaw by its own name."""
    known = SCORES.get(name) or COST.get(name)
    return known or Measure(name.replace("_", " "), 3)
