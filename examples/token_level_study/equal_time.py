"""Prints how many updates of MLE take as long as UPDATES of the other methods.

    python equal_time.py SEED_FOLDER UPDATES METHOD...

Speed is fairseq's own figure, updates a second, over stretches of 20 updates; of each method the
upper quartile of its stretches, because other work on the machine only ever slows a stretch down;
of the other methods together the median, because they share one loss and cost the same.
"""

import json
import re
import statistics
import sys
from pathlib import Path


def updates_per_second(folder: Path, method: str) -> float:
    """The upper quartile over every run of the method, whatever its learning rate."""
    stretches = [
        float(speed)
        for log in sorted(folder.glob(f"{method}-lr-*/train.log"))
        for speed in re.findall(r"\| train_inner \|.*\bups=([\d.]+)", log.read_text("utf-8"))
    ]
    return statistics.quantiles(stretches, n=4)[2]


def speeds(folder: Path, methods: list[str]) -> dict[str, float]:
    return {method: updates_per_second(folder, method) for method in methods}


if __name__ == "__main__":
    folder, updates, *methods = sys.argv[1:]
    speed = speeds(Path(folder), methods)
    others = statistics.median(value for method, value in speed.items() if method != "mle")
    print(json.dumps(speed), file=sys.stderr)
    print(round(int(updates) * speed["mle"] / others))
