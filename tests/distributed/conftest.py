"""Data that two processes cannot share evenly, and runs whose ranks say what they end with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fairseq_cli.train
import pytest
import torch
from fairseq.trainer import Trainer
from fairseq_commands import USER_DIR, Done, run
from fid_folder import keys_and_values, write_fid_folder
from forked_runs import ForkedRun, ranks


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """70 sentence pairs; as 31 blocks of 16 tokens; 70 questions with one to four passages."""
    folder = tmp_path_factory.mktemp("data")
    for split, size in (("train", 70), ("valid", 37)):
        lines = [
            [f"w{(i * i + 7 * i * j + j * j) % 17}" for j in range(3 + i % 7)] for i in range(size)
        ]
        (folder / f"{split}.en").write_text("".join(" ".join(w) + "\n" for w in lines))
        (folder / f"{split}.de").write_text("".join(" ".join(w[::-1]) + "\n" for w in lines))
    for name, flags, suffix in (
        ("translation", ["-s", "en", "-t", "de", "--joined-dictionary"], ""),
        ("language_model", ["--only-source"], ".en"),
    ):
        texts = [f"--{split}pref={folder / split}{suffix}" for split in ("train", "valid")]
        run(
            "fairseq-preprocess", "--user-dir", USER_DIR, "--destdir", folder / name, *flags, *texts
        )
    reading = {"train": keys_and_values(70), "valid": keys_and_values(37)}
    write_fid_folder(folder / "reading", reading)
    return {name: folder / name for name in ("translation", "language_model", "reading")}


@dataclass
class Ended:
    """What a rank of a run ended with."""

    parameters: dict[str, torch.Tensor]
    updates: int
    dummies: int
    done: Done


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Ended]]:
    """Train in one process or several, nothing saved but what each rank ends with."""

    def train(arguments: Sequence[object], processes: int = 1) -> list[Ended]:
        folder = tmp_path_factory.mktemp("run")
        arguments = [*arguments, "--no-save", "--save-dir", folder]

        def prepare(rank: int) -> None:
            _keep_what_it_ends_with(folder / f"{rank}.pt")

        several = ranks(arguments, processes, folder / "store") if processes > 1 else [arguments]
        done = ForkedRun(several, prepare).checked()
        ends = [torch.load(folder / f"{rank}.pt") for rank in range(processes)]
        return [Ended(**end, done=printed) for end, printed in zip(ends, done, strict=True)]

    return train


def _keep_what_it_ends_with(path: Path) -> None:
    """In the forked process: only one rank writes checkpoints, but all ranks must agree."""
    trainers: list[Trainer] = []
    dummies: list[bool] = []
    main, build, prepare = fairseq_cli.train.cli_main, Trainer.__init__, Trainer._prepare_sample

    def kept(self: Trainer, *args: object, **kwargs: object) -> None:
        build(self, *args, **kwargs)
        trainers.append(self)

    def counted(self: Trainer, *args: object, **kwargs: object) -> object:
        sample, is_dummy = prepare(self, *args, **kwargs)
        dummies.append(is_dummy and self.model.training)
        return sample, is_dummy

    def keep() -> None:
        main()
        (trainer,) = trainers
        state = {"parameters": trainer.get_model().state_dict(), "dummies": sum(dummies)}
        torch.save({**state, "updates": trainer.get_num_updates()}, path)

    Trainer.__init__, Trainer._prepare_sample = kept, counted
    fairseq_cli.train.cli_main = keep
