"""Small sentences around numbers, dates, times and prices: the words and the word order.

English is lower case and unpunctuated. German capitalises nouns and only them, and keeps to these
rules, which are what a model has to learn beyond the numbers:

- the finite verb is second: whatever stands in front, the subject follows the verb (``morgen fährt
  der Zug um halb acht``);
- separable prefixes, infinitives and participles go to the end (``der Zug kommt um ein Uhr an``,
  ``wir werden uns morgen treffen``, ``das Haus wurde neunzehnhundert gebaut``);
- time stands before the object (``ich kaufe morgen drei Bücher``), a reflexive before both;
- one is declined by gender and case (``einen Hund``, ``eine Katze``, ``in einer Stunde``), and a
  plural dative ends in ``n`` (``in drei Tagen``).
"""

from dataclasses import dataclass

from spoken_numbers import (
    countable,
    english_cardinal,
    english_ordinal,
    german_count,
    german_ordinal,
)
from spoken_prices import EIN


def german_clause(subject: str, verb: str, *rest: str, front: str = "") -> str:
    """Return a German main clause with its finite verb second; empty parts are left out."""
    opening = (front, verb, subject) if front else (subject, verb)
    return " ".join(part for part in (*opening, *rest) if part)


@dataclass(frozen=True)
class Event:
    """A subject and what it does at some time, in the present and with ``will``.

    ``prefix`` is a separable verb's prefix, which ``de_infinitive`` includes, or another word that
    closes the clause. ``reflexive`` follows the verb and the subject.
    """

    subject: tuple[str, str]
    present: tuple[str, str]
    infinitive: tuple[str, str]
    prefix: str = ""
    reflexive: str = ""

    def english(self, will: bool, when: str, front: str = "") -> str:
        """``tomorrow the train leaves at half past seven``."""
        verb = f"will {self.infinitive[0]}" if will else self.present[0]
        return " ".join(part for part in (front, self.subject[0], verb, when) if part)

    def german(self, will: bool, when: str, front: str = "") -> str:
        """``morgen fährt der Zug um halb acht``."""
        subject = self.subject[1]
        # The only plural subjects here are "wir" and "die ...n", which share the form "werden".
        plural = self.present[1].endswith("en")
        finite = ("werden" if plural else "wird") if will else self.present[1]
        last = self.infinitive[1] if will else self.prefix
        return german_clause(subject, finite, self.reflexive, when, last, front=front)


EVENTS = (
    Event(("the train", "der Zug"), ("leaves", "fährt"), ("leave", "fahren")),
    Event(("the train", "der Zug"), ("arrives", "kommt"), ("arrive", "ankommen"), "an"),
    Event(("the bus", "der Bus"), ("leaves", "fährt"), ("leave", "fahren")),
    Event(("the plane", "das Flugzeug"), ("lands", "landet"), ("land", "landen")),
    Event(("the ship", "das Schiff"), ("departs", "legt"), ("depart", "ablegen"), "ab"),
    Event(("the film", "der Film"), ("begins", "beginnt"), ("begin", "beginnen")),
    Event(("the film", "der Film"), ("starts", "fängt"), ("start", "anfangen"), "an"),
    Event(("the meeting", "die Sitzung"), ("ends", "endet"), ("end", "enden")),
    Event(("the shop", "der Laden"), ("opens", "öffnet"), ("open", "öffnen")),
    Event(("the museum", "das Museum"), ("closes", "schließt"), ("close", "schließen")),
    Event(("the children", "die Kinder"), ("get up", "stehen"), ("get up", "aufstehen"), "auf"),
    Event(("she", "sie"), ("gets up", "steht"), ("get up", "aufstehen"), "auf"),
    Event(("he", "er"), ("comes home", "kommt"), ("come home", "nach Hause kommen"), "nach Hause"),
    Event(("we", "wir"), ("meet", "treffen"), ("meet", "treffen"), reflexive="uns"),
    Event(("we", "wir"), ("eat", "essen"), ("eat", "essen")),
)

# English, German; all may stand in front or after the verb.
ADVERBS = (
    ("today", "heute"),
    ("tomorrow", "morgen"),
    ("the day after tomorrow", "übermorgen"),
    ("every day", "jeden Tag"),
    ("next week", "nächste Woche"),
)


@dataclass(frozen=True)
class Noun:
    """A noun to count: English singular and plural, German ones, gender.

    ``dative_plural`` is given where it is used (durations) and differs from the plural.
    """

    english: tuple[str, str]
    german: tuple[str, str]
    gender: str
    dative_plural: str = ""

    def count_english(self, amount: int) -> str:
        """``one dog``, ``three dogs``."""
        return f"{english_cardinal(amount)} {self.english[amount != 1]}"

    def count_accusative(self, amount: int) -> str:
        """``einen Hund``, ``drei Hunde``."""
        return f"{german_count(amount, EIN[self.gender][1])} {self.german[amount != 1]}"

    def count_dative(self, amount: int) -> str:
        """``einem Tag``, ``drei Tagen``."""
        noun = self.german[0] if amount == 1 else self.dative_plural or self.german[1]
        return f"{german_count(amount, 'einer' if self.gender == 'f' else 'einem')} {noun}"


THINGS = (
    Noun(("dog", "dogs"), ("Hund", "Hunde"), "m"),
    Noun(("apple", "apples"), ("Apfel", "Äpfel"), "m"),
    Noun(("chair", "chairs"), ("Stuhl", "Stühle"), "m"),
    Noun(("cat", "cats"), ("Katze", "Katzen"), "f"),
    Noun(("flower", "flowers"), ("Blume", "Blumen"), "f"),
    Noun(("ticket", "tickets"), ("Karte", "Karten"), "f"),
    Noun(("book", "books"), ("Buch", "Bücher"), "n"),
    Noun(("picture", "pictures"), ("Bild", "Bilder"), "n"),
    Noun(("egg", "eggs"), ("Ei", "Eier"), "n"),
)

DURATIONS = (
    Noun(("minute", "minutes"), ("Minute", "Minuten"), "f"),
    Noun(("hour", "hours"), ("Stunde", "Stunden"), "f"),
    Noun(("day", "days"), ("Tag", "Tage"), "m", "Tagen"),
    Noun(("week", "weeks"), ("Woche", "Wochen"), "f"),
    Noun(("month", "months"), ("Monat", "Monate"), "m", "Monaten"),
    Noun(("year", "years"), ("Jahr", "Jahre"), "n", "Jahren"),
)

# Subject and finite verb in English, then in German, and the infinitives for "want to" and "must".
BUYERS = (
    (("i", "ich"), ("buy", "kaufe"), ("want to", "will")),
    (("we", "wir"), ("buy", "kaufen"), ("want to", "wollen")),
    (("she", "sie"), ("buys", "kauft"), ("wants to", "will")),
    (("he", "er"), ("buys", "kauft"), ("must", "muss")),
    (("i", "ich"), ("buy", "kaufe"), ("must", "muss")),
)

# What has a price: English, German nominative, German accusative (for "für").
GOODS = (
    ("the coffee", "der Kaffee", "den Kaffee"),
    ("the ticket", "die Karte", "die Karte"),
    ("the bread", "das Brot", "das Brot"),
    ("the hat", "der Hut", "den Hut"),
    ("the newspaper", "die Zeitung", "die Zeitung"),
    ("the book", "das Buch", "das Buch"),
)

# Passive in the past: English, German subject, German participle.
PAST_EVENTS = (
    ("the bridge was built", "die Brücke", "gebaut"),
    ("the house was sold", "das Haus", "verkauft"),
    ("she was born", "sie", "geboren"),
    ("he was born", "er", "geboren"),
    ("the town was founded", "die Stadt", "gegründet"),
)

# Counted by ordinals: English, German nominative article, German noun, German "in" or "on" it.
RANKED = (
    ("day", "on", "der", "Tag", "am"),
    ("floor", "on", "der", "Stock", "im"),
    ("week", "in", "die", "Woche", "in der"),
    ("row", "in", "die", "Reihe", "in der"),
    ("year", "in", "das", "Jahr", "im"),
    ("book", "in", "das", "Buch", "im"),
)


def ranked(noun: int, rank: int, place: bool) -> tuple[str, str]:
    """``the third floor``, ``der dritte Stock``; as a ``place``, ``im dritten Stock``."""
    english, preposition, article, german, contracted = RANKED[noun]
    words = f"the {english_ordinal(rank)} {english}"
    if place:
        return f"{preposition} {words}", f"{contracted} {german_ordinal(rank, 'en')} {german}"
    return words, f"{article} {german_ordinal(rank, 'e')} {german}"


def in_duration(unit: int, amount: int, past: bool) -> tuple[str, str]:
    """``in three days``, ``in drei Tagen``; in the past ``three days ago``, ``vor drei Tagen``."""
    noun = DURATIONS[unit]
    english = noun.count_english(amount)
    german = noun.count_dative(amount)
    return (f"{english} ago", f"vor {german}") if past else (f"in {english}", f"in {german}")


def purchase(
    buyer: int, thing: int, amount: int, modal: bool, adverb: int | None = None, front: bool = False
) -> tuple[str, str]:
    """``i want to buy three books tomorrow``, ``ich will morgen drei Bücher kaufen``."""
    subject, verb, wish = BUYERS[buyer]
    noun = THINGS[thing]
    when = ADVERBS[adverb] if adverb is not None else ("", "")
    action = f"{wish[0]} buy" if modal else verb[0]
    english = [subject[0], action, noun.count_english(amount)]
    english = [when[0], *english] if front else [*english, when[0]]
    german = german_clause(
        subject[1],
        wish[1] if modal else verb[1],
        "" if front else when[1],
        noun.count_accusative(amount),
        "kaufen" if modal else "",
        front=when[1] if front else "",
    )
    return " ".join(filter(None, english)), german


COUNTABLE_SMALL = tuple(value for value in range(1, 1000) if countable(value))
