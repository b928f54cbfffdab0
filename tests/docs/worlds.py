"""The folder in which the commands of a page run: tiny data and two baselines are there already."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from docs.blocks import BadPage, Block, blocks
from fairseq_commands import REPOSITORY
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from warm_python import WarmPython

# Commands run elsewhere; not resolved, because .venv/bin/python is a link out of its environment.
PYTHON = Path(os.path.abspath(sys.executable))
PAGE_COMMAND = Path(__file__).with_name("page_command.py")
COMMANDS = [
    *("fairseq-train", "fairseq-generate", "fairseq-interactive", "fairseq-preprocess"),
    *("fairseq-score", "fairseq-validate", "fairseq-eval-lm"),
    *("genft", "python", "python3"),
    *("pip", "make", "git", "torchrun", "srun", "curl", "wget"),
]
# What a checked block may use besides.
PLAIN = ("cat", "echo", "head", "tail", "tail", "grep", "mkdir", "ls", "sed", "paste", "env", "tee")
SECONDS = 240
SENTENCES = {"train": 60, "valid": 12, "test": 12}
TRAIN = [
    *("--user-dir", str(REPOSITORY / "genft_fairseq"), "--optimizer", "adam", "--lr", "1e-3"),
    *("--max-tokens", "512", "--max-update", "2", "--no-epoch-checkpoints", "--seed", "1"),
    *("--no-last-checkpoints", "--criterion", "label_smoothed_cross_entropy"),
]


class World:
    """A folder to run a page's commands in.

    Args:
        folder: a new one is made here.
        server: has what ``page_command.py`` imports imported.
    """

    def __init__(self, folder: Path, server: WarmPython):
        self.folder, self._server = folder, server
        folder.mkdir(parents=True)

    def fill(self) -> None:
        """Make the data and the baselines that every page finds."""
        for name in ("genft_fairseq", "README.md", "benchmarks"):
            (self.folder / name).symlink_to(REPOSITORY / name)
        for name in ("examples", "data-prep", "docs"):  # copies: a page may write there
            left_out = shutil.ignore_patterns("_build", "__pycache__")
            shutil.copytree(REPOSITORY / name, self.folder / name, ignore=left_out)
        # fairseq imports a package by one path only.
        shutil.rmtree(self.folder / "docs" / "own_criterion")
        (self.folder / "docs" / "own_criterion").symlink_to(REPOSITORY / "docs" / "own_criterion")
        for corpus, languages in (("translation", ("en", "de")), ("language_modeling", ("en",))):
            self._prepare(corpus, languages)
        self._train_baselines()

    def copy(self, folder: Path) -> "World":
        """Return another one of the same content."""
        shutil.copytree(self.folder, folder, symlinks=True)
        world = World.__new__(World)
        world.folder, world._server = folder, self._server
        return world

    def check_instead_of_running(self) -> None:
        """Put checks in the place of the scripts that a page calls by their path."""
        for script in [*self.folder.glob("data-prep/*.sh"), *self.folder.glob("examples/**/*.sh")]:
            original = REPOSITORY / script.relative_to(self.folder)
            script.unlink()
            script.write_text(f'#!/bin/sh\nexec script {original} "$@"\n')
            script.chmod(0o755)

    def run_page(self, page: Path) -> None:
        """Run the blocks of a page, one after the other, and then check those that are marked.

        Raises:
            BadPage: a block breaks the rules, or did not end well.
        """
        found = blocks(page)
        for block in [block for block in found if block.mark is None]:
            self._require_success(page, block)
        self.check_instead_of_running()
        for block in [block for block in found if block.mark is not None]:
            self._require_success(page, block)

    def _require_success(self, page: Path, block: Block) -> None:
        done = self.run(block)
        if done.returncode:
            said = "\n".join([*done.stdout.splitlines()[-5:], *done.stderr.splitlines()[-15:]])
            raise BadPage(f"{page.name}:{block.line}: ended with {done.returncode}\n{said}")

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block, or check it where it is marked; numbers of lines are the page's."""
        script = self.folder / ".block"
        script.write_text("\n" * (block.line - 1) + block.text)
        told = r"""set -E; trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR; source .block"""
        options = ["-euo", "pipefail"]
        if block.mark is not None:
            told = f"cd() {{ :; }}; {told}"  # into what a command not run would have made
        return subprocess.run(
            ["/bin/bash", *options, "-c", told],
            cwd=self.folder,
            env=self._environment("check" if block.mark else "run"),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
        )

    def _environment(self, mode: str) -> Mapping[str, str]:
        commands = self._commands(mode)
        rest = f":{PYTHON.parent}:{os.environ['PATH']}" if mode == "run" else ""
        return {
            "PATH": f"{commands}{rest}",
            "HOME": str(self.folder),
            "PYTHON": str(commands / "python"),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }

    def _commands(self, mode: str) -> Path:
        """The folder of stand-ins for the commands, made when first asked for."""
        folder = self._server.bin.with_name(f"{mode}-bin")
        if not folder.is_dir():
            for name in [*COMMANDS, *(["script"] if mode == "check" else [])]:
                self._server.add_command(folder / name, PAGE_COMMAND, mode, name)
            for name in PLAIN if mode == "check" else ():
                if not (folder / name).exists():
                    (folder / name).symlink_to(str(shutil.which(name)))
        return folder

    def _succeed(self, *words: object) -> None:
        command = " ".join(f"'{word}'" for word in words)
        done = self.run(Block(1, command, None))
        assert done.returncode == 0, f"{command}\n{done.stderr}"

    def _prepare(self, corpus: str, languages: tuple[str, ...]) -> None:
        """Write sentences, split their words, and binarise them."""
        data, raw = self.folder / "data-bin" / corpus, self.folder / "work" / corpus
        (data / "raw").mkdir(parents=True)
        raw.mkdir(parents=True)
        random_numbers = random.Random(1)
        pairs = {split: [_pair(random_numbers) for _ in range(n)] for split, n in SENTENCES.items()}
        text = [sentence for pair in pairs["train"] for sentence in pair[: len(languages)]]
        with open(data / "bpe.codes", "w", encoding="utf-8") as codes:
            learn_bpe(text, codes, 60)
        with open(data / "bpe.codes", encoding="utf-8") as codes:
            subwords = BPE(codes)
        for split, sentences in pairs.items():
            for number, language in enumerate(languages):
                lines = [pair[number] for pair in sentences]
                name = f"{split}.{language}" if len(languages) > 1 else f"{split}.txt"
                _write(data / "raw" / name, lines)
                _write(raw / name, [subwords.process_line(line) for line in lines])
        suffix = "" if len(languages) > 1 else ".txt"
        prefixes = (f"--{split}pref {raw / split}{suffix}" for split in SENTENCES)
        kind = "-s en -t de --joined-dictionary" if len(languages) > 1 else "--only-source"
        words = " ".join((kind, *prefixes)).split()
        self._succeed("fairseq-preprocess", *words, "--destdir", data)

    def _train_baselines(self) -> None:
        translation = ["--arch", "transformer", "--share-all-embeddings", "--save-dir"]
        self._succeed(
            *("fairseq-train", "data-bin/translation", *TRAIN, *translation, "checkpoints/standard")
        )
        model = ["--arch", "transformer_lm", "--share-decoder-input-output-embed"]
        model += ["--task", "language_modeling", "--tokens-per-sample", "150"]
        self._succeed(
            *("fairseq-train", "data-bin/language_modeling", *TRAIN, *model),
            *("--save-dir", "checkpoints/lm"),
        )


def _pair(numbers: random.Random) -> tuple[str, str]:
    """An English sentence of some 12 words, and a German one."""
    english = "one two three four five six seven eight nine".split()
    german = "eins zwei drei vier fünf sechs sieben acht neun".split()
    drawn = [numbers.randrange(9) for _ in range(6)]
    joined = " and ".join(english[n] for n in drawn), " und ".join(german[n] for n in drawn)
    return f"the numbers are {joined[0]} .", f"die Zahlen sind {joined[1]} ."


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
