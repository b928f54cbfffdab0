"""The file of a comparison: what is read from it, and how each mistake is refused."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from genft_fairseq.errors import UserError
from genft_fairseq.study.comparison_config import read_comparison
from genft_fairseq.study.comparison_entries import Entry
from genft_fairseq.study.strategies import STRATEGIES


@pytest.fixture
def write(tmp_path):
    """Write a valid file, changed as the arguments say (None: without that key)."""
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "test.de").write_text("ein Hund\n")
    (tmp_path / "baseline.pt").touch()

    def write_file(**changes: object) -> Path:
        config: dict[str, object] = {
            "data": "data",
            "source_lang": "en",
            "target_lang": "de",
            "baseline": "baseline.pt",
            "output": "runs",
            "updates": 300,
            "seeds": [1001, 2001],
            "train": "--arch transformer --lr 1e-3",
            "strategies": ["standard", "auxiliary"],
        }
        config |= changes
        path = tmp_path / "compare.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in config.items() if v is not None}))
        return path

    return write_file


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_comparison(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_read(write, tmp_path, monkeypatch):
    path = write(
        train=["--arch", "transformer", "--lr", 0.001, "--warmup-updates", 30],
        generate="--beam 5 --bpe-codes {data}/bpe.codes",
        strategies=[
            "standard",
            {"name": "recurrent, linear", "strategy": "recurrent", "flags": "--gold-k '1 0'"},
        ],
        decodings=[{"name": "No 3-gram twice!", "flags": ["--no-repeat-ngram-size", 3]}],
        processes=2,
        threads=1,
        checkpoints=5,
    )
    monkeypatch.chdir("/")  # paths are relative to the file
    comparison = read_comparison(path)
    assert comparison.data == tmp_path / "data"
    assert comparison.references == tmp_path / "data" / "raw" / "test.de"
    assert comparison.baseline == tmp_path / "baseline.pt"
    assert comparison.output == tmp_path / "runs"
    assert comparison.seeds == (1001, 2001)
    assert (comparison.processes, comparison.threads, comparison.checkpoints) == (2, 1, 5)
    assert comparison.train == (
        *("--arch", "transformer", "--lr", "0.001", "--warmup-updates", "30"),
    )
    assert comparison.generate[-1] == str(tmp_path / "data" / "bpe.codes")
    assert comparison.standard == Entry("standard", "standard")
    assert comparison.strategies[1].flags == ("--gold-k", "1 0")
    assert comparison.strategies[1].slug == "recurrent-linear"
    assert comparison.decodings[0].slug == "no-3-gram-twice"
    assert comparison.decodings[0].flags == ("--no-repeat-ngram-size", "3")


def test_defaults(write):
    comparison = read_comparison(write())
    assert (comparison.processes, comparison.threads, comparison.checkpoints) == (1, None, 10)
    assert comparison.generate == comparison.decodings == ()


def test_seeds_as_far_apart_as_the_updates_share_nothing(write):
    assert read_comparison(write(seeds=[1, 301, 601])).seeds == (1, 301, 601)


STRATEGY_NAMES = ", ".join(STRATEGIES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"update": 3}, "there is no key update; did you mean updates?"),
        ({"sead": [1]}, "there is no key sead; did you mean seeds?"),
        ({"baseline": None}, "the key baseline is missing: the checkpoint that every strategy "
         "starts from"),
        ({"strategies": None}, "the key strategies is missing: a list of what to compare"),
        ({"task": "language_modeling"}, "task must be translation, the only one compared as yet, "
         "but is language_modeling"),
        ({"source_lang": False}, "source_lang must be text (put it in quotes), but is False"),
        ({"updates": 0}, "updates must be a positive integer, but is 0"),
        ({"updates": "many"}, "updates must be a positive integer, but is 'many'"),
        ({"processes": True}, "processes must be a positive integer, but is True"),
        ({"threads": -1}, "threads must be a positive integer, but is -1"),
        ({"seeds": []}, "seeds is empty: give one at least, or three to see how far they differ"),
        ({"seeds": 1001}, "seeds must be a list such as [1001, 2001, 3001], but is 1001"),
        ({"seeds": [1.5]}, "seeds must be integers from 0 to 4294967295, but one is 1.5"),
        ({"seeds": [-1]}, "seeds must be integers from 0 to 4294967295, but one is -1"),
        ({"seeds": [1001, 5, 1300]}, "seeds 1001 and 1300 are closer together than the 300 "
         "updates: fairseq seeds every update with seed + update, so these runs would share "
         "random numbers"),
        ({"train": "--lr '1"}, "train: No closing quotation in \"--lr '1\""),
        ({"train": 3}, "train must be flags, as one text or as a list, but is 3"),
        ({"train": "--seed 4"}, "train: --seed is for genft compare to set"),
        ({"generate": "--path=x.pt"}, "generate: --path is for genft compare to set"),
        ({"strategies": "standard"}, "strategies must be a list, but is 'standard'"),
        ({"strategies": ["standard", 3]}, "a strategy must have name, strategy, flags, but is 3"),
        ({"strategies": ["standrad"]}, "there is no strategy standrad; did you mean standard?"),
        ({"strategies": ["standard", "xyz"]}, f"there is no strategy xyz; choose from "
         f"{STRATEGY_NAMES}"),
        ({"strategies": ["auxiliary"]}, "strategies must have standard, which the others are "
         "compared with"),
        ({"strategies": [{"name": "standard", "strategy": "auxiliary"}]}, "strategies must have "
         "standard, which the others are compared with"),
        ({"strategies": ["standard", "standard"]}, "the name standard is used twice"),
        ({"strategies": ["standard", {"name": "baseline", "strategy": "auxiliary"}]}, "the name "
         "baseline is used twice"),
        ({"strategies": ["standard", {"name": "A b", "strategy": "auxiliary"},
                         {"name": "a-b", "strategy": "auxiliary"}]},
         "the names A b and a-b would share a folder"),
        ({"strategies": ["standard", {"name": "??", "strategy": "auxiliary"}]},
         "the name ?? has no letter or digit to call a folder by"),
        ({"strategies": ["standard", {"name": 2024, "strategy": "auxiliary"}]},
         "the name of a strategy must be text (put it in quotes), but is 2024"),
        ({"decodings": [{"name": date(2024, 1, 31)}]},
         "the name of a decoding must be text (put it in quotes), but is 2024-01-31"),
        ({"generate": "--beam 5 --quiet"},
         "generate: with --quiet the scores could not read the output: leave it out"),
        ({"generate": ["--nbest", 2]},
         "generate: with --nbest 2 the scores could not read the output: leave it out"),
        ({"decodings": [{"name": "a", "flags": "--nbest=5"}]},
         "decoding a: with --nbest 5 the scores could not read the output: leave it out"),
        ({"generate": "--results-path x"}, "generate: --results-path is for genft compare to set"),
        ({"strategies": ["standard", {"strategy": "auxiliary", "flags": "--help"}]},
         "strategy auxiliary: --help is for genft compare to set"),
        ({"train": "--reset-optimizer"}, "train: --reset-optimizer is for genft compare to set"),
        ({"strategies": ["standard", {"stratgy": "auxiliary"}]},
         "a strategy has no key stratgy; did you mean strategy?"),
        ({"strategies": ["standard", {"strategy": "auxiliary", "flags": "--criterion x"}]},
         "strategy auxiliary: --criterion is for genft compare to set"),
        ({"decodings": ["nucleus"]}, "a decoding must have name, flags, but is 'nucleus'"),
        ({"decodings": [{"flags": "--beam 1"}]}, "a decoding has no name"),
        ({"decodings": [{"name": "auxiliary"}]}, "the name auxiliary is used twice"),
    ],
)  # fmt: skip
def test_refusals(write, changes, message):
    assert refusal(write(**changes)) == message


def test_missing_files(write, tmp_path):
    assert refusal(write(data="other")) == f"data: there is no folder {tmp_path}/other"
    assert refusal(write(baseline="x.pt")) == f"baseline: there is no file {tmp_path}/x.pt"
    assert refusal(write(references="r.de")) == f"references: there is no file {tmp_path}/r.de"
    assert refusal(tmp_path / "none.yaml") == "cannot be read: No such file or directory"
    assert refusal(tmp_path / "data") == "cannot be read: Is a directory"


def test_what_is_no_mapping(tmp_path):
    path = tmp_path / "compare.yaml"
    path.write_text("just text\n")
    assert refusal(path) == "must hold keys and values, such as updates: 300"
    path.write_text("updates: 3\nseeds: [1]\nupdates: 4\n")
    assert refusal(path) == "the key updates stands there twice, again in line 3"
    path.write_text("strategies:\n  - {strategy: standard, flags: --a, flags: --b}\n")
    assert refusal(path) == "the key flags stands there twice, again in line 2"
    path.write_text("updates: 2024-02-31\n")
    assert refusal(path).startswith("is not YAML: day ")
    path.write_text("updates: [3\n")
    assert refusal(path).startswith("is not YAML: while parsing a flow sequence in ")
    path.write_text("data: !!python/object/apply:os.system [true]\n")
    assert refusal(path).startswith("is not YAML: could not determine a constructor for the tag")


def test_the_references_are_utf_8(write, tmp_path):
    (tmp_path / "data" / "raw" / "test.de").write_bytes("Grüße\n".encode("latin-1"))
    said = refusal(write())
    assert said.startswith(f"references: {tmp_path}/data/raw/test.de is not UTF-8 (")


def test_the_references_are_no_subwords(write, tmp_path):
    path = tmp_path / "data" / "raw" / "test.de"
    path.write_text("Hun@@ de\nbellen\n")
    said = refusal(write())
    assert str(path) in said and "Hun@@ de" in said


def test_the_output_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_comparison(write(output="~/runs")).output == tmp_path / "home" / "runs"
    assert refusal(write(output="~nobody-known/runs")).startswith("output: ~nobody-known/runs is ")
    assert refusal(write(output="baseline.pt")) == (
        f"output: {tmp_path}/baseline.pt is a file, but must be a folder"
    )
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for inside in ("data", "data/runs", "link/runs"):
        assert refusal(write(output=inside)) == (
            f"output: {tmp_path}/{inside} lies in the data folder: give the runs one of their own"
        )
    assert read_comparison(write(output="data-runs")).output == tmp_path / "data-runs"


def test_a_name_that_no_folder_can_have(write):
    """It is called by a number that only the name decides."""
    long = ["a" * 300, "a" * 299 + "b"]
    names = [{"name": name, "strategy": "auxiliary"} for name in ("модель", "模型", *long)]
    decoding = {"name": "поиск"}
    comparison = read_comparison(write(strategies=["standard", *names], decodings=[decoding]))
    slugs = [entry.slug for entry in comparison.strategies[1:]]
    assert len(set(slugs)) == 4 and max(map(len, slugs)) == 100
    assert [entry.slug for entry in comparison.strategies[1:3]] == [
        *("strategy-b68fadf0", "strategy-c98e118e")
    ]
    assert comparison.decodings[0].slug.startswith("decoding-")
    assert Entry("a" * 100, "auxiliary").slug == "a" * 100


def test_what_the_results_could_not_hold(write):
    """They hold the whole file, and are written after all training."""
    name = {"name": "a\ud800", "strategy": "auxiliary"}
    said = refusal(write(strategies=["standard", name]))
    assert said.startswith("holds what JSON cannot hold: 'utf-8' codec can't encode character ")


def test_one_hypothesis_may_be_asked_for(write):
    assert read_comparison(write(generate="--nbest 1")).generate == ("--nbest", "1")
