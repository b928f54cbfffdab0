"""The file of a comparison: what is read from it, and how each mistake is refused."""

from datetime import date
from pathlib import Path

import pytest
import yaml
from refusals import refuses

from genft_fairseq.experiments.configuration import Entry, read_comparison
from genft_fairseq.experiments.strategies import ALIASES, STRATEGIES


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


@pytest.mark.parametrize(("alias", "strategy"), ALIASES.items())
def test_an_alias_is_the_same_row_in_the_same_folder(write, alias, strategy):
    """So a comparison that was begun by the one name goes on by the other."""
    (_, own), (_, aliased), (_, keyed) = (
        read_comparison(write(strategies=["standard", entry])).strategies
        for entry in (strategy, alias, {"strategy": alias})
    )
    assert own == aliased == keyed
    assert own.name == own.strategy == own.slug == strategy
    named = {"name": alias, "strategy": alias}
    (_, row) = read_comparison(write(strategies=["standard", named])).strategies
    assert (row.name, row.strategy, row.slug) == (alias, strategy, alias)
    with refuses(strategy):
        read_comparison(write(strategies=["standard", strategy, alias]))


def test_defaults(write):
    comparison = read_comparison(write())
    assert (comparison.processes, comparison.threads, comparison.checkpoints) == (1, None, 10)
    assert comparison.generate == comparison.decodings == ()


def test_seeds_as_far_apart_as_the_updates_share_nothing(write):
    assert read_comparison(write(seeds=[1, 301, 601])).seeds == (1, 301, 601)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"update": 3}, ["update", "updates"]),
        ({"baseline": None}, ["baseline"]),
        ({"strategies": None}, ["strategies"]),
        ({"task": "language_modeling"}, ["task", "translation", "language_modeling"]),
        ({"source_lang": False}, ["source_lang", False]),
        ({"updates": 0}, ["updates", 0]),
        ({"updates": "many"}, ["updates", "many"]),
        ({"processes": True}, ["processes", True]),
        ({"threads": -1}, ["threads", -1]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": 1001}, ["seeds", 1001]),
        ({"seeds": [1.5]}, ["seeds", 1.5]),
        ({"seeds": [-1]}, ["seeds", -1]),
        ({"seeds": [1001, 5, 1300]}, ["seeds", 1001, 1300, 300]),
        ({"train": "--lr '1"}, ["train", "--lr '1"]),
        ({"train": 3}, ["train", 3]),
        ({"train": "--seed 4"}, ["train", "--seed"]),
        ({"train": "--reset-optimizer"}, ["train", "--reset-optimizer"]),
        ({"generate": "--path=x.pt"}, ["generate", "--path"]),
        ({"generate": "--results-path x"}, ["generate", "--results-path"]),
        ({"generate": "--beam 5 --quiet"}, ["generate", "--quiet"]),
        ({"generate": ["--nbest", 2]}, ["generate", "--nbest 2"]),
        ({"strategies": "standard"}, ["strategies", "'standard'"]),
        ({"strategies": ["standard", 3]}, ["strategy", 3]),
        ({"strategies": ["standrad"]}, ["standrad", "standard"]),
        ({"strategies": ["standard", "xyz"]}, ["xyz", *STRATEGIES]),
        ({"strategies": ["auxiliary"]}, ["strategies", "standard"]),
        ({"strategies": [{"name": "standard", "strategy": "auxiliary"}]}, ["standard"]),
        ({"strategies": ["standard", "standard"]}, ["standard"]),
        ({"strategies": ["standard", {"name": "baseline", "strategy": "auxiliary"}]}, ["baseline"]),
        (
            {
                "strategies": [
                    *("standard", {"name": "A b", "strategy": "auxiliary"}),
                    {"name": "a-b", "strategy": "auxiliary"},
                ]
            },
            ["A b", "a-b"],
        ),
        ({"strategies": ["standard", {"name": "??", "strategy": "auxiliary"}]}, ["??"]),
        ({"strategies": ["standard", {"name": 2024, "strategy": "auxiliary"}]}, ["name", 2024]),
        (
            {"strategies": ["standard", {"strategy": "auxiliary", "flags": "--help"}]},
            ["auxiliary", "--help"],
        ),
        (
            {"strategies": ["standard", {"strategy": "auxiliary", "flags": "--criterion x"}]},
            ["auxiliary", "--criterion"],
        ),
        ({"strategies": ["standard", {"stratgy": "auxiliary"}]}, ["stratgy", "strategy"]),
        ({"decodings": [{"name": date(2024, 1, 31)}]}, ["name", "2024-01-31"]),
        ({"decodings": [{"name": "a", "flags": "--nbest=5"}]}, ["decoding a", "--nbest 5"]),
        ({"decodings": ["nucleus"]}, ["decoding", "nucleus"]),
        ({"decodings": [{"flags": "--beam 1"}]}, ["decoding", "name"]),
        ({"decodings": [{"name": "auxiliary"}]}, ["auxiliary"]),
    ],
)
def test_refusals(write, changes, named):
    path = write(**changes)
    with refuses(path, *named):
        read_comparison(path)


def test_missing_files(write, tmp_path):
    for key in ("data", "baseline", "references"):
        with refuses(key, tmp_path / "other"):
            read_comparison(write(**{key: "other"}))
    for path in (tmp_path / "none.yaml", tmp_path / "data"):
        with refuses(path):
            read_comparison(path)


def test_what_is_no_mapping(tmp_path):
    path = tmp_path / "compare.yaml"
    for text, named in (
        ("just text\n", []),
        ("updates: 3\nseeds: [1]\nupdates: 4\n", ["updates", "line 3"]),
        (
            "strategies:\n  - {strategy: standard, flags: --a, flags: --b}\n",
            ["flags", "line 2"],
        ),
        ("updates: 2024-02-31\n", []),
        ("updates: [3\n", []),
        ("data: !!python/object/apply:os.system [true]\n", []),
    ):
        path.write_text(text)
        with refuses(path, *named):
            read_comparison(path)


def test_the_references_are_utf_8(write, tmp_path):
    (tmp_path / "data" / "raw" / "test.de").write_bytes("Grüße\n".encode("latin-1"))
    with refuses("references", tmp_path / "data" / "raw" / "test.de", "UTF-8"):
        read_comparison(write())


def test_the_references_are_no_subwords(write, tmp_path):
    path = tmp_path / "data" / "raw" / "test.de"
    path.write_text("Hun@@ de\nbellen\n")
    with refuses(path, "Hun@@ de"):
        read_comparison(write())


def test_the_output_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_comparison(write(output="~/runs")).output == tmp_path / "home" / "runs"
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for bad in ("~nobody-known/runs", "baseline.pt", "data", "data/runs", "link/runs"):
        with refuses("output", bad):
            read_comparison(write(output=bad))
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
    path = write(strategies=["standard", name])
    with refuses(path):
        read_comparison(path)


def test_one_hypothesis_may_be_asked_for(write):
    assert read_comparison(write(generate="--nbest 1")).generate == ("--nbest", "1")
