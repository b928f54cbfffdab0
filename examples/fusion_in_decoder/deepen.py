"""A decoder of twice the depth: every layer twice, one after the other, to be trained on.

    python deepen.py CHECKPOINT OUTPUT

Both are the same layer at first, much as in depth up-scaling (Kim et al., 2023, SOLAR 10.7B,
arXiv:2312.15166), which repeats layers of a trained model and trains on.
"""

import re
from pathlib import Path

import click
import torch

from genft_fairseq.patches import safe_loading


@click.command(help=__doc__)
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False))
@click.argument("output", type=click.Path(dir_okay=False))
def main(checkpoint: str, output: str) -> None:
    state = safe_loading.load(checkpoint)
    model = {}
    for name, value in state["model"].items():
        layer = re.fullmatch(r"decoder\.layers\.(\d+)\.(.*)", name)
        if not layer:
            model[name] = value
            continue
        for number in (2 * int(layer[1]), 2 * int(layer[1]) + 1):
            model[f"decoder.layers.{number}.{layer[2]}"] = value.clone()
    settings = state["cfg"]["model"]
    settings.decoder_layers *= 2
    temporary = Path(f"{output}.tmp")
    torch.save({**state, "model": model}, temporary)
    temporary.replace(output)


if __name__ == "__main__":
    main()
