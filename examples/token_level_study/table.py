"""Writes the results of one task as the tables of the page."""

from typing import Any

from genft_fairseq.provenance import provenance_line

# The columns of each task: heading, figure, decimals.
TITLES = {
    "translation": [
        ("BLEU", "bleu", 2),
        ("chrF", "chrf", 2),
        ("length ratio", "length_ratio", 3),
        ("valid ppl", "valid_ppl", 2),
        ("valid acc", "valid_accuracy", 2),
        ("rep-1", "rep_1", 4),
        ("rep-2", "rep_2", 4),
        ("rep-3", "rep_3", 4),
        ("rep-4", "rep_4", 4),
        ("wall s", "train_seconds", 0),
    ],
    "language_modeling": [
        ("ppl", "test_ppl", 2),
        ("acc", "test_accuracy", 4),
        ("rep-1", "rep_1", 3),
        ("rep-2", "rep_2", 3),
        ("rep-3", "rep_3", 3),
        ("rep-4", "rep_4", 3),
        ("uniq-seq", "distinct_tokens", 0),
        ("wall s", "train_seconds", 0),
    ],
}


def table(results: dict[str, Any]) -> str:
    """The systems, the search for learning rates, the speeds, and where it all comes from."""
    columns = TITLES[results["task"]]
    lines = [
        f"| | {' | '.join(heading for heading, _, _ in columns)} | updates | p against MLE |",
        f"|---|{'---|' * (len(columns) + 2)}",
    ]
    for system, metrics in results["systems"].items():
        cells = [cell(metrics[name], decimals) for _, name, decimals in columns]
        updates = f"{metrics['updates']['mean']:.0f}"
        lines.append(f"| {system} | {' | '.join(cells)} | {updates} | {p_values(metrics)} |")
    human = [
        number(results["human"][name], decimals) if name in results["human"] else ""
        for _, name, decimals in columns
    ]
    lines.append(f"| human | {' | '.join(human)} | | |")
    return "\n".join([*lines, "", *search(results), "", *provenance(results)])


def cell(figure: dict[str, Any], decimals: int) -> str:
    mean = number(figure["mean"], decimals)
    if figure["deviation"] is None:
        return mean
    return f"{mean} ± {number(figure['deviation'], decimals)}"


def number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}"


def p_values(metrics: dict[str, Any]) -> str:
    """One for each seed."""
    if "p_value" not in metrics:
        return ""
    return ", ".join(f"{p:.3f}" for p in metrics["p_value"]["seeds"])


def search(results: dict[str, Any]) -> list[str]:
    """What the learning-rate search found on the first seed, and what an update costs."""
    runs = results["learning_rate_search"]
    rates = list(dict.fromkeys(name.split("-lr-")[1] for name in runs))
    translation = results["task"] == "translation"
    figure, decimals = ("valid_bleu", 2) if translation else ("valid_ppl", 2)
    heading = "BLEU" if translation else "perplexity"
    lines = [
        f"| learning-rate search: {heading} on validation | {' | '.join(rates)} | updates/s |",
        f"|---|{'---|' * (len(rates) + 1)}",
    ]
    for method, speed in results["updates_per_second"].items():
        found = [number(runs[f"{method}-lr-{rate}"][figure], decimals) for rate in rates]
        lines.append(f"| {method} | {' | '.join(found)} | {speed:.2f} |")
    return lines


def provenance(results: dict[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, results["seeds"]))
    lines = [f"Mean ± standard deviation over the seeds {seeds}; p: paired bootstrap, a seed each."]
    if results["task"] == "translation":
        some = results["systems"]["mle"]
        lines.append(f"BLEU `{some['bleu_signature']}`, chrF `{some['chrf_signature']}`.")
    else:
        lines.append(f"{results['human']['continuations']} prefixes; ppl and acc a piece.")
    return [*lines, provenance_line(results)]
