"""Passage tables: both dialects, every malformed row with its line, one fingerprint a content."""

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.passages import PassageTable, passage_rows

HEADER = "id\ttext\ttitle\n"


def written(folder, text, name="table.tsv"):
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def fields(path):
    return [(passage.id, passage.text, passage.title) for passage in PassageTable(path)]


def test_a_row_is_a_passage(tmp_path):
    path = written(tmp_path, HEADER + "1\tA text.\tA title\r\n2\tOther\t\n")
    assert fields(path) == [("1", "A text.", "A title"), ("2", "Other", "")]


QUOTED = {
    "DPR quotes fields": ('"He said ""no""."', 'He said "no".'),
    "only where it begins": ('"No" was the answer', '"No" was the answer'),
    "at both ends, apart": ('"No" and "yes"', '"No" and "yes"'),
    "in the middle": ('say "no" twice', 'say "no" twice'),
    "a quoted tab": ('"a\tb"', "a\tb"),
    "never closed": ('"No was the answer', '"No was the answer'),
    "a quote alone": ('"', '"'),
    "a doubled quote at the beginning": ('"""No"" he said"', '"No" he said'),
}


@pytest.mark.parametrize(("given", "want"), QUOTED.values(), ids=QUOTED)
def test_quotes(tmp_path, given, want):
    path = written(tmp_path, f"{HEADER}7\t{given}\tTitle\n8\tnext\tNext\n")
    assert fields(path) == [("7", want, "Title"), ("8", "next", "Next")]


def test_what_csv_writes_is_read(tmp_path):
    """As the published table was written, with every kind of quoting of the standard library."""
    rows = [("1", 'He said "no".', '"A" title'), ("2", "a\tb", "it's"), ("3", "plain", "")]
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC):
        stream = io.StringIO()
        writer = csv.writer(stream, delimiter="\t", quoting=quoting)
        writer.writerows([("id", "text", "title"), *rows])
        assert fields(written(tmp_path, stream.getvalue())) == rows


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.text()).filter(lambda row: row[0].strip()), min_size=1
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    passages = [Passage(title, text, f"p{n}") for n, (text, title) in enumerate(rows)]
    # White space is one space in a table, and surrogates cannot be written at all.
    passages = [p for p in passages if p.text.isprintable() and p.title.isprintable()]
    if not passages:
        return
    path = written(tmp_path_factory.mktemp("table"), "".join(passage_rows(passages)))
    want = [(p.id, " ".join(p.text.split()), " ".join(p.title.split())) for p in passages]
    assert fields(path) == want


def test_rows_without_an_id_are_numbered():
    lines = list(passage_rows([Passage("T", "a\tb\n c"), Passage("", '"x"')]))
    assert lines == [HEADER, "1\ta b c\tT\n", '2\t"""x"""\t\n']


MALFORMED = {
    "too few columns": "3\tx",
    "one column": "3",
    "a blank line": "",
    "too many columns": "3\tx\ty\tz",
    "too many columns with quotes": '3\t"x"\ty\tz',
    "too many columns, too long for csv": '3\t"' + 200_000 * "x" + '"\ty\tz',
    "an empty text": "3\t \ty",
    "a quoted empty text": '3\t""\ty',
    "an empty id": "\tx\ty",
    "an id again": "1\tx\ty",
    "not UTF-8": b"3\t\xff\ty",
}


@pytest.mark.parametrize("name", ["table.tsv", "table.tsv.gz"])
@pytest.mark.parametrize("row", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_row_is_named_by_its_line(tmp_path, row, name):
    row = row if isinstance(row, bytes) else row.encode()
    path = written(tmp_path, (HEADER + "1\ta\tb\n").encode() + row + b"\n4\tc\td\n", name)
    with refuses(path, 3):
        list(PassageTable(path))


@pytest.mark.parametrize("first", ["x1", "007", "12345678901", "é"])
def test_ids_need_not_be_numbers(tmp_path, first):
    path = written(tmp_path, f"{HEADER}{first}\ta\tb\n7\tc\td\n{first}\te\tf\n")
    with refuses(path, 4, first):
        list(PassageTable(path))


def test_ids_far_apart_are_told_apart(tmp_path):
    ids = [1, 8, 9, 3, 1_000_003, 268_435_455, 268_435_456, 2]
    path = written(tmp_path, HEADER + "".join(f"{n}\ta\tb\n" for n in ids))
    assert [passage.id for passage in PassageTable(path)] == list(map(str, ids))


@pytest.mark.parametrize("text", ["id\ttitle\ttext\n1\ta\tb\n", "1\ta\tb\n"])
def test_a_table_without_its_header(tmp_path, text):
    with refuses("table.tsv", 1):
        list(PassageTable(written(tmp_path, text)))


@pytest.mark.parametrize("text", ["", HEADER])
def test_a_table_without_passages(tmp_path, text):
    with refuses("table.tsv"):
        list(PassageTable(written(tmp_path, text)))


def test_a_table_cut_short(tmp_path):
    path = written(
        tmp_path, HEADER + "".join(f"{n}\ttext {n * n}\tb\n" for n in range(9999)), "t.gz"
    )
    path.write_bytes(path.read_bytes()[:-3000])
    with refuses(path):
        list(PassageTable(path))


def test_a_file_that_is_not_there(tmp_path):
    with refuses(tmp_path / "none.tsv"):
        list(PassageTable(tmp_path / "none.tsv"))


def test_the_fingerprint_is_the_contents(tmp_path):
    same = [
        written(tmp_path, HEADER + '1\tsay "a"\tb\n2\tc\td\n', "plain.tsv"),
        written(tmp_path, HEADER + '1\tsay "a"\tb\n2\tc\td\n', "zipped.tsv.gz"),
        written(tmp_path, HEADER + '"1"\t"say ""a"""\t"b"\r\n2\tc\td', "quoted.tsv"),
    ]
    others = [
        written(tmp_path, HEADER + '1\tsay "a"\tb\n2\tc\te\n', "other.tsv"),
        written(tmp_path, HEADER + '2\tc\td\n1\tsay "a"\tb\n', "order.tsv"),
        written(tmp_path, HEADER + '1\tsay "a"\tb\n', "less.tsv"),
        written(tmp_path, HEADER + '1\tsay "a\tb"\n2\tc\td\n', "moved.tsv"),
    ]
    (first, *rest) = [PassageTable(path).fingerprint() for path in same]
    assert rest == [first] * 2 and first.passages == 2
    assert len({first.sha256, *(PassageTable(path).fingerprint().sha256 for path in others)}) == 5


def test_passages_are_picked_by_number(tmp_path):
    table = PassageTable(written(tmp_path, HEADER + "".join(f"i{n}\tt{n}\t\n" for n in range(9))))
    assert {n: p.id for n, p in table.pick([7, 0, 7]).items()} == {0: "i0", 7: "i7"}


@pytest.mark.realdata
def test_the_table_of_natural_questions(realdata):
    table = PassageTable(realdata / "qa" / "nq_psgs.tsv.gz")
    assert table.fingerprint().passages == 2600
    picked = table.pick([46])[46]
    assert picked.id == "47" and picked.text.startswith('"The Glory of Love" is a song')
