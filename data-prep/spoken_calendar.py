"""Dates and times of day in words, in English and German.

Grammar choices:

- Dates are ``the twenty-first of march nineteen eighty-four``, in German ``der einundzwanzigste
  März neunzehnhundertvierundachtzig``; with a preposition the ordinal is in the dative: ``am
  einundzwanzigsten März``, ``vom ersten bis zum dritten Mai``.
- Times follow the twelve-hour clock. A bare hour is ``eins`` (``fünf nach eins``), before ``Uhr``
  it is ``ein`` (``ein Uhr``). The half hour counts towards the next hour (``half past seven``:
  ``halb acht``), and five minutes either side of it are told from it (``fünf vor halb acht``), as
  Germans say it; 21 to 24, 26 to 29 and so on, where usage is divided, are only said digitally.
- ``Viertel`` is a noun here and capitalised; one minute is ``eine Minute``.
"""

from dataclasses import dataclass

from spoken_numbers import (
    english_cardinal,
    english_ordinal,
    english_year,
    german_cardinal,
    german_count,
    german_ordinal,
    german_year,
)

MONTHS = (
    ("january", "Januar", 31),
    ("february", "Februar", 28),
    ("march", "März", 31),
    ("april", "April", 30),
    ("may", "Mai", 31),
    ("june", "Juni", 30),
    ("july", "Juli", 31),
    ("august", "August", 31),
    ("september", "September", 30),
    ("october", "Oktober", 31),
    ("november", "November", 30),
    ("december", "Dezember", 31),
)

WEEKDAYS = (
    ("monday", "Montag"),
    ("tuesday", "Dienstag"),
    ("wednesday", "Mittwoch"),
    ("thursday", "Donnerstag"),
    ("friday", "Freitag"),
    ("saturday", "Samstag"),
    ("sunday", "Sonntag"),
)

# English, German, and the hours that both languages call so.
DAY_PARTS = (
    ("in the morning", "morgens", range(5, 11)),
    ("in the afternoon", "nachmittags", range(1, 5)),
    ("in the evening", "abends", range(6, 11)),
    ("at night", "nachts", range(1, 4)),
)

# The minutes that have a spoken form; any minute has a digital one.
SPOKEN_MINUTES = (*range(21), 25, 30, 35, *range(40, 60))


@dataclass(frozen=True)
class Date:
    """A day of a month (1 to 12), with or without its year."""

    day: int
    month: int
    year: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.month <= 12 or not 1 <= self.day <= MONTHS[self.month - 1][2]:
            raise ValueError(f"no such day: {self.day}. {self.month}.")

    def english(self) -> str:
        """``the twenty-first of march nineteen eighty-four``."""
        words = f"the {english_ordinal(self.day)} of {MONTHS[self.month - 1][0]}"
        return words if self.year is None else f"{words} {english_year(self.year)}"

    def _german(self, article: str, ending: str) -> str:
        words = f"{article} {german_ordinal(self.day, ending)} {MONTHS[self.month - 1][1]}"
        return words if self.year is None else f"{words} {german_year(self.year)}"

    def german(self) -> str:
        """The nominative: ``der einundzwanzigste März neunzehnhundertvierundachtzig``."""
        return self._german("der", "e")

    def german_on(self) -> str:
        """``on the ...``, which is dative: ``am einundzwanzigsten März``."""
        return self._german("am", "en")


@dataclass(frozen=True)
class DateRange:
    """From one day to a later one of the same month."""

    first: int
    last: Date

    def english(self) -> str:
        """``from the first to the third of may``."""
        return f"from the {english_ordinal(self.first)} to {self.last.english()}"

    def german(self) -> str:
        """``vom ersten bis zum dritten Mai``."""
        return f"vom {german_ordinal(self.first, 'en')} bis {self.last._german('zum', 'en')}"


@dataclass(frozen=True)
class Time:
    """A time on the twelve-hour clock: ``hour`` 1 to 12, ``minute`` 0 to 59.

    ``style`` is how it is said: ``spoken`` (``ten to nine``), ``minutes`` (the same with the word:
    ``ten minutes to nine``) or ``digital`` (``eight fifty``). ``part`` is an index of
    :data:`DAY_PARTS`. Where both languages have one way only (full, quarter and half hours),
    ``minutes`` equals ``spoken``.
    """

    hour: int
    minute: int
    style: str = "spoken"
    part: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.hour <= 12 or not 0 <= self.minute <= 59:
            raise ValueError(f"no such time: {self.hour}:{self.minute:02}")
        if self.style != "digital" and self.minute not in SPOKEN_MINUTES:
            raise ValueError(f"{self.hour}:{self.minute:02} is only said digitally")

    @property
    def _next_hour(self) -> int:
        return self.hour % 12 + 1

    def english(self) -> str:
        """``half past seven``, ``seven thirty``, ``seven o'clock in the morning``."""
        words = self._english_digital() if self.style == "digital" else self._english_spoken()
        return words if self.part is None else f"{words} {DAY_PARTS[self.part][0]}"

    def german(self) -> str:
        """``halb acht``, ``sieben Uhr dreißig``, ``sieben Uhr morgens``."""
        digital = self.style == "digital" or self.minute == 0
        words = self._german_digital() if digital else self._german_spoken()
        return words if self.part is None else f"{words} {DAY_PARTS[self.part][1]}"

    def _english_digital(self) -> str:
        hour = english_cardinal(self.hour)
        if self.minute == 0:
            return f"{hour} o'clock"
        return f"{hour} {'oh ' if self.minute < 10 else ''}{english_cardinal(self.minute)}"

    def _english_spoken(self) -> str:
        if self.minute == 0:
            return self._english_digital()
        if self.minute == 30:
            return f"half past {english_cardinal(self.hour)}"
        past = self.minute < 30
        minutes = self.minute if past else 60 - self.minute
        if minutes == 15:
            words = "quarter"
        else:
            words = english_cardinal(minutes)
            # English drops the word only from multiples of five.
            if self.style == "minutes" or minutes % 5:
                words += " minute" if minutes == 1 else " minutes"
        hour = english_cardinal(self.hour if past else self._next_hour)
        return f"{words} {'past' if past else 'to'} {hour}"

    def _german_digital(self) -> str:
        hour = f"{german_count(self.hour, 'ein')} Uhr"
        return f"{hour} {german_cardinal(self.minute)}" if self.minute else hour

    def _german_spoken(self) -> str:
        this_hour, next_hour = german_cardinal(self.hour), german_cardinal(self._next_hour)
        around_half = {25: "fünf vor ", 30: "", 35: "fünf nach "}
        if self.minute in around_half:
            return f"{around_half[self.minute]}halb {next_hour}"
        past = self.minute < 30
        minutes = self.minute if past else 60 - self.minute
        words = "Viertel" if minutes == 15 else german_count(minutes, "eine Minute")
        return f"{words} nach {this_hour}" if past else f"{words} vor {next_hour}"
