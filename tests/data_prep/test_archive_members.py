"""archive_members.py: only the named members come out, to where the caller says, or none."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from refusals import assert_names, refuses

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import archive_members  # noqa: E402
from archive_members import extract, verify  # noqa: E402
from one_line_errors import PrepareError  # noqa: E402

CONTENT = {"corpus/a.en": b"one\ntwo\n", "corpus/a.de": b"eins\nzwei\n", "corpus/b": b"", "c": b"3"}


def tar_bytes(members: dict[str, bytes], mode: str = "w", prefix: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# None has the name of its kind: the first bytes say what an archive is.
ARCHIVES = {
    "tar": tar_bytes(CONTENT),
    "tgz": tar_bytes(CONTENT, "w:gz"),
    "dotted tgz": tar_bytes(CONTENT, "w:gz", prefix="./"),
    "zip": zip_bytes(CONTENT),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.bin"


def complaint(archive: Path, *members: str) -> str:
    """Return what extracting complains of; nothing may be left behind."""
    before = sorted(archive.parent.iterdir())
    destinations = {name: archive.parent / f"out{n}" for n, name in enumerate(members)}
    with pytest.raises(PrepareError) as error:
        extract(archive, destinations)
    assert sorted(archive.parent.iterdir()) == before
    message = str(error.value)
    assert "\n" not in message
    assert_names(message, archive)
    return message


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("written", ["{}", "./{}"])
def test_named_members_and_no_others(archive, kind, written):
    archive.write_bytes(ARCHIVES[kind])
    wanted = {written.format(name): archive.parent / f"x{n}" for n, name in enumerate(CONTENT)}
    del wanted[written.format("c")]
    assert extract(archive, wanted) == {"corpus/a.en": 8, "corpus/a.de": 10, "corpus/b": 0}
    assert [path.read_bytes() for path in wanted.values()] == list(CONTENT.values())[:3]
    assert sorted(path.name for path in archive.parent.iterdir()) == [
        *("archive.bin", "x0", "x1", "x2")
    ]


def test_a_gzipped_member_stays_gzipped(archive):
    member = gzip.compress(b"text")
    archive.write_bytes(tar_bytes({"giga.en.gz": member}))
    extract(archive, {"giga.en.gz": archive.parent / "out"})
    assert (archive.parent / "out").read_bytes() == member


def test_an_old_file_is_replaced_only_by_a_whole_one(archive):
    out = archive.parent / "out"
    out.write_text("old")
    archive.write_bytes(ARCHIVES["tgz"])
    assert_names(complaint(archive, "corpus/none"), "corpus/none")
    with pytest.raises(PrepareError):
        extract(archive, {"c": out, "corpus/none": archive.parent / "other"})
    assert out.read_text() == "old"
    extract(archive, {"c": out})
    assert out.read_text() == "3"


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
@pytest.mark.parametrize("name", ["../evil", "/tmp/genft-evil", "corpus/../../evil"])
def test_the_path_of_a_member_is_never_written_to(archive, kind, name):
    """Not even if the caller asks for it by that name."""
    members = {name: b"evil"}
    archive.write_bytes(zip_bytes(members) if kind == "zip" else tar_bytes(members, "w:gz"))
    folder = archive.parent / "folder"
    folder.mkdir()
    extract(archive, {name: folder / "out"})
    assert [path.name for path in folder.iterdir()] == ["out"]
    assert sorted(path.name for path in archive.parent.iterdir()) == ["archive.bin", "folder"]
    assert not Path("/tmp/genft-evil").exists()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE],
)
def test_links_and_devices_are_refused(archive, kind):
    info = tarfile.TarInfo("text")
    info.type = kind
    info.linkname = "/etc/passwd"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(info)
    assert_names(complaint(archive, "text"), "text")


def test_links_and_folders_in_a_zip_are_refused(archive):
    link = zipfile.ZipInfo("text")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr(link, "/etc/passwd")
        members.writestr("folder/", "")
    for name in ("text", "folder/"):
        assert_names(complaint(archive, name), name)


def test_a_member_that_comes_twice_is_refused(archive):
    second = tar_bytes({"./a": b"2"})
    archive.write_bytes(tar_bytes({"a": b"1"})[:1024] + second)
    assert_names(complaint(archive, "a"), " a ")


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_truncated_archive(archive, kind):
    """Wherever it is cut, even if the member that is wanted lies before the cut."""
    text = os.urandom(30_000)
    members = {"first": text, "second": text, "third": text}
    if kind == "zip":
        whole = zip_bytes(members)
    else:
        whole = tar_bytes(members, "w" if kind == "tar" else "w:gz")
    for length in (len(whole) * n // 7 for n in range(1, 7)):
        archive.write_bytes(whole[:length])
        message = complaint(archive, "first")
        assert_names(message, archive)
        assert_names(
            message,
        )


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_damage_in_the_middle(archive, kind):
    text = os.urandom(30_000)
    whole = bytearray(
        zip_bytes({"first": text}) if kind == "zip" else tar_bytes({"first": text}, "w:gz")
    )
    whole[15_000] ^= 1
    archive.write_bytes(whole)
    complaint(archive, "first")


def test_a_damaged_header_is_not_the_end(archive):
    whole = bytearray(tar_bytes({"first": b"1", "second": b"2"}))
    whole[1024 + 150] ^= 1  # in the checksum of the second header
    archive.write_bytes(whole)
    complaint(archive, "second")


@pytest.mark.parametrize(
    "content",
    [b"<html>404</html>", b"x" * 5000, gzip.compress(b"one line\n"), b"\0" * 100],
    ids=["page", "text", "gzipped text", "zeros"],
)
def test_what_is_no_archive(archive, content):
    archive.write_bytes(content)
    complaint(archive, "text")


def test_an_encrypted_zip(archive):
    whole = bytearray(zip_bytes({"text": b"1"}, zipfile.ZIP_STORED))
    whole[6] |= 1
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(whole)
    assert_names(complaint(archive, "text"), "text")


# --- checksums ------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DATA_PREP / "archive_members.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PREPARE_PROGRAM": "prepare-it.sh"},
        check=False,
    )


@pytest.mark.parametrize("option", ["--sha256", "--md5"])
def test_a_checksum_is_compared_before_anything_is_written(archive, option):
    archive.write_bytes(ARCHIVES["tgz"])
    right = hashlib.new(option.strip("-"), ARCHIVES["tgz"]).hexdigest()
    wrong = "0" * len(right)
    out = archive.parent / "out"
    arguments = (archive, "--members", "c", "--destinations", out, option)
    result = command(*arguments, wrong)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert_names(result.stderr, "prepare-it.sh", archive, wrong, right)
    assert not out.exists()
    result = command(*arguments, right.upper())
    assert (result.returncode, result.stderr) == (0, "")
    assert right in result.stdout
    assert out.read_text() == "3"


def test_a_size_is_compared(archive):
    archive.write_bytes(b"12345")
    with refuses(6, 5, error=PrepareError):
        verify(archive, 6, "sha256", None)
    assert_names(verify(archive, 5, "sha256", None), archive.name, 5)
    assert_names(verify(archive, None, "sha256", None), archive.name, 5)


def test_without_members_it_only_checks(archive):
    archive.write_bytes(ARCHIVES["zip"])
    result = command(archive, "--bytes", len(ARCHIVES["zip"]))
    assert (result.returncode, result.stderr) == (0, "")
    assert [path.name for path in archive.parent.iterdir()] == ["archive.bin"]


@pytest.mark.parametrize("content", [None, b""])
def test_no_file(archive, content):
    if content is not None:
        archive.write_bytes(content)
    result = command(archive, "--members", "c", "--destinations", archive.parent / "out")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert_names(result.stderr, archive)


def test_large_archives_tell_how_far_they_are(archive, monkeypatch, capsys):
    archive.write_bytes(ARCHIVES["tar"])
    extract(archive, {"c": archive.parent / "out"})
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(archive_members, "LARGE", 1)
    monkeypatch.setattr(archive_members, "SECONDS_PER_PROGRESS", 0.0)
    extract(archive, {"c": archive.parent / "out"})
    assert_names(capsys.readouterr().out, archive.name, "0 %")
