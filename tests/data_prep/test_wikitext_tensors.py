"""prepare-wikitext-103-bpe.sh --tensors: the ready-made archive of GPT-2's ids, good and bad."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from local_mirror import mirror, needs_curl
from official_archives import write_tar
from refusals import assert_names

NAME = "wikitext-103-bpe_v0"
SPLITS = ("train", "valid", "test")
FILES = tuple(f"{split}_tokens_bpe_gpt2.pt" for split in SPLITS)


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-wikitext-103-bpe.sh")


def saved(value: Any, zipped: bool = False) -> bytes:
    """Return a file of torch.save; the archive is older than the format that is a zip."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def ids() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = {"train": 5000, "valid": 700, "test": 601}
    return {name: torch.randint(0, 50257, (n,), generator=generator) for name, n in sizes.items()}


@pytest.fixture(scope="module")
def tensors(ids) -> dict[str, bytes]:
    return {name: saved(ids[split]) for name, split in zip(FILES, SPLITS, strict=True)}


def write_archive(folder: Path, tensors: dict[str, bytes], prefix: str = f"{NAME}/") -> Path:
    path = folder / f"{NAME}.tar.gz"
    write_tar(path, {f"{prefix}{name}": content for name, content in tensors.items()})
    return path


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--blank-lines=keep", "--bpe-operations=5", "--unpinned"])
def test_options_about_text(prepare, out, option):
    name = option.split("=")[0]
    assert_names(prepare.complain("--out", out, option, "--tensors"), "--tensors", name)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--bpe", "none", "--tensors"], ("--tensors", "--bpe", "none")),
        (["--tensors", "--block-length", "1.5"], ("--block-length", 1.5)),
        (["--block-length", "300"], ("--block-length", "--tensors")),
    ],
)
def test_wrong_options(prepare, out, arguments, named):
    assert_names(prepare.complain("--out", out, *arguments), *named)


def test_only_for_the_corpus_that_has_tensors(script, out):
    wikitext2 = script("prepare-wikitext-2.sh")
    assert_names(wikitext2.complain("--out", out, "--tensors"), "--tensors")


def test_neither_archive_nor_tensors(prepare, out, tmp_path, tensors):
    archive = f"{NAME}.tar.gz"
    arguments = ("--tensors", "--from", tmp_path, "--out", out)
    assert_names(prepare.complain(*arguments), "--from", archive, FILES[0], tmp_path)
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / FILES[0]).write_bytes(tensors[FILES[0]])
    assert_names(prepare.complain(*arguments), "--from", archive, f"{NAME}/{FILES[1]}", tmp_path)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_wrong_tensors(prepare, out, tmp_path, tensors):
    """One of each kind; more of them are tried on tensor_ids.py itself."""
    evil = tmp_path / "evil"
    wrong = {
        (): tensors[FILES[1]][:-8],
        (50257, 2): saved(torch.tensor([0, 1, 50257] + 300 * [5])),
        ("posix.mkdir",): saved([Malicious(evil)], zipped=True),
        (300, "--block-length", 301): saved(torch.arange(300)),
    }
    for named, content in wrong.items():
        write_archive(tmp_path, {**tensors, FILES[1]: content})
        found = prepare.complain("--tensors", "--from", tmp_path, "--out", out)
        assert_names(found, f"members/{FILES[1]}", *named)
        assert not evil.exists() and not out.with_name("out.partial").exists()


def test_wrong_archives(prepare, out, tmp_path, tensors):
    arguments = ("--tensors", "--from", tmp_path, "--out", out)
    archive = write_archive(tmp_path, tensors)
    archive.write_bytes(archive.read_bytes()[:-40])
    message = prepare.complain(*arguments)
    assert_names(message, archive)
    write_archive(tmp_path, {name: tensors[name] for name in FILES[:2]})
    assert_names(prepare.complain(*arguments), archive, f"{NAME}/{FILES[2]}")


def test_an_archive_that_points_elsewhere(prepare, out, tmp_path, tensors, read_tree):
    folder = tmp_path / "from"
    folder.mkdir()
    archive = write_archive(folder, tensors, prefix=f"{NAME}/../../../")
    message = prepare.complain("--tensors", "--from", folder, "--out", out)
    assert_names(message, archive, f"{NAME}/")
    assert list(read_tree(tmp_path)) == [f"from/{archive.name}"]


@needs_curl
def test_wrong_download_is_not_kept(prepare, out, tmp_path, tensors):
    write_archive(tmp_path, {**tensors, FILES[2]: saved(torch.rand(400))})
    message = prepare.complain("--tensors", "--out", out, UNLIKELIHOOD_URL=tmp_path.as_uri())
    assert_names(message, f"members/{FILES[2]}", "float32", "(400,)")


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2(realdata):
    return ("--tensors", "--gpt2-bpe", realdata / "gpt2_bpe")


@pytest.fixture(scope="module")
def prepared(prepare, gpt2, tensors, tmp_path_factory) -> Path:
    """Return the data of the archive in a local folder, made in one go."""
    folder = tmp_path_factory.mktemp("prepared")
    write_archive(folder, tensors)
    out = folder / "wikitext"
    prepare.succeed(*gpt2, "--from", folder, "--out", out)
    prepare.leave_alone(out, *gpt2, "--from", folder)
    return out


@pytest.mark.realdata
def test_ids_come_back(prepared, ids):
    """All the rows of the published code, and no other token."""
    from fairseq.data import Dictionary, data_utils

    symbols = Dictionary.load(str(prepared / "dict.txt")).symbols
    for split, tensor in ids.items():
        data = data_utils.load_indexed_dataset(str(prepared / split))
        found = [[int(symbols[index]) for index in item.tolist()] for item in data]
        right_bound = len(tensor) // (300 + 1) * (300 + 1)
        assert found == tensor[:right_bound].view(-1, 300 + 1).tolist()


@pytest.mark.realdata
def test_manifest_and_text(prepared, ids, tensors, read_tree):
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    tree = read_tree(prepared)
    bpe = get_encoder(str(prepared / "encoder.json"), str(prepared / "vocab.bpe"))
    for split in ("valid", "test"):
        kept = ids[split][: len(ids[split]) // 301 * 301].tolist()
        assert tree[f"raw/{split}.txt"].decode() == bpe.decode(kept)
    manifest = json.loads(tree["MANIFEST.json"])
    assert manifest["recipe"]["command"] == (
        "prepare-wikitext-103-bpe.sh --tensors --block-length 301 --bpe gpt2"
    )
    assert f"/unlikelihood/{NAME}.tar.gz" in manifest["source"]
    archive = prepared.with_name(f"{NAME}.tar.gz").read_bytes()
    assert manifest["inputs"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in {**tensors, f"{NAME}.tar.gz": archive}.items()
    }
    assert manifest["counts"]["blocks"] == {"train": 16, "valid": 2, "test": 1}
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    assert not any(str(prepared.parent).encode() in content for content in tree.values())


@pytest.mark.realdata
def test_nothing_is_fetched_that_the_folder_has(prepare, prepared, realdata, tmp_path, read_tree):
    """GPT-2's own files, too, gzipped or not."""
    folder = tmp_path / "from"
    folder.mkdir()
    shutil.copy(prepared.with_name(f"{NAME}.tar.gz"), folder)
    shutil.copy(realdata / "gpt2_bpe" / "vocab.bpe.gz", folder)
    shutil.copy(prepared / "encoder.json", folder)
    prepare.succeed(
        *("--tensors", "--from", folder, "--out", tmp_path / "out"),
        GPT2_BPE_URL=(tmp_path / "nowhere").as_uri(),
    )
    assert read_tree(tmp_path / "out") == read_tree(prepared)


@pytest.mark.realdata
@needs_curl
def test_a_download_that_is_cut_off(prepare, gpt2, prepared, tmp_path, read_tree):
    """Resumed, from a mirror; the result is the same as of the archive in a folder."""
    with mirror(prepared.parent) as (url, requests):
        prepare.succeed(*gpt2, "--out", tmp_path / "out", UNLIKELIHOOD_URL=url)
    assert [path for path, _ in requests] == 2 * [f"/{NAME}.tar.gz"]
    assert read_tree(tmp_path / "out") == read_tree(prepared)


@pytest.mark.realdata
def test_killed_runs_continue(prepare, gpt2, prepared, tensors, tmp_path, read_tree):
    """With tensors that were unpacked already: all but the archive's own checksum is the same."""
    (tmp_path / NAME).mkdir()
    for name, content in tensors.items():
        (tmp_path / NAME / name).write_bytes(content)
    out, work = tmp_path / "out", tmp_path / "out.partial"
    arguments = (*gpt2, "--from", tmp_path, "--out", out, "--workers", 1)
    finished: dict[str, int] = {}
    for pattern in ("work/ids/valid.bin", "data/train.bin"):
        prepare.kill_when(lambda: any(work.glob(pattern)), *arguments)  # noqa: B023
        assert not out.exists()
        assert finished.items() <= prepare.finished(work).items()
        finished = prepare.finished(work)
    prepare.succeed(*arguments)
    assert not work.exists()
    ours, theirs = read_tree(out), read_tree(prepared)
    manifests = [json.loads(tree.pop("MANIFEST.json")) for tree in (ours, theirs)]
    assert ours == theirs
    del manifests[1]["inputs"][f"{NAME}.tar.gz"]
    assert manifests[0] == manifests[1]
