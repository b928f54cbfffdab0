"""``genft train``, ``finetune``, ``test`` and ``inference``: fairseq's commands, by strategy.

Each prints the command that it runs, and ends with its exit status.  For translation ``genft test``
scores text by sacreBLEU, in place of the last line that ``fairseq-generate`` prints.  What needs
fairseq or torch is imported when it is used: --help does not need it.
"""

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genft_fairseq.cli.child_process import PassingOn, run, runnable
from genft_fairseq.cli.measuring import tell
from genft_fairseq.errors import UserError
from genft_fairseq.experiments.strategies import ALIASES, NAMES, TASKS
from genft_fairseq.files import write_atomic

if TYPE_CHECKING:
    from genft_fairseq.evaluation.predictions import Generated

FOLDER = click.Path(path_type=Path)
_ALIASES = ", ".join(f"{alias} for {name}" for alias, name in ALIASES.items())
_EITHER = "checkpoints/STRATEGY or checkpoints/STRATEGY-finetuned, whichever there is"

# The last line: a BLEU of tokens, unless --scoring asks for something else.
_SCORE = re.compile(r"^(Generate .* with beam=\d+: ).*\n?", re.MULTILINE)
_SENTENCE = re.compile(r"[A-Z]-\d+\t")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*, strategy: dict[str, Any], save_dir: str = "checkpoints/STRATEGY") -> Decorator:
    """The options that all modes have; ``save_dir`` says what the default is."""
    decorators: list[Decorator] = [
        click.argument("data"),
        click.option(
            "--strategy",
            type=click.Choice(list(NAMES)),
            callback=lambda _context, _option, value: NAMES[value],
            help="Training strategy: a criterion and a task. "
            f"Aliases: {_ALIASES}; folders have the name that an alias stands for.",
            **strategy,
        ),
        click.option("--task", type=click.Choice(TASKS), help="Default: what DATA looks like."),
        click.option("--save-dir", type=FOLDER, help=f"Default: {save_dir}."),
        click.option("--dry-run", is_flag=True, help="Only print the command."),
        click.option(
            "--json", "as_json", is_flag=True, help="With --dry-run: as a JSON list of its words."
        ),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _decoding(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the modes that use a trained model."""
    for decorator in (
        click.option("--beam", type=click.IntRange(min=1), help="Default: 5; greedy: 1."),
        click.option("--search", type=click.Choice(["beam", "greedy"]), help="Default: beam."),
        click.option("--path", help="Checkpoint; default: the best, or the last, of --save-dir."),
    ):
        function = decorator(function)
    return function


@click.command(cls=PassingOn)
@_options(strategy={"default": "standard", "show_default": True})
def train(
    data: str,
    strategy: str,
    task: str | None,
    save_dir: Path | None,
    dry_run: bool,
    as_json: bool,
    flags: list[str],
) -> None:
    """Train a model on DATA, a folder of fairseq-preprocess, from the beginning.

    \b
    genft train data-bin/my_data -- --arch transformer --optimizer adam --lr 1e-3 --max-tokens 4096

    Prints the fairseq-train command and runs it; what follows -- goes to it untouched.  The same
    command goes on from where it stopped; one that has made its --max-update does nothing.
    """
    from genft_fairseq.experiments import commands, save_folders
    from genft_fairseq.experiments.data_folders import open_data
    from genft_fairseq.experiments.save_folders import default_folder

    save_dir = save_dir or default_folder(strategy)
    folder = open_data(data, task, flags)
    command = commands.train_command(folder, strategy, save_dir, flags, cpu=_without_gpu())
    save_folders.require_no_beginning(save_dir, strategy)
    _train(command, save_dir, dry_run, as_json, lambda _: None)


@click.command(cls=PassingOn)
@_options(
    strategy={"required": True},
    save_dir="checkpoints/STRATEGY; where the baseline lies there, checkpoints/STRATEGY-finetuned",
)
@click.option("--baseline", type=FOLDER, help="Checkpoint to start from.")
def finetune(
    data: str,
    strategy: str,
    task: str | None,
    baseline: Path | None,
    save_dir: Path | None,
    dry_run: bool,
    as_json: bool,
    flags: list[str],
) -> None:
    """Fine-tune a baseline on DATA, a folder of fairseq-preprocess, by a strategy.

    \b
    genft finetune data-bin/my_data --strategy scalegrad --baseline base.pt -- \\
      --optimizer adam --lr 1e-4 --max-update 1000 --max-tokens 4096

    Prints the fairseq-train command and runs it; what follows -- goes to it untouched.  The
    architecture is the baseline's, unless --arch follows --.  The same command goes on from where
    it stopped; a save folder that was begun from another baseline is refused.
    """
    if baseline is None:
        raise UserError(
            "genft finetune needs --baseline CKPT, the checkpoint to start from; genft train makes "
            "one, checkpoints/standard/checkpoint_best.pt"
        )
    from genft_fairseq.experiments import architectures, commands, save_folders
    from genft_fairseq.experiments.data_folders import open_data
    from genft_fairseq.experiments.save_folders import default_folder

    save_dir = save_dir or default_folder(strategy, baseline)
    folder = open_data(data, task, flags)
    trained = architectures.read_configuration(baseline)
    architectures.require_task(trained, folder.task, baseline)
    beginning = save_folders.Beginning(strategy, save_folders.read_baseline(baseline))
    save_folders.require_beginning(save_dir, beginning)
    architecture = (
        []
        if commands.has_architecture(flags)
        else architectures.architecture_flags(trained["model"], data, folder.task)
    )
    command = commands.finetune_command(
        *(folder, strategy, baseline, architecture, save_dir, flags), cpu=_without_gpu()
    )
    _train(
        *(command, save_dir, dry_run, as_json),
        lambda line: save_folders.record_beginning(save_dir, beginning, line),
    )


@click.command(cls=PassingOn)
@_options(strategy={"default": "standard", "show_default": True}, save_dir=_EITHER)
@_decoding
@click.option("--split", default="test", show_default=True, help="Part of the data to use.")
@click.option("--results", type=FOLDER, help="Write the output into this folder.")
def test(
    data: str,
    strategy: str,
    task: str | None,
    path: str | None,
    save_dir: Path | None,
    search: str | None,
    beam: int | None,
    split: str,
    results: Path | None,
    dry_run: bool,
    as_json: bool,
    flags: list[str],
) -> None:
    """Test the checkpoint of a strategy on a split of DATA.

    \b
    genft test data-bin/my_data --strategy scalegrad --beam 5 -- --lenpen 0.6

    For translation prints the fairseq-generate command and runs it, with the BPE and the tokeniser
    that bpe.codes and MANIFEST.json of DATA tell, and ends with the scores of the text against
    raw/SPLIT.LANGUAGE of DATA; without that file, with a tokenised BLEU. For a language model
    genft evaluate-lm, greedy unless told a beam. What follows -- goes to it untouched, such as
    -- --prefix-length 10 --length 20 for a model that was trained on short blocks.
    """
    from genft_fairseq.experiments import commands
    from genft_fairseq.experiments.data_folders import open_data

    folder = open_data(data, task, flags)
    # fairseq-generate would keep the sentences from us, too.
    quiet = folder.task != "language_modeling" and "--quiet" in flags
    flags = [flag for flag in flags if not (quiet and flag == "--quiet")]
    command = commands.evaluation_command(
        *(folder, _checkpoint(path, save_dir, strategy), split, search, beam, results, flags),
        cpu=_without_gpu(),
    )
    is_scored = folder.task != "language_modeling" and not dry_run
    view = TranslationView(Path(data), command, quiet) if is_scored else None
    _run(command, dry_run, as_json, view=view)


@click.command(cls=PassingOn)
@_options(strategy={"default": "standard", "show_default": True}, save_dir=_EITHER)
@_decoding
@click.option("--input", "source", help="File with lines of text; default: standard input.")
def inference(
    data: str,
    strategy: str,
    task: str | None,
    path: str | None,
    save_dir: Path | None,
    search: str | None,
    beam: int | None,
    source: str | None,
    dry_run: bool,
    as_json: bool,
    flags: list[str],
) -> None:
    """Translate or continue lines of text; DATA holds the dictionaries.

    \b
    echo 'ein Satz' | genft inference data-bin/my_data --strategy scalegrad --search greedy

    Prints the fairseq-interactive command and runs it, with the BPE and the tokeniser that
    bpe.codes and MANIFEST.json of DATA tell; what follows -- goes to it untouched.
    """
    from genft_fairseq.experiments import commands
    from genft_fairseq.experiments.data_folders import open_data

    if source not in (None, "-") and not Path(str(source)).is_file():
        raise UserError(f"--input {source} is not a file")
    folder = open_data(data, task, flags)
    command = commands.inference_command(
        *(folder, _checkpoint(path, save_dir, strategy), search, beam, source, flags),
        cpu=_without_gpu(),
    )
    _run(command, dry_run, as_json)


class TranslationView:
    """Takes what ``fairseq-generate`` prints, and puts scores of text in the place of its own.

    Args:
        data: the folder.
        command: of ``fairseq-generate``, whose last flag of a name wins.
        quiet: show no sentences; they are scored all the same.
    """

    def __init__(self, data: Path, command: Sequence[str], quiet: bool = False):
        from genft_fairseq.experiments.data_folders import flag_values, has_flag, target_language

        self.data, self.quiet = data, quiet
        self.split = flag_values(command, "--gen-subset")[-1]
        self.language = target_language(command, data)
        folder = flag_values(command, "--results-path")
        self.file = Path(folder[-1], f"generate-{self.split}.txt") if folder else None
        self.keeps_score = has_flag(command, "--scoring")
        self.printed: list[str] = []

    def is_shown(self, line: bytes) -> bool:
        """Keep a line that was printed, and tell whether it is for the user to see as it is."""
        self.printed.append(line.decode("utf-8", errors="replace"))
        if self.quiet and _SENTENCE.match(self.printed[-1]):
            return False
        return self.keeps_score or not _SCORE.match(self.printed[-1])

    def finish(self) -> None:
        """Print the scores, and write them into the file of results."""
        from genft_fairseq.evaluation.predictions import parse_generated

        try:
            text = self.file.read_text(encoding="utf-8") if self.file else "".join(self.printed)
            generated = parse_generated(text, str(self.file or "the output of fairseq-generate"))
            scores = self._scores(generated)
        # Sentences were left out, say.
        except (UserError, OSError, UnicodeDecodeError) as error:
            return click.echo(f"genft test: not scored: {error}", err=True)
        score = _SCORE.search(text)
        line = f"{score[1] if score else ''}{scores}"
        click.echo(line)
        if self.file:
            kept = text if self.keeps_score else _SCORE.sub("", text)
            write_atomic(self.file, f"{kept}{line}\n")

    def _scores(self, generated: "Generated") -> str:
        from genft_fairseq.evaluation.translation import generated_metrics

        metrics, file = generated_metrics(generated, self.data, self.split, self.language)
        if metrics is None:
            raise UserError(f"{self.data} has no references of {self.split}")
        name, called = ("bleu", "BLEU") if file else ("tokenised_bleu", "tokenised BLEU")
        against = f"text against {file}" if file else f"no raw text of its sentences in {self.data}"
        return (
            f"{called} = {metrics[name]:.2f}, chrF = {metrics['chrf']:.2f}, "
            f"length ratio = {metrics['length_ratio']:.3f}; {against}; "
            f"{called} {metrics[f'{name}_signature']}, chrF {metrics['chrf_signature']}"
        )


def _checkpoint(path: str | None, save_dir: Path | None, strategy: str) -> str:
    """The checkpoint to use: as given (several with : between them), or a save folder's best."""
    if path is not None:
        if save_dir is not None:
            raise UserError("--path and --save-dir both say which checkpoint: leave one out")
        for each in path.split(":"):
            if not Path(each).is_file():
                raise UserError(f"--path {each} is not a file")
        return path
    from genft_fairseq.experiments.save_folders import best_checkpoint, trained_folder

    return best_checkpoint(save_dir or trained_folder(strategy))


def _train(
    command: list[str],
    save_dir: Path,
    dry_run: bool,
    as_json: bool,
    begin: Callable[[str], None],
) -> None:
    """Run a training command, the only one in its folder; ``begin`` writes what it starts from."""
    from genft_fairseq.experiments.save_folders import finished_updates, training_lock

    if dry_run or as_json:
        return _run(command, dry_run, as_json)
    with training_lock(save_dir) as lock:
        updates = finished_updates(save_dir, command)
        if updates is not None:
            return click.echo(f"finished already: {save_dir} has {updates} updates")
        line = shlex.join(runnable(command))
        begin(line)
        write_atomic(save_dir / "command", line + "\n")
        _run(command, dry_run, as_json, inherited=[lock], log=save_dir / "genft.log")


def _run(
    command: list[str],
    dry_run: bool,
    as_json: bool,
    inherited: Sequence[int] = (),
    log: Path | None = None,
    view: TranslationView | None = None,
) -> None:
    """Print a command and, if it is meant, run it; its exit status becomes ours."""
    if as_json and not dry_run:
        raise click.UsageError("--json needs --dry-run: what the command itself prints is its own")
    command = runnable(command)
    tell(as_json, command, shlex.join(command))
    if not dry_run:
        status = run(command, inherited, log, view.is_shown if view else None)
        if view and not status:
            view.finish()
        sys.exit(status)


def _without_gpu() -> bool:
    import torch

    return not torch.cuda.is_available()
