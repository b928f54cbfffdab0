"""The results of a comparison as Markdown."""

from typing import Any

from genft_fairseq.evaluation.records import provenance_line

Figures = dict[str, Any]
HEAD = (
    "| system | BLEU | p | chrF | length ratio | rep-1 | rep-2 | rep-4 | epoch s | time "
    "| memory MiB | peak MiB |"
)
EQUAL_TIME_HEAD = "| system | updates | training s | BLEU | p | chrF | rep-4 |"
REPETITIONS = ("rep_1", "rep_2", "rep_4")


def comparison_table(results: Figures) -> str:
    """Write the tables: equal updates, equal wall clock, what failed, where it was measured."""
    systems = results["systems"]
    lines = [f"Equal updates: {results['updates']} from the baseline.", "", HEAD, _rule(HEAD)]
    lines += [_row(name, system) for name, system in systems.items()]
    references = [_cell(results["references"][name], 4) for name in REPETITIONS]
    lines.append(f"| the references | | | | | {' | '.join(references)} | | | | |")
    lines += ["", "Equal wall clock: what each reached in the training time of standard.", ""]
    lines += [EQUAL_TIME_HEAD, _rule(EQUAL_TIME_HEAD)]
    lines += [_equal_time_row(name, s) for name, s in systems.items() if s["kind"] == "training"]
    failures = [_failure(failure) for system in systems.values() for failure in system["failures"]]
    return "\n".join([*lines, "", *failures, *([""] if failures else []), *_notes(results)])


def _rule(head: str) -> str:
    return "|" + "---|" * (head.count("|") - 1)


def _row(name: str, system: Figures) -> str:
    figures = system["equal_updates"]
    cells = [
        *_scores(figures, system),
        _mean(figures, "length_ratio", 3),
        *(_mean(figures, repetition, 4) for repetition in REPETITIONS),
        _mean(figures, "epoch_seconds", 1),
        _mean(figures, "time_ratio", 2, "× "),
        *(_mean(figures, memory, 0) for memory in ("average_memory_mib", "peak_memory_mib")),
    ]
    return f"| {_escaped(name)} | {' | '.join(cells)} |"


def _equal_time_row(name: str, system: Figures) -> str:
    figures = system.get("equal_time", {})
    reached = figures.get("updates", {"seeds": {}})["seeds"].values()
    cells = [
        ", ".join(str(updates) for updates in reached),
        _mean(figures, "train_seconds", 1),
        *_scores(figures, system),
        _mean(figures, "rep_4", 4),
    ]
    return f"| {_escaped(name)} | {' | '.join(cells)} |"


def _scores(figures: Figures, system: Figures) -> list[str]:
    if "bleu" not in figures:
        return ["failed" if system["failures"] else "", "", ""]
    p_values = figures.get("p_value", {"seeds": {}})["seeds"].values()
    return [
        _interval(figures["bleu"]),
        ", ".join(f"{p:.3f}" for p in p_values),
        _interval(figures["chrf"]),
    ]


def _interval(figure: Figures) -> str:
    if figure["half_width"] is None:
        mean, ends = _cell(figure["mean"], 2), figure.get("interval")
        return f"{mean} [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else mean
    return f"{figure['mean']:.2f} ± {figure['half_width']:.2f}"


def _mean(figures: Figures, name: str, digits: int, before: str = "") -> str:
    value = figures[name]["mean"] if name in figures else None
    return before + _cell(value, digits) if value is not None else ""


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _failure(failure: Figures) -> str:
    return f"- {_escaped(failure['job'])} failed: {_escaped(failure['error'])} ({failure['log']})"


def _notes(results: Figures) -> list[str]:
    seeds = ", ".join(map(str, results["seeds"]))
    memory = {s["memory"] for s in results["systems"].values() if s.get("memory")}
    beside = results["side_by_side"]["processes"]
    several = len(results["seeds"]) > 1
    interval = "±: 95 % Student-t interval of the mean; "
    if not several:
        interval = "[ ]: 95 % bootstrap interval over the test sentences; "
    side = "one command at a time" if beside == 1 else f"{beside} commands side by side"
    lines = [
        f"Seeds {seeds}; {interval}p: paired bootstrap of BLEU against standard, a seed each. "
        "Training time is that of updates, without start, validation and saving: by the wall clock "
        "on a GPU, by that of the processor on the CPU, which others may use as well; time is that "
        "of an update against standard's; "
        f"memory is {' and '.join(sorted(memory)) or 'not known'}, average and peak; "
        f"{side}."
    ]
    if "bleu_signature" in results:
        lines.append(f"BLEU `{results['bleu_signature']}`, chrF `{results['chrf_signature']}`.")
    return [*lines, provenance_line(results)]
