"""Words per second of ``fairseq-train`` with our criterions against fairseq's own.

    python benchmarks/training.py --output benchmarks/results/training-cpu.json
    python benchmarks/training.py --table benchmarks/results/training-cpu.json

What runs is the command, on data that is made, or on a folder one has (``--data``).
``training_process.py`` says what is measured, and ``training_measurement.py`` what the JSON holds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from result_files import (
    NamesType,
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)
from training_commands import BACKENDS, BASELINE, KINDS, PRECISIONS, ROWS, SIZES, Model
from training_data import SPECIAL, target_dictionary, vocabulary_of
from training_tables import markdown, print_tables

DEFAULT_MODELS = ("translation,small", "language,small")
DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


class ModelType(click.ParamType):
    """``KIND,SIZE``."""

    name = "KIND,SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Parse the two names."""
        kind, _, size = value.partition(",")
        if kind not in KINDS or size not in SIZES:
            raise OneLineError(
                f"--model must be KIND,SIZE, with KIND among {','.join(KINDS)} and SIZE among "
                f"{','.join(SIZES)}, but is {value!r}"
            )
        return kind, size


class NumbersType(click.ParamType):
    """Positive integers separated by commas."""

    name = "N,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Parse the numbers."""
        try:
            numbers = tuple(dict.fromkeys(int(number) for number in value.split(",")))
        except ValueError:
            numbers = (0,)
        if min(numbers) < 1:
            raise OneLineError(f"{param.opts[0]} must be positive integers, but is {value!r}")
        return numbers


@click.command()
@click.option(
    "--model",
    "models",
    type=ModelType(),
    multiple=True,
    default=DEFAULT_MODELS,
    show_default=True,
    help="Kind and size of a model; may be given several times.",
)
@click.option("--data", type=DIRECTORY, help="A folder that fairseq-preprocess wrote.")
@click.option(
    "--vocabulary",
    type=click.IntRange(min=SPECIAL + 1),
    help="Of made data.  [default: by --model]",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=256),
    help="In an update, of all processes together.  [default: by --model]",
)
@click.option(
    "--rows",
    "names",
    type=NamesType(ROWS, always=BASELINE),
    default=",".join(ROWS),
    help=f"Which to measure, of {', '.join(ROWS)}; {BASELINE} always is.  [default: all]",
)
@click.option(
    "--updates", type=click.IntRange(min=1), default=25, show_default=True, help="Of a run."
)
@click.option(
    "--warm-up",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Updates at the beginning of a run that are not measured.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Each runs every command once.",
)
@click.option(
    "--processes", type=NumbersType(), help="Numbers of processes.  [default: 1,2; on a GPU 1]"
)
@click.option(
    "--ddp-backend",
    "backends",
    type=NamesType(BACKENDS),
    default=",".join(BACKENDS),
    show_default=True,
    help="How several processes exchange gradients.",
)
@click.option(
    "--precision",
    "precisions",
    type=NamesType(PRECISIONS),
    default="fp32",
    show_default=True,
    help=f"Of {', '.join(PRECISIONS)}.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **choices: Any
) -> None:
    """Compare the words per second of fairseq-train with our criterions and fairseq's own."""
    if tables:
        write_table(tables, readme, "training", markdown)
        return
    require_output_folder(output)
    if choices["warm_up"] >= choices["updates"]:
        raise OneLineError(
            f"--warm-up must be less than --updates {choices['updates']}, but is "
            f"{choices['warm_up']}"
        )
    if choices["processes"] is None:
        choices["processes"] = (1,) if choices["device"] == "cuda" else (1, 2)
    choices["models"] = chosen_models(
        *(choices["models"], choices["data"], choices.pop("vocabulary"), choices.pop("tokens"))
    )
    results = measure(typed_command("training.py"), **choices)
    show(results, output, as_json, print_tables)


def chosen_models(
    chosen: Sequence[tuple[str, str]], data: Path | None, vocabulary: int | None, tokens: int | None
) -> list[Model]:
    """Return the models with their vocabularies and batches, and refuse data of another kind."""
    if data is not None and (len(chosen) > 1 or vocabulary):
        raise OneLineError("--data is of one --model, and has a vocabulary of its own")
    models = []
    for kind, name in chosen:
        size = SIZES[name]
        entries = vocabulary or size.vocabulary[kind]
        if data is not None:
            dictionary = target_dictionary(data, kind)
            if dictionary is None or not dictionary.exists():
                raise OneLineError(f"--data {data} holds no binarized {KINDS[kind]} data (train)")
            entries = vocabulary_of(dictionary)
        models.append(Model(kind, name, entries, tokens or size.tokens))
    return models


def measure(command: str, **choices: Any) -> dict[str, Any]:
    """Compare the rows; what makes that impossible is shown as one line."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from loss_comparison import NoResultError
    from training_measurement import Conditions, compare

    how = Conditions(**{name: choices.pop(name) for name in Conditions.__dataclass_fields__})
    try:
        return compare(command, conditions=how, **choices)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
