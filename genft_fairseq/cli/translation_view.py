"""The scores of ``genft test`` for translation, in the place of those of ``fairseq-generate``."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.raw_text import generated_figures
from genft_fairseq.evaluation.records import write_whole
from genft_fairseq.evaluation.translation import Generated, parse_generated
from genft_fairseq.study.data_folders import flag_values, has_flag, target_language

# The last line: a BLEU of tokens, unless --scoring asks for something else.
_SCORE = re.compile(r"^(Generate .* with beam=\d+: ).*\n?", re.MULTILINE)
_SENTENCE = re.compile(r"[A-Z]-\d+\t")


class TranslationView:
    """Takes what ``fairseq-generate`` prints, and puts scores of text in the place of its own.

    Args:
        data: the folder.
        command: of ``fairseq-generate``, whose last flag of a name wins.
        quiet: show no sentences; they are scored all the same.
    """

    def __init__(self, data: Path, command: Sequence[str], quiet: bool = False):
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
        try:
            text = self.file.read_text(encoding="utf-8") if self.file else "".join(self.printed)
            generated = parse_generated(text, str(self.file or "the output of fairseq-generate"))
            scores = self._scores(generated)
        # Sentences that were left out.
        except (UserError, OSError, UnicodeDecodeError) as error:
            return click.echo(f"genft test: not scored: {error}", err=True)
        score = _SCORE.search(text)
        line = f"{score[1] if score else ''}{scores}"
        click.echo(line)
        if self.file:
            kept = text if self.keeps_score else _SCORE.sub("", text)
            write_whole(self.file, f"{kept}{line}\n")

    def _scores(self, generated: Generated) -> str:
        figures, file = generated_figures(generated, self.data, self.split, self.language)
        if figures is None:
            raise UserError(f"{self.data} holds no references of {self.split}")
        name, called = ("bleu", "BLEU") if file else ("tokenised_bleu", "tokenised BLEU")
        against = f"text against {file}" if file else f"no raw text of its sentences in {self.data}"
        return (
            f"{called} = {figures[name]:.2f}, chrF = {figures['chrf']:.2f}, "
            f"length ratio = {figures['length_ratio']:.3f}; {against}; "
            f"{called} {figures[f'{name}_signature']}, chrF {figures['chrf_signature']}"
        )
