"""Numbers in words: English and German cardinals, ordinals and years.

The grammar choices, which are the corpus's conventions as well as correct usage:

- English is American and unpunctuated but for the hyphen of ``twenty-one``: ``four hundred
  twenty-one``, without ``and``.
- German says the units before the tens (``einundzwanzig``), writes everything below a million as
  one word, and always names the leading one: ``einhundert``, ``eintausend`` (``hundert`` and
  ``tausend`` are as good, but a corpus should not have both). ``Million`` is a noun: feminine,
  capitalised, apart, with a plural (``eine Million``, ``zwei Millionen eins``).
- A final one is ``eins`` when counting (``einhunderteins``), ``ein`` inside a word
  (``einundzwanzig``, ``einhunderteintausend``) and ``eine`` before ``Millionen``
  (``einhunderteine Millionen``, as Unicode's number-spelling rules for German have it).
- Years from 1100 to 1999 are counted in hundreds (``neunzehnhundertvierundachtzig``), later ones
  as cardinals (``zweitausendvierundzwanzig``); English pairs the digits (``nineteen eighty-four``,
  ``nineteen oh five``, ``twenty twenty-four``) except from 2000 to 2009 (``two thousand four``).
"""

MAX_CARDINAL = 999_999_999

_EN_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
_EN_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_EN_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}

_DE_SMALL = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn"
    " fünfzehn sechzehn siebzehn achtzehn neunzehn"
).split()
_DE_TENS = "- - zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
_DE_ORDINAL_STEMS = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}


def _check(value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"can say {lowest} to {highest}, but not {value}")


def _english_below_1000(value: int) -> str:
    words = []
    if value >= 100:
        words += [_EN_SMALL[value // 100], "hundred"]
    rest = value % 100
    if rest >= 20:
        words.append(_EN_TENS[rest // 10] + (f"-{_EN_SMALL[rest % 10]}" if rest % 10 else ""))
    elif rest:
        words.append(_EN_SMALL[rest])
    return " ".join(words)


def english_cardinal(value: int) -> str:
    """Return ``value`` (0 to 999,999,999) in English words: ``four hundred twenty-one``."""
    _check(value, 0, MAX_CARDINAL)
    parts = []
    for scale, name in ((1_000_000, " million"), (1_000, " thousand"), (1, "")):
        group = value // scale % 1000
        if group:
            parts.append(_english_below_1000(group) + name)
    return " ".join(parts) or "zero"


def english_ordinal(value: int) -> str:
    """Return ``value`` (1 to 999,999) as an English ordinal: ``twenty-first``."""
    _check(value, 1, 999_999)
    # Only the last word changes, and of a hyphenated pair only its second half.
    head, separator, last = english_cardinal(value).rpartition(
        "-" if value % 10 and value % 100 > 20 else " "
    )
    if last in _EN_ORDINALS:
        last = _EN_ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return head + separator + last


def english_year(year: int) -> str:
    """Return a year (1100 to 2099) as it is read aloud: ``nineteen oh five``."""
    _check(year, 1100, 2099)
    if 2000 <= year <= 2009:
        return english_cardinal(year)
    century, rest = divmod(year, 100)
    if rest == 0:
        tail = "hundred"
    elif rest < 10:
        tail = f"oh {_EN_SMALL[rest]}"
    else:
        tail = english_cardinal(rest)
    return f"{english_cardinal(century)} {tail}"


def _german_below_100(value: int, one: str) -> str:
    if value == 1:
        return one
    if value < 20:
        return _DE_SMALL[value]
    units = value % 10
    unit = "ein" if units == 1 else _DE_SMALL[units]
    return (f"{unit}und" if units else "") + _DE_TENS[value // 10]


def _german_below_1000(value: int, one: str) -> str:
    """``one`` is the form of a final one, which depends on what follows the number."""
    hundreds, rest = divmod(value, 100)
    # No other digit changes before "hundert"; only one does, from "eins" to "ein".
    head = f"{_german_below_100(hundreds, 'ein')}hundert" if hundreds else ""
    return head + (_german_below_100(rest, one) if rest else "")


def _german_below_million(value: int, one: str) -> str:
    thousands, rest = divmod(value, 1000)
    head = f"{_german_below_1000(thousands, 'ein')}tausend" if thousands else ""
    return head + (_german_below_1000(rest, one) if rest else "")


def german_cardinal(value: int) -> str:
    """Return ``value`` (0 to 999,999,999) in German words: ``vierhunderteinundzwanzig``."""
    _check(value, 0, MAX_CARDINAL)
    if value == 0:
        return "null"
    millions, rest = divmod(value, 1_000_000)
    parts = []
    if millions:
        noun = "Million" if millions == 1 else "Millionen"
        parts.append(f"{_german_below_1000(millions, 'eine')} {noun}")
    if rest:
        parts.append(_german_below_million(rest, "eins"))
    return " ".join(parts)


def german_count(value: int, one: str) -> str:
    """Return ``value`` before a noun, where a lone one is ``one`` (``ein``, ``eine``, ``einer``).

    Raises:
        ValueError: the number ends in a one after hundreds (101, 1001). Usage before a noun is
            divided there (``hunderteine Seiten``, ``hundertundeine Seite``), so we do not say it.
    """
    if value == 1:
        return one
    if not countable(value):
        raise ValueError(f"German usage is divided on {value} before a noun")
    return german_cardinal(value)


def countable(value: int) -> bool:
    """Whether :func:`german_count` can say ``value`` before a noun."""
    return value == 1 or value % 100 != 1


def german_ordinal(value: int, ending: str) -> str:
    """Return ``value`` (1 to 999,999) as a German ordinal with an adjective ``ending``.

    ``e`` is the nominative after an article (``der erste``), ``en`` the dative (``am ersten``).
    The stem adds ``-t`` up to 19 and ``-st`` from 20, by the last two digits: ``neunzehnte``,
    ``zwanzigste``, ``einhundertneunzehnte``, ``einhundertste``.
    """
    _check(value, 1, 999_999)
    last = value % 100
    if 1 <= last <= 19:
        head = _german_below_million(value - last, "")
        stem = head + _DE_ORDINAL_STEMS.get(last, f"{_DE_SMALL[last]}t")
    else:
        stem = f"{german_cardinal(value)}st"
    return stem + ending


def german_year(year: int) -> str:
    """Return a year (1100 to 2099) in German: ``neunzehnhundertvierundachtzig``."""
    _check(year, 1100, 2099)
    if year >= 2000:
        return german_cardinal(year)
    century, rest = divmod(year, 100)
    return f"{_DE_SMALL[century]}hundert" + (_german_below_100(rest, "eins") if rest else "")
