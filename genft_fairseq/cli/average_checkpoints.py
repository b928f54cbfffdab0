"""``genft average-checkpoints``: the mean of a run's checkpoints, as one checkpoint."""

from pathlib import Path

import click

from genft_fairseq.cli.measuring import json_option, tell
from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.errors import UserError
from genft_fairseq.files import require_writable


@click.command("average-checkpoints")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Written here."
)
@click.option("--last", type=click.IntRange(min=1), help="How many of a folder's checkpoints.")
@click.option(
    "--by",
    type=click.Choice(["epochs", "updates"]),
    help="Which of a folder's checkpoints, where it holds both kinds.",
)
@json_option
def average_checkpoints(
    sources: tuple[Path, ...], output: Path, last: int | None, by: str | None, as_json: bool
) -> None:
    """Average SOURCES: checkpoint files, or one run's folder with --last N.

    \b
    genft average-checkpoints runs/base --last 5 --output runs/base/averaged.pt
    genft average-checkpoints checkpoint8.pt checkpoint9.pt --output averaged.pt

    The result translates, and can be fine-tuned from; it holds no optimizer's state to resume with.
    """
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.convert import averaging

    paths = _checkpoints(sources, last, by)
    require_writable("--output", output)  # before the work, not after it
    if output.exists() and not output.is_file():
        raise UserError(f"--output {output} is not a regular file")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("a checkpoint is given twice, and would count twice")
    if output.resolve() in [path.resolve() for path in paths]:
        raise UserError(f"--output {output} is one of the checkpoints to average")
    with working_bar(as_json, "checkpoints", 1) as bar:
        task = bar.add_task("averaging", total=len(paths))
        averaged = averaging.average_checkpoints(paths, lambda done: bar.advance(task, done))
        bar.update(task, description="writing")
        output.parent.mkdir(parents=True, exist_ok=True)
        averaging.write_checkpoint(averaged, output)
    tell(
        as_json,
        {"output": str(output), "checkpoints": [str(path) for path in paths]},
        f"{output}: the mean of {', '.join(path.name for path in paths)}",
    )


def _checkpoints(sources: tuple[Path, ...], last: int | None, by: str | None) -> list[Path]:
    from genft_fairseq.convert.averaging import newest_checkpoints

    folders = [source for source in sources if source.is_dir()]
    if not folders and last is None and by is None:
        return list(sources)
    if len(sources) != 1 or not folders:
        raise UserError("--last and --by choose from one folder; give it alone, or files alone")
    if last is None:
        raise UserError(f"{folders[0]} is a folder: add --last N for its last N checkpoints")
    return newest_checkpoints(folders[0], last, by)
