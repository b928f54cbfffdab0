"""The four modes, with stand-ins for fairseq's scripts: what is printed, run, and refused."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from genft_process import genft as genft_process
from refusals import assert_refused

from genft_fairseq.cli import genft
from genft_fairseq.cli.child_process import run, runnable
from genft_fairseq.metrics.translation import translation_metrics

PYTHON = sys.executable

# Writes its own name and the words it was called with.
STAND_IN = """#!/bin/sh
printf '%s\\n' "$(basename "$0")" "$@" >"$STAND_IN_RECORD"
exit "${STAND_IN_STATUS:-0}"
"""
SCRIPTS = ("fairseq-train", "fairseq-generate", "fairseq-interactive", "genft")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a data folder of each kind beside, and stand-ins."""
    for name, files in {
        "translation": ["dict.en.txt", "dict.de.txt", "train.en-de.en.idx"],
        "lm": ["dict.txt"],
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    (tmp_path / "bin").mkdir()
    for script in SCRIPTS:
        (tmp_path / "bin" / script).write_text(STAND_IN)
        (tmp_path / "bin" / script).chmod(0o755)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("STAND_IN_RECORD", str(tmp_path / "record"))
    return tmp_path


# What genft does, in a process of its own that is quick to start.
LOCKED_RUN = """
import sys
sys.executable, folder = sys.argv[1:]
from pathlib import Path
from genft_fairseq.cli.child_process import run
from genft_fairseq.experiments.save_folders import training_lock
with training_lock(Path(folder)) as lock:
    sys.exit(run(["fairseq-train"], [lock]))
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(genft, list(map(str, arguments)))


def printed(*arguments: object) -> list[str]:
    """The words of the one line that a mode prints."""
    result = call(*arguments)
    assert result.exit_code == 0, result.exception
    (line,) = result.stdout.splitlines()
    return shlex.split(line)


def refuse(*named: object, of: Sequence[object]) -> None:
    """A mode refuses a command line, naming some things, and writes nothing."""
    before = sorted(Path.cwd().rglob("*"))
    done = genft_process(*of)
    assert_refused(done, *named)
    assert done.stdout == "" and sorted(Path.cwd().rglob("*")) == before


def made(path: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()
    return path


def test_what_is_printed_is_what_is_run(place):
    """And what follows -- is passed on untouched, whatever is in it, a second -- too."""
    made("checkpoints/standard/checkpoint_last.pt")
    flags = ["--eval-bleu-args", '{"beam": 4}', "--x", "a'b", "$HOME *", "", "--", "--search", "c"]
    for mode, script in (
        (("train", place / "translation"), "fairseq-train"),
        (("test", place / "translation"), "fairseq-generate"),
        (("test", place / "lm"), "genft"),
        (("inference", place / "lm"), "fairseq-interactive"),
    ):
        words = printed(*mode, "--", *flags)
        assert words[0] == script and words[-len(flags) :] == flags
        assert (place / "record").read_text().splitlines() == words
        (place / "record").unlink()
        assert printed(*mode, "--dry-run", "--", *flags) == words
        assert not (place / "record").exists()


def test_training(place):
    words = printed("train", place / "lm", "--dry-run", "--", "--arch", "transformer_lm")
    assert not list(Path.cwd().iterdir())
    assert words[-5:] == ["--save-dir", "checkpoints/standard", "--cpu", "--arch", "transformer_lm"]
    assert words[4:6] == ["--task", "language_modeling"]
    words = printed("train", place / "lm", "--strategy", "unlikelihood", "--", "--cpu")
    assert words[-3:] == ["--save-dir", "checkpoints/unlikelihood", "--cpu"]
    assert sorted(os.listdir("checkpoints/unlikelihood")) == ["command", "genft.log", "lock"]
    words = printed("train", place / "translation", "--save-dir", "run", "--dry-run")
    assert words[-7:-1] == ["-s", "en", "-t", "de", "--save-dir", "run"]


GENERATED = """\
S-1\tone two
T-1\tzwei , drei
H-1\t-0.5\tzw@@ ei , drei
D-1\t-0.5\tzw@@ ei , drei
S-0\tone
T-0\tein@@ s , zwei , drei , vier .
H-0\t-0.5\tein@@ s , zwei , drei , fünf .
D-0\t-0.5\tein@@ s , zwei , drei , fünf .
Generate test with beam=5: BLEU4 = 77.77, 90.0/80.0 (BP=1.000)
"""
WRITTEN, RAW = ["eins, zwei, drei, fünf.", "zwei, drei"], ["eins, zwei, drei, vier.", "zwei, drei"]


@pytest.fixture
def translating(place: Path) -> Path:
    """Data with raw references and subwords of Moses' tokens, and a fairseq-generate for it."""
    data = place / "translation"
    (data / "raw").mkdir()
    (data / "raw" / "test.de").write_text("".join(f"{line}\n" for line in RAW))
    (data / "bpe.codes").touch()
    (place / "generated").write_text(GENERATED)
    script = place / "bin" / "fairseq-generate"
    script.write_text(
        f"#!{PYTHON}\nimport sys\nfrom pathlib import Path\nwords = sys.argv\n"
        f"text = Path({str(place / 'generated')!r}).read_text()\n"
        "if '--results-path' in words:\n"
        "    folder = Path(words[words.index('--results-path') + 1])\n"
        "    folder.mkdir()\n    (folder / 'generate-test.txt').write_text(text)\n"
        "else:\n    print(text, end='')\n"
    )
    script.chmod(0o755)
    made("c.pt")
    return data


def test_translations_are_scored_as_text(translating, capfd):
    """In the place of the BLEU of tokens, whether they are printed or written."""
    expected = translation_metrics(WRITTEN, RAW)
    words = ("test", translating, "--path", "c.pt")
    scores = [call(*words).stdout.splitlines()[-1]]
    shown = capfd.readouterr().out
    assert "H-1\t" in shown and "BLEU" not in shown
    scores += [call(*words, "--results", "r").stdout.splitlines()[-1]]
    written = Path("r/generate-test.txt").read_text()
    assert written == GENERATED.partition("Generate")[0] + scores[1] + "\n"
    for line in scores:
        # As fairseq-generate prints it, for those who parse it.
        assert line.startswith("Generate test with beam=5: BLEU = ") and "77.77" not in line
        assert f"= {expected['bleu']:.2f}," in line and f"= {expected['chrf']:.2f}," in line
        assert str(translating / "raw" / "test.de") in line
        assert expected["bleu_signature"] in line and expected["chrf_signature"] in line


def test_what_the_user_asks_to_be_scored_stays(translating, capfd):
    result = call("test", translating, "--path", "c.pt", "--", "--scoring", "ter")
    assert "77.77" in capfd.readouterr().out
    assert f"= {translation_metrics(WRITTEN, RAW)['bleu']:.2f}," in result.stdout


def test_a_quiet_test_has_a_score(translating, capfd):
    """fairseq-generate would print no sentence that could be scored."""
    words = ("test", translating, "--path", "c.pt")
    loud = call(*words).stdout.splitlines()
    capfd.readouterr()
    quiet = call(*words, "--", "--quiet").stdout.splitlines()
    assert quiet == loud and capfd.readouterr().out == ""


@pytest.mark.parametrize("raw", [None, ["other", "sentences"], ["one"]])
def test_without_raw_references_the_score_is_of_tokens(raw, translating):
    """Where there are none, or those of another test set."""
    path = translating / "raw" / "test.de"
    path.unlink() if raw is None else path.write_text("".join(f"{line}\n" for line in raw))
    line = call("test", translating, "--path", "c.pt").stdout.splitlines()[-1]
    words = [
        ["eins , zwei , drei , fünf .", "zwei , drei"],
        ["eins , zwei , drei , vier .", "zwei , drei"],
    ]
    assert f"BLEU = {translation_metrics(*words)['bleu']:.2f}," in line
    assert ": BLEU" not in line  # it is another figure, and has another name


@pytest.mark.parametrize("change", [("H-1", "X-1"), ("T-1", "X-1"), (GENERATED, "")])
def test_what_cannot_be_scored_is_said(change, translating, place):
    (place / "generated").write_text(GENERATED.replace(*change))
    (translating / "raw" / "test.de").unlink()
    result = call("test", translating, "--path", "c.pt")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert len(result.stderr.splitlines()) == 1


def test_no_cpu_where_there_is_a_gpu(place, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "--cpu" not in printed("train", place / "lm", "--dry-run")


def test_which_checkpoint(place):
    data = place / "translation"
    refuse("checkpoints/standard", "checkpoint_last.pt", of=("test", data))
    last = made("checkpoints/scalegrad/checkpoint_last.pt")
    words = printed("test", data, "--strategy", "scalegrad", "--dry-run")
    assert words[words.index("--path") + 1] == last
    best = made("checkpoints/scalegrad/checkpoint_best.pt")
    for choice in (["--strategy", "scalegrad"], ["--save-dir", "checkpoints/scalegrad"]):
        words = printed("inference", data, *choice, "--dry-run")
        assert words[words.index("--path") + 1] == best
    words = printed("test", data, "--path", f"{best}:{last}", "--dry-run")
    assert words[words.index("--path") + 1] == f"{best}:{last}"
    refuse("--path", "gone.pt", of=("test", data, "--path", f"{best}:gone.pt"))
    refuse("--path", "--save-dir", of=("test", data, "--path", best, "--save-dir", "a"))


def test_searching(place):
    data, path = place / "translation", made("c.pt")
    for mode in ("test", "inference"):
        for given, beam in (([], "5"), (["--beam", 2], "2"), (["--search", "greedy"], "1")):
            words = printed(mode, data, "--path", path, *given, "--dry-run")
            assert words[words.index("--beam") + 1] == beam
    words = printed("test", place / "lm", "--path", path, "--search", "beam", "--dry-run")
    assert words[words.index("--search") :][:4] == ["--search", "beam", "--beam", "5"]
    assert "--search" not in printed("test", place / "lm", "--path", path, "--dry-run")


def test_results_and_input(place):
    data, path = place / "translation", made("c.pt")
    words = printed("test", data, "--path", path, "--results", "o", "--split", "valid", "--dry-run")
    assert words[-5:] == ["--beam", "5", "--results-path", "o", "--cpu"]
    assert words[words.index("--gen-subset") + 1] == "valid"
    words = printed("inference", data, "--path", path, "--input", path, "--dry-run")
    assert words[-3:] == ["--input", path, "--cpu"]
    refuse("--input", "gone.txt", of=("inference", data, "--path", path, "--input", "gone.txt"))


def test_fine_tuning_needs_a_baseline(place):
    finetune = ("finetune", place / "translation", "--strategy", "scalegrad")
    refuse("--baseline", of=finetune)
    torch.save({"cfg": print}, "unsafe.pt")
    refuse("unsafe.pt", "GENFT_TRUST_CHECKPOINT", of=(*finetune, "--baseline", "unsafe.pt"))


def test_strategies(place):
    refuse("--strategy", "magic", of=("train", place / "lm", "--strategy", "magic"))
    refuse("--strategy", of=("finetune", place / "lm", "--baseline", "b"))


def test_flags_of_fairseqs_need_the_dashes(place):
    refuse("--lr", of=("train", place / "lm", "--lr", "1"))


def test_the_exit_status_is_the_childs(place, monkeypatch):
    monkeypatch.setenv("STAND_IN_STATUS", "3")
    assert call("train", place / "lm").exit_code == 3


def test_one_run_in_a_folder(place):
    """Whoever else tries to take the lock fails, even where only what genft started is left."""
    (place / "bin" / "fairseq-train").write_text(
        f"#!/bin/sh\nexec {sys.prefix}/bin/python -c 'import fcntl\n"
        'fcntl.flock(open("run/lock"), fcntl.LOCK_EX | fcntl.LOCK_NB)\' 2>"$STAND_IN_RECORD"\n'
    )
    assert call("train", place / "lm", "--save-dir", "run").exit_code == 1
    assert "BlockingIOError" in (place / "record").read_text()
    stays = "#!/bin/sh\necho started; exec cat\n"
    (place / "bin" / "fairseq-train").write_text(stays)
    begun = subprocess.Popen(
        [f"{sys.prefix}/bin/python", "-c", LOCKED_RUN, str(place / "bin" / "python"), "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert begun.stdout.readline() == b"started\n"
    begun.kill()  # genft alone: what it started lives on, and keeps the lock
    begun.wait()
    refuse("run", of=("train", place / "lm", "--save-dir", "run"))
    begun.communicate()
    (place / "bin" / "fairseq-train").write_text(STAND_IN)
    printed("train", place / "lm", "--save-dir", "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_child_and_is_our_status(number, place):
    """The stand-in ends this process's run by a signal to it, as a terminal or a queue would."""
    before = signal.getsignal(number)
    (place / "bin" / "fairseq-train").write_text(
        f"#!/bin/sh\nkill -{int(number)} {os.getpid()}\nexec sleep 60\n"
    )
    assert run(["fairseq-train"]) == 128 + number
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored(place):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    (place / "bin" / "fairseq-train").write_text(f"#!/bin/sh\nkill -HUP {os.getpid()}\nexit 4\n")
    try:
        assert run(["fairseq-train"]) == 4
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_child_that_a_signal_killed(place):
    (place / "bin" / "fairseq-train").write_text("#!/bin/sh\nkill -9 $$\n")
    assert run(["fairseq-train"]) == 137


def test_without_the_scripts_their_modules(monkeypatch):
    here = sys.executable
    assert runnable(["fairseq-train", "a"]) == ["fairseq-train", "a"]
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert runnable(["fairseq-train", "a"]) == ["/nowhere/python", "-m", "fairseq_cli.train", "a"]
    assert runnable(["genft"]) == ["/nowhere/python", "-m", "genft_fairseq.cli"]
    command = [here, *runnable(["genft"])[1:], "--version"]
    assert run(command) == 0
