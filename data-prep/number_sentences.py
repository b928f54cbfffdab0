"""Draw one English-German sentence pair about a number, a date, a time or a price at random."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from carrier_sentences import (
    ADVERBS,
    BUYERS,
    COUNTABLE_SMALL,
    DURATIONS,
    EVENTS,
    GOODS,
    PAST_EVENTS,
    RANKED,
    THINGS,
    german_clause,
    in_duration,
    purchase,
    ranked,
)
from spoken_calendar import DAY_PARTS, MONTHS, SPOKEN_MINUTES, WEEKDAYS, Date, DateRange, Time
from spoken_numbers import countable, english_cardinal, english_year, german_cardinal, german_year
from spoken_prices import CURRENCIES, Price

# Sentences are about the past as often as not, so no year lies far in the future.
LAST_YEAR = 2025


@dataclass(frozen=True)
class Pair:
    """A sentence in both languages and what is held out with it.

    ``value`` is the number, full date or price that the sentence is about: all its sentences share
    a split. It is empty where the values are too few to hold any out (times, days, small counts);
    there the sentence as a whole is held out.
    """

    english: str
    german: str
    value: tuple[object, ...] = ()

    @property
    def group(self) -> tuple[object, ...]:
        """What must not be in two splits."""
        return self.value or ("sentence", self.german)


def _number(rng: random.Random) -> Pair:
    digits = rng.choice((3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 8, 9))
    value = rng.randrange(10 ** (digits - 1), 10**digits)
    if rng.random() < 0.2:  # zeros inside and at the end are rare in uniform draws
        if rng.random() < 0.5:
            value -= value % 10 ** rng.randrange(1, digits)
        else:
            value -= value // 10 % 10 ** rng.randrange(1, digits - 1) * 10
    english, german = english_cardinal(value), german_cardinal(value)
    frame = rng.choice(
        (
            ("{}", "{}"),
            ("{}", "{}"),
            ("{}", "{}"),
            ("the number is {}", "die Zahl ist {}"),
            ("today the number is {}", "heute ist die Zahl {}"),
            ("she counts to {}", "sie zählt bis {}"),
            ("she can count to {}", "sie kann bis {} zählen"),
        )
    )
    return Pair(frame[0].format(english), frame[1].format(german), ("number", value))


def _rank(rng: random.Random) -> Pair:
    rank = rng.randrange(1, 200) if rng.random() < 0.5 else rng.randrange(1, 32)
    return Pair(*ranked(rng.randrange(len(RANKED)), rank, rng.random() < 0.5))


def _random_date(rng: random.Random, with_year: bool) -> Date:
    month = rng.randrange(12)
    year = rng.randrange(1500, LAST_YEAR + 1) if with_year else None
    return Date(rng.randrange(1, MONTHS[month][2] + 1), month + 1, year)


def _date(rng: random.Random) -> Pair:
    date = _random_date(rng, with_year=rng.random() < 0.75)
    value = () if date.year is None else ("date", date)
    past, subject, participle = rng.choice(PAST_EVENTS)
    forms = [(date.english(), date.german()), (f"on {date.english()}", date.german_on())]
    if date.year is None:
        day = rng.choice((("today", "heute"), ("tomorrow", "morgen")))
        forms.append((f"{day[0]} is {date.english()}", f"{day[1]} ist {date.german()}"))
    else:
        when, german = f"on {date.english()}", date.german_on()
        forms.append((f"{past} {when}", german_clause(subject, "wurde", german, participle)))
        forms.append((f"{when} {past}", german_clause(subject, "wurde", participle, front=german)))
    return Pair(*rng.choice(forms), value)


def _date_range(rng: random.Random) -> Pair:
    last = _random_date(rng, with_year=False)
    last = Date(max(2, last.day), last.month)
    days = DateRange(rng.randrange(1, last.day), last)
    place = rng.choice((("the museum", "das Museum"), ("the shop", "der Laden")))
    return Pair(
        f"{place[0]} is closed {days.english()}",
        german_clause(place[1], "ist", days.german(), "geschlossen"),
    )


def _year(rng: random.Random) -> Pair:
    year = rng.randrange(1100, LAST_YEAR + 1)
    past, subject, participle = rng.choice(PAST_EVENTS)
    # German says the bare year without a preposition.
    english, german = rng.choice(
        (
            (f"in the year {english_year(year)}", f"im Jahr {german_year(year)}"),
            (f"in {english_year(year)}", german_year(year)),
        )
    )
    if rng.random() < 0.5:
        return Pair(f"{english} {past}", german_clause(subject, "wurde", participle, front=german))
    return Pair(f"{past} {english}", german_clause(subject, "wurde", german, participle))


def _random_time(rng: random.Random) -> Time:
    style = rng.choice(("spoken", "spoken", "spoken", "minutes", "digital", "digital"))
    minute = rng.randrange(60) if style == "digital" else rng.choice(SPOKEN_MINUTES)
    if rng.random() < 0.3:
        minute = rng.choice((0, 15, 30, 45))
    if rng.random() < 0.25:
        part = rng.randrange(len(DAY_PARTS))
        return Time(rng.choice(DAY_PARTS[part][2]), minute, style, part)
    return Time(rng.randrange(1, 13), minute, style)


def _time(rng: random.Random) -> Pair:
    time = _random_time(rng)
    frame = rng.choice((("it is {}", "es ist {}"), ("at {}", "um {}"), ("{}", "{}")))
    return Pair(frame[0].format(time.english()), frame[1].format(time.german()))


def _random_day(rng: random.Random) -> tuple[str, str]:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(ADVERBS)
    if kind < 0.75:
        english, german = rng.choice(WEEKDAYS)
        return f"on {english}", f"am {german}"
    date = _random_date(rng, with_year=False)
    return f"on {date.english()}", date.german_on()


def _event(rng: random.Random) -> Pair:
    event = rng.choice(EVENTS)
    time = _random_time(rng)
    at = (f"at {time.english()}", f"um {time.german()}")
    day = _random_day(rng)
    will = rng.random() < 0.35
    order = rng.choice(("time", "time first", "day first", "day first", "day and time"))
    if order == "time":
        return Pair(event.english(will, at[0]), event.german(will, at[1]))
    if order == "time first":
        return Pair(event.english(will, "", at[0]), event.german(will, "", at[1]))
    if order == "day first":
        return Pair(event.english(will, at[0], day[0]), event.german(will, at[1], day[1]))
    when = (f"{day[0]} {at[0]}", f"{day[1]} {at[1]}")
    return Pair(event.english(will, when[0]), event.german(will, when[1]))


def _random_price(rng: random.Random) -> Price:
    currency = rng.choice((0, 0, 0, 0, *range(1, len(CURRENCIES))))
    units = rng.choice((1, rng.randrange(2, 13), rng.randrange(2, 101), rng.randrange(100, 10_000)))
    units = units if countable(units) else units + 1
    kind = rng.random()
    if kind < 0.45:
        cents = rng.choice((50, 5 * rng.randrange(2, 20), rng.randrange(10, 100)))
        return Price(units, cents, currency, short=True)
    if kind < 0.6:
        return Price(units, rng.randrange(1, 100), currency)
    return Price(units, 0, currency) if kind < 0.9 else Price(0, rng.randrange(1, 100), currency)


def _price(rng: random.Random) -> Pair:
    price = _random_price(rng)
    goods, nominative, accusative = rng.choice(GOODS)
    english, german = price.english(), price.german(accusative=True)
    front = rng.choice((("today", "heute"), ("now", "jetzt")))
    forms = (
        (english, price.german()),
        (f"{goods} costs {english}", german_clause(nominative, "kostet", german)),
        (f"{front[0]} {goods} costs {english}", f"{front[1]} kostet {nominative} {german}"),
        (f"i pay {english} for {goods}", f"ich bezahle {german} für {accusative}"),
        (f"i must pay {english} for {goods}", f"ich muss {german} für {accusative} bezahlen"),
    )
    large = price.units > 100 or (price.units > 1 and price.hundredths > 0)
    value = (price.units, price.hundredths, price.currency)
    return Pair(*rng.choice(forms), ("price", *value) if large else ())


def _purchase(rng: random.Random) -> Pair:
    amount = rng.choice((1, rng.randrange(2, 100), rng.choice(COUNTABLE_SMALL)))
    adverb = rng.choice((None, *range(len(ADVERBS))))
    front = adverb is not None and rng.random() < 0.5
    buyer, thing = rng.randrange(len(BUYERS)), rng.randrange(len(THINGS))
    return Pair(*purchase(buyer, thing, amount, rng.random() < 0.4, adverb, front))


def _duration(rng: random.Random) -> Pair:
    amount = rng.choice((1, rng.randrange(2, 21), rng.randrange(2, 101)))
    unit, past = rng.randrange(len(DURATIONS)), rng.random() < 0.4
    english, german = in_duration(unit, amount, past)
    if past or rng.random() < 0.3:
        return Pair(english, german)
    event = rng.choice(EVENTS)
    will = rng.random() < 0.35
    return Pair(event.english(will, "", english), event.german(will, "", german))


# How often each kind is drawn. Repeats are not kept, so that kinds with few sentences thin out.
KINDS: tuple[tuple[Callable[[random.Random], Pair], int], ...] = (
    (_number, 26),
    (_rank, 6),
    (_date, 14),
    (_date_range, 4),
    (_year, 6),
    (_time, 6),
    (_event, 16),
    (_price, 14),
    (_purchase, 8),
    (_duration, 6),
)
