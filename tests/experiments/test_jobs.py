"""One odd job of a comparison fails alone; and how its command is printed."""

import sys
from types import SimpleNamespace

import pytest
from refusals import refuses

from genft_fairseq.experiments.comparison import run_jobs
from genft_fairseq.experiments.configuration import Entry
from genft_fairseq.experiments.decoding_run import generate_command
from genft_fairseq.experiments.job import Job, printable
from genft_fairseq.experiments.progress import QuietView
from genft_fairseq.experiments.training_run import TrainingRun


def test_translations_are_decoded_to_text(tmp_path):
    """By the form of the data, unless the file of the comparison says how."""
    (tmp_path / "bpe.codes").touch()
    asked = SimpleNamespace(
        **{"data": tmp_path, "task": "translation", "source_lang": "en", "target_lang": "de"},
        generate=("--beam", "2"),
    )
    words = generate_command(asked, tmp_path / "c.pt", ["--lenpen", "2"], ["--cpu"])
    assert words[words.index("--bpe-codes") + 1] == str(tmp_path / "bpe.codes")
    assert words[words.index("--tokenizer") + 1] == "moses"
    assert words[-5:] == ["--beam", "2", "--lenpen", "2", "--cpu"]
    for own in (["--bpe", "gpt2"], ["--tokenizer", "space"]):
        asked.generate = tuple(own)
        assert "--bpe-codes" not in generate_command(asked, tmp_path / "c.pt", [], [])


class _Job(Job):
    """Runs a line of Python; what it is asked raises what it was given."""

    def __init__(self, log, line="", **raised):
        super().__init__("row", 1, "train", log)
        self.line, self.raised = line, raised

    def words(self):
        return ["python", "-S", "-c", self.line]

    def _raise(self, name):
        if name in self.raised:
            raise self.raised[name]

    def is_done(self):
        self._raise("is_done")
        return False

    def watch(self):
        self._raise("watch")

    def ended(self):
        self._raise("ended")

    def finish(self):
        self._raise("finish")


FULL = OSError(28, "No space left on device")
FOREVER = "import time; time.sleep(600)"


@pytest.mark.parametrize(
    ("line", "raised", "said"),
    [
        ("a\0b", {}, "embedded null byte"),
        ("#" * (1 << 18), {}, "Argument list too long"),
        ("", {"is_done": ValueError("no JSON")}, "no JSON"),
        (
            "",
            {"finish": FileNotFoundError(2, "No such file", "last.pt")},
            "last.pt",
        ),
        ("", {"ended": FULL}, "No space left"),
        (FOREVER, {"watch": FULL}, "No space left"),  # and it is not left running
        ("import sys; sys.exit('the last words')", {}, "the last words"),
    ],
    ids=["NUL", "too long", "is_done", "finish", "ended", "watch", "status"],
)
def test_what_one_job_meets_is_its_own(line, raised, said, tmp_path):
    jobs = [_Job(tmp_path / "odd.log", line, **raised), _Job(tmp_path / "good.log")]
    run_jobs(jobs, SimpleNamespace(threads=1, processes=2), QuietView(jobs, 2, sys.stderr))
    assert [job.state for job in jobs] == ["failed", "finished"]
    assert said in jobs[0].error
    assert jobs[0].process is None or jobs[0].process.returncode is not None


def test_an_interruption_waits_for_all(tmp_path):
    """Even where what one of them is to write at its end cannot be written."""
    job = _Job(tmp_path / "job.log", FOREVER, ended=FULL)
    job.start({})
    job.terminate()
    job.wait()
    assert job.state == "waiting" and job.process.returncode is not None


def test_a_run_that_ended_well_without_a_checkpoint(tmp_path):
    run = TrainingRun(Entry("odd", "standard"), 1, tmp_path, ["fairseq-train", "--help"], 3)
    with refuses("checkpoint_last.pt"):
        run.finish()


def test_a_command_is_printed_with_paths_from_here(tmp_path, monkeypatch):
    here = tmp_path / "a"
    (here / "b").mkdir(parents=True)
    monkeypatch.chdir(here)
    words = [f"{here}/b/c.pt", f"{here}", f"{here}/", f"{here}b/c.pt", f"--x={here}/b", f"x{here}"]
    assert printable(words) == f"b/c.pt . . {here}b/c.pt --x={here}/b x{here}"
    monkeypatch.chdir("/")
    assert printable(["/usr/bin", "/", "a/b"]) == "/usr/bin / a/b"
