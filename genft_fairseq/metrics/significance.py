"""Whether two systems differ by more than the choice of the test set explains.

Paired bootstrap resampling: P. Koehn, *Statistical Significance Tests for Machine Translation
Evaluation*, EMNLP 2004. Both systems are scored on the same resampled test sets, and the p-value is
the share of these on which the difference, centred at zero, is at least as large as it really is.
BLEU's is sacreBLEU's own, which centres the size of the difference instead: where one is clear it
is about half as large (docs/mathematics.md, "Significance and intervals").
It says nothing about another seed of training: for that, compare seeds.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sacrebleu
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest

from genft_fairseq.errors import UserError
from genft_fairseq.metrics.unknown_words import marked

SAMPLES = 1000


def bleu_p_values(
    baseline: Sequence[str],
    others: Mapping[str, Sequence[str]],
    references: Sequence[str],
    lowercase: bool = False,
) -> dict[str, float]:
    """Compare the corpus BLEU of systems with that of a baseline, by sacreBLEU's own test.

    Args:
        baseline: detokenised translations, one a sentence.
        others: the translations of other systems by name.
        references: as many.
        lowercase: without regard to case.

    Returns:
        the p-value of each other system.

    Raises:
        UserError: not as many translations as references.
    """
    for name, translations in {"the baseline": baseline, **others}.items():
        if len(translations) != len(references):
            raise UserError(
                f"{len(translations)} translations by {name} of {len(references)} references"
            )
    # sacreBLEU counts differences greater than the observed one, and so calls none significant.
    p_values = {name: 1.0 for name, t in others.items() if list(t) == list(baseline)}
    different = {n: marked(t, "candidate") for n, t in others.items() if n not in p_values}
    if not different:
        return p_values
    systems: list[tuple[str, Sequence[str]]] = [
        ("baseline", marked(baseline, "candidate")),
        *different.items(),
    ]
    right = [marked(references, "reference")]
    metrics = {"BLEU": sacrebleu.BLEU(references=right, lowercase=lowercase)}
    _, scores = PairedTest(systems, metrics, references=None, test_type="bs", n_samples=SAMPLES)()
    results = dict(zip(scores["System"], scores["BLEU"], strict=True))
    # sacreBLEU types a score as the name of a system, too.
    return p_values | {name: float(results[name].p_value) for name in different}  # type: ignore


def mean_p_value(baseline: Sequence[float], other: Sequence[float], seed: int = 12345) -> float:
    """Compare the means of a metric that each text has of its own, such as its repetition.

    Args:
        baseline: the value of each text under the baseline.
        other: of the same texts, under the other system.
        seed: of the resampling.

    Returns:
        the two-sided p-value, at least 1 / 1001.

    Raises:
        UserError: not the same number of texts, fewer than two, or values that are not finite.
    """
    if len(baseline) != len(other) or len(baseline) < 2:
        raise UserError(
            f"cannot pair {len(other)} texts with {len(baseline)}: as many, and two at least"
        )
    difference = np.asarray(other, dtype=float) - np.asarray(baseline, dtype=float)
    if not np.isfinite(difference).all():
        raise UserError("a value to compare is not a finite number")
    draws = np.random.default_rng(seed).integers(len(difference), size=(SAMPLES, len(difference)))
    resampled = difference[draws].mean(axis=1)
    observed = abs(difference.mean())
    exceeding = np.abs(resampled - resampled.mean()) >= observed
    # One more on both sides: the real test set is one of the possible ones.
    return float((exceeding.sum() + 1) / (SAMPLES + 1))


def mean_interval(
    values: Sequence[float], level: float = 0.95, seed: int = 12345
) -> list[float] | None:
    """Return where the mean of a metric lies on resampled test sets: a percentile bootstrap.

    B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.

    Args:
        values: of each text.
        level: the share of the resampled means that lies inside.
        seed: of the resampling.

    Returns:
        [low, high]; None for fewer than two texts, of which nothing can be said.

    Raises:
        UserError: a value is not finite.
    """
    return ratio_interval(values, [1.0] * len(values), level, seed)


def ratio_interval(
    sums: Sequence[float], counts: Sequence[float], level: float = 0.95, seed: int = 12345
) -> list[float] | None:
    """Return where a mean over the units of all texts lies on resampled test sets.

    Such as the negative log-likelihood of a token, of texts that have several tokens each.

    Args:
        sums: of each text, the sum over its units.
        counts: of each text, its units; positive.
        level: the share of the resampled means that lies inside.
        seed: of the resampling.

    Returns:
        [low, high]; None for fewer than two texts, of which nothing can be said.

    Raises:
        UserError: a value is not finite.
    """
    totals, units = (np.asarray(values, dtype=float) for values in (sums, counts))
    if not np.isfinite(totals).all():
        raise UserError("a value to resample is not a finite number")
    if len(totals) < 2:
        return None
    generator = np.random.default_rng(seed)
    means = []
    # One resampled test set at a time: a thousand of a large one would fill the memory.
    for _ in range(SAMPLES):
        drawn = generator.integers(len(totals), size=len(totals))
        means.append(totals[drawn].sum() / units[drawn].sum())
    tail = 100 * (1 - level) / 2
    return [float(bound) for bound in np.percentile(means, [tail, 100 - tail])]


def sacrebleu_interval(
    metric: Metric, texts: Sequence[str], references: Sequence[str]
) -> list[float] | None:
    """Return the 95 % bootstrap interval of a corpus score, by sacreBLEU's own resampling.

    Args:
        metric: such as ``sacrebleu.BLEU()``.
        texts: what a system wrote.
        references: as many.

    Returns:
        [low, high]; None for fewer than two texts.
    """
    if len(texts) < 2:
        return None
    score: Any = metric.corpus_score(texts, [references], n_bootstrap=SAMPLES)
    return [float(score._mean - score._ci), float(score._mean + score._ci)]


def over_seeds(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the metrics of runs that differ by their seed alone.

    Args:
        seeds: the metrics of each run by name; at least one, all of the same names.

    Returns:
        of each number that every run has ``mean``, ``deviation`` (the standard deviation, by n - 1;
        None for one run) and ``seeds``, the runs' own; of everything else the runs' own in a list.
    """

    def spread(name: str) -> dict[str, Any]:
        values = [found[name] for found in seeds]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return {"mean": statistics.mean(values), "deviation": deviation, "seeds": values}

    numbers = [n for n in seeds[0] if all(isinstance(s[n], int | float) for s in seeds)]
    others = {n: [s[n] for s in seeds] for n in seeds[0] if n not in numbers}
    return {**others, **{name: spread(name) for name in numbers}}
