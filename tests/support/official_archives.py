"""Archives that are laid out as the official ones, around any text.

Those of WMT, IWSLT, WikiText, CNN/Daily Mail and XSum.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import json
import tarfile
import zipfile
from pathlib import Path

Text = list[str]


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def lines(text: Text) -> bytes:
    return "".join(f"{line}\n" for line in text).encode()


def sgm(text: Text, kind: str, documents: int = 3) -> bytes:
    """Return segments in documents, as the official files have them: no root, entities."""
    parts = [f'<{kind} setid="newstest2014" srclang="any">']
    for number in range(documents):
        attributes = [f'docid="paper-{number}"', 'genre="news"', 'origlang="en"']
        if kind == "refset":
            attributes.reverse()
        parts.append(f"<DOC sysid='ref' {' '.join(attributes)}>\n<p>")
        for index, line in enumerate(text[number::documents], start=1):
            parts.append(f'<seg id="{index}"> {html.escape(line, quote=False)} </seg>')
        parts.append("</p>\n</DOC>")
    return "\n".join([*parts, f"</{kind}>\n"]).encode()


def in_documents(text: Text, documents: int = 3) -> Text:
    return [line for number in range(documents) for line in text[number::documents]]


def wmt14_archives(folder: Path, texts: dict[str, tuple[Text, Text]], target: str) -> None:
    """Write the official archives around the texts, English first."""
    pair, nc = f"{target}-en", "news-commentary-v9"
    places = {
        "training-parallel-europarl-v7.tgz": ("europarl-v7", f"training/europarl-v7.{pair}"),
        "training-parallel-commoncrawl.tgz": ("commoncrawl", f"commoncrawl.{pair}"),
        "training-parallel-nc-v9.tgz": (nc, f"training/{nc}.{pair}"),
        "training-parallel-un.tgz": ("undoc.2000", f"un/undoc.2000.{pair}"),
        "training-giga-fren.tar": ("giga-fren", "giga-fren.release2.fixed"),
        "dev.tgz": ("valid", "dev/newstest2013"),
    }
    folder.mkdir(exist_ok=True)
    for archive, (name, stem) in places.items():
        if name in texts:
            sides = dict(zip(("en", target), map(lines, texts[name]), strict=True))
            members = {f"{stem}.{side}": content for side, content in sides.items()}
            if archive.endswith(".tar"):
                members = {f"{k}.gz": gzip.compress(v) for k, v in members.items()}
            other = {"training/other.cs-en.cs": b"jedna\n"}
            write_tar(folder / archive, {**other, **members}, "w" if ".tar" in archive else "w:gz")
    stem = f"test-full/newstest2014-{target}en"
    english, other = texts["test"]
    members = {f"{stem}-src.en.sgm": sgm(english, "srcset")}
    members[f"{stem}-ref.{target}.sgm"] = sgm(other, "refset")
    write_tar(folder / "test-full.tgz", members)


IWSLT_TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")


def tagged(text: Text, language: str, talk_length: int = 30) -> bytes:
    """Return talks of which the first two lines are title and description."""
    parts = []
    for start in range(0, len(text), talk_length):
        title, description, *rest = text[start : start + talk_length]
        parts += [f"<url>http://example.org/{start}</url>", "<keywords>talks, things</keywords>"]
        parts += ["<speaker>Somebody</speaker>", f"<talkid>{start}</talkid>"]
        parts += [f"<title>{title}</title>", f"<description>{description}</description>"]
        if language == "de":  # a translation has people of its own
            parts += ['<reviewer href="x">Anna</reviewer>', '<translator href="x">Jo</translator>']
        parts += [f" {line} " for line in rest]
    return lines(parts)


def iwslt14_members(texts: dict[str, tuple[Text, Text]]) -> dict[str, bytes]:
    """Return the members of the official archive around the texts, German first."""
    members = {"de-en/README": b"read me\n"}
    for side, language in enumerate(("de", "en")):
        members[f"de-en/train.tags.de-en.{language}"] = tagged(texts["train"][side], language)
        for name in IWSLT_TESTS:
            kind = ("srcset", "refset")[side]
            path = f"de-en/IWSLT14.{name}.de-en.{language}.xml"
            members[path] = sgm(texts[name][side], kind)
    return members


def numbered(name: str, count: int) -> tuple[Text, Text]:
    """Return synthetic pairs, for what needs no real text."""
    english = [f"sentence {number} of {name} ." for number in range(count)]
    return english, [f"Satz {number} von {name} ." for number in range(count)]


def write_wikitext(folder: Path, corpus: str, kind: str, texts: dict[str, bytes]) -> Path:
    """Write an archive laid out as the official one is."""
    inner = f"{corpus}-raw" if kind == "raw" else corpus
    path = folder / f"{inner}-v1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{inner}/", "")
        for split in ("test", "valid", "train"):
            if split in texts:
                archive.writestr(f"{inner}/wiki.{split}.{kind}", texts[split])
    return path


def story_name(address: str) -> str:
    return f"{hashlib.sha1(address.encode()).hexdigest()}.story"


def cnn_dailymail_files(folder: Path, splits: dict[str, dict[str, str]]) -> None:
    """Write the official files around stories by their addresses, of CNN where these say so."""
    folder.mkdir(exist_ok=True)
    stories = {address: story for split in splits.values() for address, story in split.items()}
    for site in ("cnn", "dailymail"):
        of_site = [address for address in stories if ("cnn.com" in address) == (site == "cnn")]
        members = {
            f"{site}/stories/{story_name(address)}": stories[address].encode()
            for address in reversed(of_site)  # an archive has an order of its own
        }
        other = {f"{site}/stories/{story_name('elsewhere')}": b"In no list.\n"}
        write_tar(folder / f"{site}_stories.tgz", {**other, **members})
    for split, listed in splits.items():
        (folder / f"all_{split}.txt").write_bytes(lines(list(listed)))


def xsum_files(folder: Path, splits: dict[str, dict[str, str]]) -> None:
    """Write the official files around articles by their numbers."""
    folder.mkdir(exist_ok=True)
    articles = {number: text for split in splits.values() for number, text in split.items()}
    members = {
        f"bbc-summary-data/{number}.summary": articles[number].encode()
        for number in reversed(articles)
    }
    write_tar(
        folder / "XSUM-EMNLP18-Summary-Data-Original.tar.gz",
        {"bbc-summary-data/1.summary": b"in no list\n", **members},
    )
    listed = {split: list(numbers) for split, numbers in splits.items()}
    (folder / "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json").write_text(json.dumps(listed) + "\n")
