"""The two offline corpora: correct German, real prose, held-out parts that are held out."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import assert_names, refuses

DATA_PREP = Path(__file__).parents[2] / "data-prep"
SCRIPT = DATA_PREP / "make_toy_corpora.py"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

from carrier_sentences import EVENTS, german_clause, in_duration, purchase, ranked  # noqa: E402
from language_reference import TOPICS, language_reference_splits, prose_paragraphs  # noqa: E402
from number_pairs import number_pairs  # noqa: E402
from spoken_calendar import MONTHS, SPOKEN_MINUTES, Date, DateRange, Time  # noqa: E402
from spoken_numbers import (  # noqa: E402
    english_cardinal,
    english_ordinal,
    english_year,
    german_cardinal,
    german_count,
    german_ordinal,
    german_year,
)
from spoken_prices import Price  # noqa: E402

SPLITS = ("train", "valid", "test")
EURO, DOLLAR, POUND, FRANC, CROWN = range(5)


def run(*arguments: object, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONIOENCODING": "utf-8"},
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    result = run(folder)
    assert result.returncode == 0, result.stderr
    return folder


def lines_of(corpora: Path, name: str) -> list[str]:
    return (corpora / name).read_text(encoding="utf-8").splitlines()


# --- German by hand -------------------------------------------------------------------------------

CARDINALS = [
    (0, "zero", "null"),
    (1, "one", "eins"),
    (6, "six", "sechs"),
    (7, "seven", "sieben"),
    (11, "eleven", "elf"),
    (12, "twelve", "zwölf"),
    (16, "sixteen", "sechzehn"),
    (17, "seventeen", "siebzehn"),
    (20, "twenty", "zwanzig"),
    (21, "twenty-one", "einundzwanzig"),
    (30, "thirty", "dreißig"),
    (33, "thirty-three", "dreiunddreißig"),
    (60, "sixty", "sechzig"),
    (66, "sixty-six", "sechsundsechzig"),
    (70, "seventy", "siebzig"),
    (77, "seventy-seven", "siebenundsiebzig"),
    (100, "one hundred", "einhundert"),
    (101, "one hundred one", "einhunderteins"),
    (112, "one hundred twelve", "einhundertzwölf"),
    (421, "four hundred twenty-one", "vierhunderteinundzwanzig"),
    (1000, "one thousand", "eintausend"),
    (1001, "one thousand one", "eintausendeins"),
    (1100, "one thousand one hundred", "eintausendeinhundert"),
    (21_001, "twenty-one thousand one", "einundzwanzigtausendeins"),
    (101_000, "one hundred one thousand", "einhunderteintausend"),
    (617_060, "six hundred seventeen thousand sixty", "sechshundertsiebzehntausendsechzig"),
    (1_000_000, "one million", "eine Million"),
    (1_000_001, "one million one", "eine Million eins"),
    (2_000_030, "two million thirty", "zwei Millionen dreißig"),
    (21_000_000, "twenty-one million", "einundzwanzig Millionen"),
    (101_000_000, "one hundred one million", "einhunderteine Millionen"),
    (1_001_000, "one million one thousand", "eine Million eintausend"),
]

ORDINALS = [
    (1, "first", "erste"),
    (2, "second", "zweite"),
    (3, "third", "dritte"),
    (5, "fifth", "fünfte"),
    (7, "seventh", "siebte"),
    (8, "eighth", "achte"),
    (9, "ninth", "neunte"),
    (12, "twelfth", "zwölfte"),
    (16, "sixteenth", "sechzehnte"),
    (19, "nineteenth", "neunzehnte"),
    (20, "twentieth", "zwanzigste"),
    (21, "twenty-first", "einundzwanzigste"),
    (30, "thirtieth", "dreißigste"),
    (31, "thirty-first", "einunddreißigste"),
    (100, "one hundredth", "einhundertste"),
    (101, "one hundred first", "einhunderterste"),
    (107, "one hundred seventh", "einhundertsiebte"),
    (112, "one hundred twelfth", "einhundertzwölfte"),
    (120, "one hundred twentieth", "einhundertzwanzigste"),
    (1000, "one thousandth", "eintausendste"),
]

YEARS = [
    (1100, "eleven hundred", "elfhundert"),
    (1517, "fifteen seventeen", "fünfzehnhundertsiebzehn"),
    (1616, "sixteen sixteen", "sechzehnhundertsechzehn"),
    (1701, "seventeen oh one", "siebzehnhunderteins"),
    (1900, "nineteen hundred", "neunzehnhundert"),
    (1905, "nineteen oh five", "neunzehnhundertfünf"),
    (1984, "nineteen eighty-four", "neunzehnhundertvierundachtzig"),
    (2000, "two thousand", "zweitausend"),
    (2001, "two thousand one", "zweitausendeins"),
    (2010, "twenty ten", "zweitausendzehn"),
    (2024, "twenty twenty-four", "zweitausendvierundzwanzig"),
]

TIMES = [
    (Time(1, 0), "one o'clock", "ein Uhr"),
    (Time(12, 0), "twelve o'clock", "zwölf Uhr"),
    (Time(7, 30), "half past seven", "halb acht"),
    (Time(12, 30), "half past twelve", "halb eins"),
    (Time(11, 30), "half past eleven", "halb zwölf"),
    (Time(7, 15), "quarter past seven", "Viertel nach sieben"),
    (Time(1, 15), "quarter past one", "Viertel nach eins"),
    (Time(7, 45), "quarter to eight", "Viertel vor acht"),
    (Time(12, 45), "quarter to one", "Viertel vor eins"),
    (Time(8, 50), "ten to nine", "zehn vor neun"),
    (Time(12, 55), "five to one", "fünf vor eins"),
    (Time(1, 5, "minutes"), "five minutes past one", "fünf nach eins"),
    (Time(1, 5), "five past one", "fünf nach eins"),
    (Time(3, 1), "one minute past three", "eine Minute nach drei"),
    (Time(3, 59), "one minute to four", "eine Minute vor vier"),
    (Time(3, 17), "seventeen minutes past three", "siebzehn nach drei"),
    (Time(3, 40), "twenty to four", "zwanzig vor vier"),
    (Time(7, 25), "twenty-five past seven", "fünf vor halb acht"),
    (Time(12, 35), "twenty-five to one", "fünf nach halb eins"),
    (Time(1, 30, "digital"), "one thirty", "ein Uhr dreißig"),
    (Time(1, 1, "digital"), "one oh one", "ein Uhr eins"),
    (Time(9, 21, "digital"), "nine twenty-one", "neun Uhr einundzwanzig"),
    (Time(7, 0, "spoken", 0), "seven o'clock in the morning", "sieben Uhr morgens"),
    (Time(1, 0, "digital", 3), "one o'clock at night", "ein Uhr nachts"),
    (Time(7, 30, "spoken", 2), "half past seven in the evening", "halb acht abends"),
]

DATES = [
    (
        Date(21, 3, 1984),
        "the twenty-first of march nineteen eighty-four",
        "der einundzwanzigste März neunzehnhundertvierundachtzig",
        "am einundzwanzigsten März neunzehnhundertvierundachtzig",
    ),
    (Date(1, 5), "the first of may", "der erste Mai", "am ersten Mai"),
    (Date(3, 10), "the third of october", "der dritte Oktober", "am dritten Oktober"),
    (Date(7, 1), "the seventh of january", "der siebte Januar", "am siebten Januar"),
    (Date(8, 12), "the eighth of december", "der achte Dezember", "am achten Dezember"),
    (Date(30, 6), "the thirtieth of june", "der dreißigste Juni", "am dreißigsten Juni"),
    (
        Date(19, 2, 2001),
        "the nineteenth of february two thousand one",
        "der neunzehnte Februar zweitausendeins",
        "am neunzehnten Februar zweitausendeins",
    ),
]

# Price, English, German nominative, German accusative.
PRICES = [
    (Price(1, 50, EURO, short=True), "one euro fifty", "ein Euro fünfzig", "einen Euro fünfzig"),
    (Price(0, 1), "one cent", "ein Cent", "einen Cent"),
    (Price(0, 21), "twenty-one cents", "einundzwanzig Cent", "einundzwanzig Cent"),
    (Price(2, 0), "two euros", "zwei Euro", "zwei Euro"),
    (
        Price(1, 1),
        "one euro and one cent",
        "ein Euro und ein Cent",
        "einen Euro und einen Cent",
    ),
    (Price(5, 5), "five euros and five cents", *["fünf Euro und fünf Cent"] * 2),
    (Price(100, 0, DOLLAR), "one hundred dollars", *["einhundert Dollar"] * 2),
    (Price(1, 0, POUND), "one pound", "ein Pfund", "ein Pfund"),
    (Price(0, 2, POUND), "two pence", "zwei Pence", "zwei Pence"),
    (Price(0, 1, POUND), "one penny", "ein Penny", "einen Penny"),
    (Price(1, 0, FRANC), "one franc", "ein Franken", "einen Franken"),
    (Price(1, 0, CROWN), "one crown", "eine Krone", "eine Krone"),
    (Price(3, 0, CROWN), "three crowns", "drei Kronen", "drei Kronen"),
]

TRAIN_LEAVES, TRAIN_ARRIVES, SHIP_DEPARTS = EVENTS[0], EVENTS[1], EVENTS[4]
CHILDREN_GET_UP, HE_COMES_HOME, WE_MEET = EVENTS[10], EVENTS[12], EVENTS[13]
HALF_PAST_7 = ("at half past seven", "um halb acht")
ONE_O_CLOCK = ("at one o'clock", "um ein Uhr")

# Event, will, (English, German) after the verb, (English, German) in front, English, German.
EVENT_SENTENCES = [
    (
        (TRAIN_LEAVES, False, HALF_PAST_7, ("tomorrow", "morgen")),
        "tomorrow the train leaves at half past seven",
        "morgen fährt der Zug um halb acht",
    ),
    (
        (TRAIN_LEAVES, False, HALF_PAST_7, ("", "")),
        "the train leaves at half past seven",
        "der Zug fährt um halb acht",
    ),
    (
        (TRAIN_ARRIVES, False, ONE_O_CLOCK, ("", "")),
        "the train arrives at one o'clock",
        "der Zug kommt um ein Uhr an",
    ),
    (
        (TRAIN_ARRIVES, True, ONE_O_CLOCK, ("on the first of may", "am ersten Mai")),
        "on the first of may the train will arrive at one o'clock",
        "am ersten Mai wird der Zug um ein Uhr ankommen",
    ),
    (
        (SHIP_DEPARTS, False, ("", ""), ONE_O_CLOCK),
        "at one o'clock the ship departs",
        "um ein Uhr legt das Schiff ab",
    ),
    (
        (CHILDREN_GET_UP, True, HALF_PAST_7, ("", "")),
        "the children will get up at half past seven",
        "die Kinder werden um halb acht aufstehen",
    ),
    (
        (HE_COMES_HOME, False, HALF_PAST_7, ("today", "heute")),
        "today he comes home at half past seven",
        "heute kommt er um halb acht nach Hause",
    ),
    (
        (WE_MEET, False, HALF_PAST_7, ("tomorrow", "morgen")),
        "tomorrow we meet at half past seven",
        "morgen treffen wir uns um halb acht",
    ),
    (
        (WE_MEET, True, HALF_PAST_7, ("", "")),
        "we will meet at half past seven",
        "wir werden uns um halb acht treffen",
    ),
]

OTHER_SENTENCES = [
    (purchase(0, 0, 1, False), "i buy one dog", "ich kaufe einen Hund"),
    (purchase(2, 3, 1, False), "she buys one cat", "sie kauft eine Katze"),
    (purchase(0, 6, 1, False), "i buy one book", "ich kaufe ein Buch"),
    (
        purchase(0, 6, 3, True, 1),
        "i want to buy three books tomorrow",
        "ich will morgen drei Bücher kaufen",
    ),
    (
        purchase(1, 1, 21, False, 1, front=True),
        "tomorrow we buy twenty-one apples",
        "morgen kaufen wir einundzwanzig Äpfel",
    ),
    (in_duration(1, 1, past=False), "in one hour", "in einer Stunde"),
    (in_duration(4, 1, past=False), "in one month", "in einem Monat"),
    (in_duration(2, 3, past=False), "in three days", "in drei Tagen"),
    (in_duration(4, 2, past=True), "two months ago", "vor zwei Monaten"),
    (in_duration(5, 20, past=True), "twenty years ago", "vor zwanzig Jahren"),
    (in_duration(3, 1, past=True), "one week ago", "vor einer Woche"),
    (ranked(0, 3, place=True), "on the third day", "am dritten Tag"),
    (ranked(1, 20, place=True), "on the twentieth floor", "im zwanzigsten Stock"),
    (ranked(2, 7, place=True), "in the seventh week", "in der siebten Woche"),
    (ranked(4, 1, place=False), "the first year", "das erste Jahr"),
]


@pytest.mark.parametrize(("value", "english", "german"), CARDINALS)
def test_cardinal_by_hand(value: int, english: str, german: str) -> None:
    assert (english_cardinal(value), german_cardinal(value)) == (english, german)


@pytest.mark.parametrize(("value", "english", "german"), ORDINALS)
def test_ordinal_by_hand(value: int, english: str, german: str) -> None:
    assert (english_ordinal(value), german_ordinal(value, "e")) == (english, german)
    assert german_ordinal(value, "en") == german + "n"


@pytest.mark.parametrize(("year", "english", "german"), YEARS)
def test_year_by_hand(year: int, english: str, german: str) -> None:
    assert (english_year(year), german_year(year)) == (english, german)


@pytest.mark.parametrize(("time", "english", "german"), TIMES)
def test_time_by_hand(time: Time, english: str, german: str) -> None:
    assert (time.english(), time.german()) == (english, german)


@pytest.mark.parametrize(("date", "english", "german", "german_on"), DATES)
def test_date_by_hand(date: Date, english: str, german: str, german_on: str) -> None:
    assert (date.english(), date.german(), date.german_on()) == (english, german, german_on)


@pytest.mark.parametrize(("price", "english", "nominative", "accusative"), PRICES)
def test_price_by_hand(price: Price, english: str, nominative: str, accusative: str) -> None:
    assert (price.english(), price.german(), price.german(accusative=True)) == (
        english,
        nominative,
        accusative,
    )


@pytest.mark.parametrize(("parts", "english", "german"), EVENT_SENTENCES)
def test_event_by_hand(parts: tuple, english: str, german: str) -> None:
    event, will, when, front = parts
    assert event.english(will, when[0], front[0]) == english
    assert event.german(will, when[1], front[1]) == german


@pytest.mark.parametrize(("pair", "english", "german"), OTHER_SENTENCES)
def test_sentence_by_hand(pair: tuple[str, str], english: str, german: str) -> None:
    assert pair == (english, german)


def test_date_range_by_hand() -> None:
    days = DateRange(1, Date(3, 5))
    assert days.english() == "from the first to the third of may"
    assert days.german() == "vom ersten bis zum dritten Mai"


def test_main_clause_keeps_its_verb_second() -> None:
    assert german_clause("das Haus", "wurde", "am ersten Mai", "verkauft") == (
        "das Haus wurde am ersten Mai verkauft"
    )
    assert german_clause("das Haus", "wurde", "verkauft", front="am ersten Mai") == (
        "am ersten Mai wurde das Haus verkauft"
    )


@pytest.mark.parametrize("value", [101, 1001, 2101])
def test_usage_that_is_divided_is_not_said(value: int) -> None:
    with refuses(value, error=ValueError):
        german_count(value, "ein")


@pytest.mark.parametrize(
    "make",
    [
        lambda: german_cardinal(10**9),
        lambda: german_cardinal(-1),
        lambda: english_year(2100),
        lambda: german_ordinal(0, "e"),
        lambda: Date(31, 4),
        lambda: Date(1, 13),
        lambda: Time(7, 23),
        lambda: Time(13, 0),
        lambda: Price(0, 0),
        lambda: Price(3, 5, short=True),
    ],
)
def test_what_cannot_be_said_is_refused(make) -> None:
    with refuses(error=ValueError):
        make()


# --- German read back -----------------------------------------------------------------------------
# A reader that shares no code and no table with the grammar that it checks.

UNITS = {"zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "sieben": 7, "acht": 8, "neun": 9}
TEENS = {
    **{"zehn": 10, "elf": 11, "zwölf": 12, "dreizehn": 13, "vierzehn": 14, "fünfzehn": 15},
    **{"sechzehn": 16, "siebzehn": 17, "achtzehn": 18, "neunzehn": 19},
}
TENS = {
    **{"zwanzig": 20, "dreißig": 30, "vierzig": 40, "fünfzig": 50},
    **{"sechzig": 60, "siebzig": 70, "achtzig": 80, "neunzig": 90},
}


def either(words: dict[str, int]) -> str:
    return "|".join(words)


def read_below_1000(word: str, last_one: str) -> int:
    ones = {"ein": 1, **UNITS}
    match = re.fullmatch(
        rf"(?:(?P<hundreds>{either(ones)})hundert)?"
        rf"(?:(?P<one>{last_one})|(?P<unit>{either(UNITS)})|(?P<teen>{either(TEENS)})"
        rf"|(?:(?P<before>{either(ones)})und)?(?P<ten>{either(TENS)}))?",
        word,
    )
    if not match or not word:
        raise ValueError(f"not a German number: {word!r}")
    return (
        100 * (ones[match["hundreds"]] if match["hundreds"] else 0)
        + (1 if match["one"] else 0)
        + (UNITS[match["unit"]] if match["unit"] else 0)
        + (TEENS[match["teen"]] if match["teen"] else 0)
        + (ones[match["before"]] if match["before"] else 0)
        + (TENS[match["ten"]] if match["ten"] else 0)
    )


def read_german(text: str) -> int:
    if text == "null":
        return 0
    parts = re.fullmatch(r"(?:(\w+) (Million|Millionen)(?: |$))?(\w*)", text)
    if not parts:
        raise ValueError(f"not a German number: {text!r}")
    head, noun, rest = parts.groups()
    total = 0
    if noun:
        millions = read_below_1000(head, "eine")
        assert (millions == 1) == (noun == "Million")
        total = millions * 1_000_000
    if "tausend" in rest:
        thousands, rest = rest.split("tausend")
        total += read_below_1000(thousands, "ein") * 1000
    return total + (read_below_1000(rest, "eins") if rest else 0)


def read_english(text: str) -> int:
    small = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
        " fifteen sixteen seventeen eighteen nineteen"
    ).split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    total = group = 0
    for word in text.replace("-", " ").split():
        if word == "hundred":
            group *= 100
        elif word in ("thousand", "million"):
            total += group * {"thousand": 1000, "million": 1_000_000}[word]
            group = 0
        else:
            group += small.index(word) if word in small else 20 + 10 * tens.index(word)
    return total + group


MAGNITUDES = st.one_of(
    *(st.integers(0, 10**digits - 1) for digits in (1, 2, 3, 4, 6, 9)),
    st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999)).map(
        lambda groups: groups[0] * 1_000_000 + groups[1] * 1000 + groups[2]
    ),
)


@given(MAGNITUDES)
def test_cardinals_read_back(value: int) -> None:
    assert read_german(german_cardinal(value)) == value
    assert read_english(english_cardinal(value)) == value


def test_cardinals_read_back_up_to_two_thousand() -> None:
    assert [read_german(german_cardinal(value)) for value in range(2000)] == list(range(2000))


@given(st.integers(1, 999_999))
def test_ordinals_end_by_their_last_two_digits(value: int) -> None:
    cardinal, ordinal = german_cardinal(value), german_ordinal(value, "e")
    irregular = {1: ("eins", "erste"), 3: ("drei", "dritte"), 7: ("sieben", "siebte"), 8: ("", "e")}
    last = value % 100
    if last == 8:
        assert ordinal == cardinal + "e"
    elif last in irregular:
        old, new = irregular[last]
        assert ordinal == cardinal.removesuffix(old) + new
    else:
        assert ordinal == cardinal + ("te" if 0 < last < 20 else "ste")


@given(st.integers(1100, 2099))
def test_years_read_back(year: int) -> None:
    german = german_year(year)
    if year < 2000:
        century, rest = german.split("hundert")
        assert read_german(century) * 100 + (read_german(rest) if rest else 0) == year
    else:
        assert read_german(german) == year


def read_german_time(text: str) -> int:
    """Minutes since twelve o'clock."""
    match = re.fullmatch(r"(\w+) Uhr(?: (\w+))?", text)
    if match:
        hour = 1 if match[1] == "ein" else read_german(match[1])
        assert match[1] != "eins"
        return hour % 12 * 60 + (read_german(match[2]) if match[2] else 0)
    match = re.fullmatch(r"(?:(Viertel|eine Minute|\w+) (vor|nach) )?(halb )?(\w+)", text)
    assert match, text
    minutes = {"Viertel": 15, "eine Minute": 1, None: 0}.get(match[1])
    minutes = read_german(match[1]) if minutes is None else minutes
    hour = read_german(match[4])
    signed = -minutes if match[2] == "vor" else minutes
    return (hour * 60 - (30 if match[3] else 0) + signed) % 720


@given(
    st.integers(1, 12),
    st.one_of(
        st.tuples(st.sampled_from(SPOKEN_MINUTES), st.sampled_from(["spoken", "minutes"])),
        st.tuples(st.integers(0, 59), st.just("digital")),
    ),
)
def test_times_read_back(hour: int, minute_and_style: tuple[int, str]) -> None:
    minute, style = minute_and_style
    assert read_german_time(Time(hour, minute, style).german()) == hour % 12 * 60 + minute


@given(st.integers(1, 12), st.integers(1, 31), st.booleans())
def test_dates_name_day_and_month(month: int, day: int, dative: bool) -> None:
    if day > MONTHS[month - 1][2]:
        return
    date = Date(day, month)
    article, ordinal, noun = (date.german_on() if dative else date.german()).split()
    assert (article, noun) == ("am" if dative else "der", MONTHS[month - 1][1])
    assert ordinal == german_ordinal(day, "en" if dative else "e")


# --- the translation corpus -----------------------------------------------------------------------


def translation(corpora: Path, split: str) -> list[tuple[str, str]]:
    english = lines_of(corpora, f"translation/{split}.en")
    german = lines_of(corpora, f"translation/{split}.de")
    return list(zip(english, german, strict=True))


def test_translation_counts(corpora: Path) -> None:
    sizes = [len(translation(corpora, split)) for split in SPLITS]
    assert sizes == [15_000, 500, 500]


def test_translation_has_no_sentence_twice(corpora: Path) -> None:
    for side in (0, 1):
        texts = [pair[side] for split in SPLITS for pair in translation(corpora, split)]
        assert [text for text, times in Counter(texts).items() if times > 1] == []


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_values_are_not_in_training(seed: int) -> None:
    groups = {split: {pair.group for pair in pairs} for split, pairs in number_pairs(seed).items()}
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert groups[one].isdisjoint(groups[other])


def test_held_out_numbers_are_in_no_sentence_of_training(corpora: Path) -> None:
    frame = re.compile(r"(?:(?:heute )?ist die Zahl |die Zahl ist |sie (?:zählt|kann) bis )?(.+)")

    def numbers(split: str) -> set[int]:
        found = set()
        for _, german in translation(corpora, split):
            said = frame.fullmatch(german.removesuffix(" zählen"))
            assert said
            try:
                found.add(read_german(said[1]))
            except ValueError:
                continue  # a sentence about something else
        return found

    held_out = numbers("valid") | numbers("test")
    assert len(held_out) > 150
    assert held_out.isdisjoint(numbers("train"))


def test_training_covers_the_words(corpora: Path) -> None:
    def words(split: str) -> set[str]:
        return {word for english, _ in translation(corpora, split) for word in english.split()}

    assert words("valid") | words("test") <= words("train")


def test_translation_conventions(corpora: Path) -> None:
    nouns = set()
    for split in SPLITS:
        for english, german in translation(corpora, split):
            assert re.fullmatch(r"[a-z'-]+( [a-z'-]+)*", english), english
            assert re.fullmatch(r"[A-Za-zÄÖÜäöüß]+( [A-Za-zÄÖÜäöüß]+)*", german), german
            assert not re.search(r"\beins (?:Uhr|Euro|Cent|Million)|\bein Million|sechszig", german)
            nouns.update(re.findall(r"\b[A-ZÄÖÜ]\w*", german))
    assert {"März", "Uhr", "Euro", "Viertel", "Million", "Millionen", "Zug", "Äpfel"} <= nouns
    assert not {"Der", "Am", "Um", "Ein", "Halb"} & nouns


# --- the language-modelling corpus ----------------------------------------------------------------


def paragraphs(corpora: Path, split: str) -> list[str]:
    return lines_of(corpora, f"language_modeling/{split}.txt")


def words(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


def test_language_modeling_counts(corpora: Path) -> None:
    # 65,000 words with their repeated sections, code and tables: about 43,000 are prose, once.
    sizes = {split: words(paragraphs(corpora, split)) for split in SPLITS}
    assert sum(sizes.values()) > 40_000
    for split in ("valid", "test"):
        assert 4_000 <= sizes[split] <= 8_000


def test_language_modeling_has_no_paragraph_twice(corpora: Path) -> None:
    texts = [text for split in SPLITS for text in paragraphs(corpora, split)]
    assert [text for text, times in Counter(texts).items() if times > 1] == []


def test_language_modeling_has_no_debris(corpora: Path) -> None:
    debris = re.compile(r"::=|^>>>|^\W*$|([=*~^-])\1{3}|^[-*] |\+--|\*\*[A-Z]|^(?:def|class) \w+\(")
    for split in SPLITS:
        for text in paragraphs(corpora, split):
            assert text == " ".join(text.split()) != ""
            assert len(text.split()) >= 4, text
            assert not debris.search(text), text


def test_most_paragraphs_are_sentences(corpora: Path) -> None:
    texts = [text for split in SPLITS for text in paragraphs(corpora, split)]
    assert sum(text.rstrip("”)\"'")[-1] in ".:;,!?]" for text in texts) > 0.95 * len(texts)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_held_out_topics_are_whole(seed: int) -> None:
    splits = language_reference_splits(seed)
    for split in ("valid", "test"):
        assert len(splits[split]) >= 3
        for topic, kept in splits[split].items():
            assert kept == list(dict.fromkeys(prose_paragraphs(TOPICS[topic])))
            assert words(kept) >= 300
    assert list(splits["train"]) == [topic for topic in TOPICS if topic in splits["train"]]


def test_prose_is_told_from_markup_and_code() -> None:
    topic = """The "with" statement
********************

The *with* statement is used to wrap
the execution of a "block = 1" with methods of a post-
mortem manager:

   with_stmt ::= "with" item

   with EXPRESSION as TARGET:
       SUITE

======================================================================

* The first item of the list
  goes over two lines.

* The second is
  the last of them.

+-----------+-------------------------------+
| Operation | What is the result of it all? |
+-----------+-------------------------------+

str.count(sub[, start])

   Return the number of occurrences.

   >>> "this is the sum of it".count("s")
   3

"__name__"
   The name of the class.
"""
    assert prose_paragraphs(topic) == [
        'The with statement is used to wrap the execution of a "block = 1" with methods of a'
        " post-mortem manager:",
        "The first item of the list goes over two lines.",
        "The second is the last of them.",
        "Return the number of occurrences.",
        "The name of the class.",
    ]


# --- the command ----------------------------------------------------------------------------------


def test_two_runs_write_the_same_bytes(corpora: Path, tmp_path: Path) -> None:
    assert run(tmp_path, hash_seed="1").returncode == 0
    assert contents(tmp_path) == contents(corpora)


def test_another_seed_writes_other_bytes(corpora: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "--seed", 7).returncode == 0
    first, other = contents(corpora), contents(tmp_path)
    assert sorted(first) == sorted(other)
    assert [name for name in first if first[name] == other[name]] == []


def test_the_files(corpora: Path) -> None:
    assert sorted(contents(corpora)) == sorted(
        [f"language_modeling/{split}.txt" for split in SPLITS]
        + [f"translation/{split}.{language}" for split in SPLITS for language in ("en", "de")]
    )


@pytest.mark.parametrize("corpus", ["language_modeling", "translation"])
def test_only_one_corpus(corpus: str, tmp_path: Path) -> None:
    result = run(tmp_path, "--only", corpus)
    assert [path.name for path in tmp_path.iterdir()] == [corpus]
    table = result.stdout.splitlines()
    assert table[0].split()[0] == corpus
    assert [line.split()[0] for line in table[1:]] == list(SPLITS)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["OUT", "--only", "speech"], ("--only", "speech")),
        (["OUT", "--seed", "-1"], ("--seed", -1)),
        (["OUT", "--seed", "x"], ("--seed", " x")),
        ([], ("OUT_DIR",)),
        (["a_file"], ("a_file",)),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], named: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("")
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("make_toy_corpora.py: ")
    assert_names(result.stderr, *named)
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "OUT").exists()


def test_a_failed_write_leaves_no_half_file(tmp_path: Path) -> None:
    from make_toy_corpora import write_lines

    def interrupted():
        yield "first"
        raise KeyboardInterrupt

    target = tmp_path / "train.txt"
    write_lines(target, ["old"])
    with pytest.raises(KeyboardInterrupt):
        write_lines(target, interrupted())
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]
    assert target.read_text() == "old\n"
