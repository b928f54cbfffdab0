"""Archives, gzipped texts and tensors that data-prep unpacks, damaged or made to mislead."""

import gzip
import io
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trust.damage import damaged, fuzz, listing, little_memory, no_hang

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

from archive_members import extract  # noqa: E402
from one_line_errors import PrepareError  # noqa: E402
from raw_text import copy_text  # noqa: E402
from tensor_ids import flatten  # noqa: E402
from token_ids import verify  # noqa: E402

TEXT = "".join(f"line {number} of some text\n" for number in range(50)).encode()


def tar(mode: str = "w", name: str = "corpus/a", tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tar_format) as archive:
        for member in (name, "corpus/" + "long" * 60, "corpus/b"):
            info = tarfile.TarInfo(member)
            info.size = len(TEXT)
            archive.addfile(info, io.BytesIO(TEXT))
    return buffer.getvalue()


def zipped(method: int = zipfile.ZIP_DEFLATED, name: str = "corpus/a") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for member in (name, "corpus/b"):
            archive.writestr(member, TEXT)
    return buffer.getvalue()


ARCHIVES = {
    "tar": tar(),
    "GNU tar": tar(tar_format=tarfile.GNU_FORMAT),
    "tgz": tar("w:gz"),
    "zip": zipped(),
    "zip by bzip2": zipped(zipfile.ZIP_BZIP2),
    "zip by LZMA": zipped(zipfile.ZIP_LZMA),
}


def refused(act, named: Path, folder: Path, output: Path) -> str | None:
    """Call what a script would; it may write its output, or say what is wrong in a line."""
    output.unlink(missing_ok=True)  # of an example that failed
    before = listing(folder)
    line = None
    try:
        with no_hang(), little_memory():
            act()
    except (PrepareError, OSError) as error:  # what report_errors shows as a line
        line = str(error)
        assert "\n" not in line and str(named) in line, line
        assert not output.exists(), "a file of half its content"
    output.unlink(missing_ok=True)
    assert listing(folder) == before
    return line


@pytest.mark.parametrize("kind", ARCHIVES)
@fuzz
@given(data=st.data())
def test_damaged_archives(kind, folder, data):
    archive, out = folder / "archive", folder / "out"
    archive.write_bytes(data.draw(damaged(ARCHIVES[kind])))
    refused(lambda: extract(archive, {"corpus/a": out}), archive, folder, out)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_good_archive_is_unpacked(kind, folder):
    archive, out = folder / "archive", folder / "out"
    archive.write_bytes(ARCHIVES[kind])
    extract(archive, {"corpus/a": out})
    assert out.read_bytes() == TEXT


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("name", ["../out2", "/tmp/genft-escaped", "a/../../out2", "~/out2"])
def test_no_archive_decides_where_it_is_unpacked(make, name, folder):
    """Its members have the names of other folders' files, and only content is taken of them."""
    inner = folder / "inner"
    inner.mkdir()
    (folder / "archive").write_bytes(make(name=name))
    extract(folder / "archive", {name: inner / "out", "corpus/b": inner / "b"})
    assert sorted(path.name for path in inner.iterdir()) == ["b", "out"]
    assert sorted(path.name for path in folder.iterdir()) == ["archive", "inner"]
    assert not Path("/tmp/genft-escaped").exists()


@fuzz
@given(content=damaged(gzip.compress(TEXT, mtime=0), TEXT))
def test_damaged_texts(folder, content):
    source, out = folder / "text", folder / "out"
    source.write_bytes(content)
    line = None
    try:
        with no_hang(), little_memory():
            copy_text(source, out)  # into a folder that the stage begins anew
    except PrepareError as error:
        line = str(error)
        assert "\n" not in line and str(source) in line
    assert sorted(path.name for path in folder.iterdir()) in (["out", "text"], ["text"])
    out.unlink(missing_ok=True)


def _saved(value, is_zip: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


@fuzz
@given(content=damaged(_saved(torch.arange(60)), _saved(torch.arange(60), is_zip=False)))
def test_damaged_tensors(folder, content):
    """``train.pt`` of a trainer of GPT-2."""
    source, out = folder / "train.pt", folder / "train.bin"
    source.write_bytes(content)
    refused(lambda: flatten(source, out, block_length=8), source, folder, out)


@fuzz
@given(content=damaged(bytes(range(0, 200)) * 4))
def test_damaged_ids(folder, content):
    """``train.bin`` of a trainer of GPT-2."""
    source = folder / "train.bin"
    source.write_bytes(content)
    refused(lambda: verify(source, block_length=8), source, folder, folder / "none")


def test_every_official_address_is_encrypted():
    """What is fetched is also compared with what is pinned; see tests/data_prep."""
    scripts = sorted(DATA_PREP.glob("*.sh"))
    addresses = [
        address
        for script in scripts
        for line in script.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
        for address in re.findall(r"\bhttps?://[^\s\"']+", line)
    ]
    assert len(addresses) >= 6
    assert [address for address in addresses if not address.startswith("https://")] == []


def test_only_one_place_fetches_anything():
    """``fetch`` of steps.sh: nothing else in the package, data-prep or the examples downloads."""
    root = DATA_PREP.parent
    words = re.compile(
        r"\b(curl|wget)\s+-|urlopen|urlretrieve|requests\.(get|post)|snapshot_download|"
        r"hf_hub_download|load_state_dict_from_url|httpx|aiohttp"
    )
    found = [
        f"{path.relative_to(root)}:{number}"
        for folder in ("genft_fairseq", "data-prep", "examples")
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in (".py", ".sh") and os.access(path, os.R_OK)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if words.search(line.partition("#")[0])
    ]
    assert [place.partition(":")[0] for place in found] == ["data-prep/steps.sh"]
