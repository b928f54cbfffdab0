"""Prices in words, in English and German.

Grammar choices: German currencies take no plural (``zwei Euro``, ``zwei Pfund``) but for the
feminine ``Krone`` and for ``Pence``; one unit is declined by gender and case (``das kostet einen
Euro``). From ten cents on a price may leave its small unit out (``ein Euro fünfzig``).
"""

from dataclasses import dataclass

from spoken_numbers import english_cardinal, german_count

# The indefinite article by gender, in the nominative and the accusative.
EIN = {"m": ("ein", "einen"), "f": ("eine", "eine"), "n": ("ein", "ein")}


@dataclass(frozen=True)
class Unit:
    """A unit of money: its English singular and plural, its German ones, its German gender."""

    english: tuple[str, str]
    german: tuple[str, str]
    gender: str

    def say_english(self, amount: int) -> str:
        """``one euro``, ``two euros``."""
        return f"{english_cardinal(amount)} {self.english[amount != 1]}"

    def say_german(self, amount: int, accusative: bool = False) -> str:
        """``ein Euro``, accusative ``einen Euro``; ``zwei Euro``."""
        count = german_count(amount, EIN[self.gender][accusative])
        return f"{count} {self.german[amount != 1]}"


@dataclass(frozen=True)
class Currency:
    """A currency: its unit and the hundredth of it."""

    unit: Unit
    hundredth: Unit


CURRENCIES = (
    Currency(
        Unit(("euro", "euros"), ("Euro", "Euro"), "m"),
        Unit(("cent", "cents"), ("Cent", "Cent"), "m"),
    ),
    Currency(
        Unit(("dollar", "dollars"), ("Dollar", "Dollar"), "m"),
        Unit(("cent", "cents"), ("Cent", "Cent"), "m"),
    ),
    Currency(
        Unit(("pound", "pounds"), ("Pfund", "Pfund"), "n"),
        Unit(("penny", "pence"), ("Penny", "Pence"), "m"),
    ),
    Currency(
        Unit(("franc", "francs"), ("Franken", "Franken"), "m"),
        Unit(("centime", "centimes"), ("Rappen", "Rappen"), "m"),
    ),
    Currency(
        Unit(("crown", "crowns"), ("Krone", "Kronen"), "f"),
        Unit(("ore", "ore"), ("Öre", "Öre"), "n"),
    ),
)


@dataclass(frozen=True)
class Price:
    """An amount of money; ``short`` leaves the small unit's name out (``one euro fifty``).

    ``currency`` is an index of :data:`CURRENCIES`; one of ``units`` and ``hundredths`` may be 0.
    """

    units: int
    hundredths: int
    currency: int = 0
    short: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.hundredths <= 99 or self.units + self.hundredths == 0:
            raise ValueError(f"no such price: {self.units} and {self.hundredths} hundredths")
        if self.short and (self.units == 0 or self.hundredths < 10):
            raise ValueError(f"{self.units}.{self.hundredths:02} has no short form")

    def english(self) -> str:
        """``one euro fifty``, ``five euros and five cents``, ``twenty cents``."""
        money = CURRENCIES[self.currency]
        if self.hundredths == 0:
            return money.unit.say_english(self.units)
        if self.units == 0:
            return money.hundredth.say_english(self.hundredths)
        units = money.unit.say_english(self.units)
        if self.short:
            return f"{units} {english_cardinal(self.hundredths)}"
        return f"{units} and {money.hundredth.say_english(self.hundredths)}"

    def german(self, accusative: bool = False) -> str:
        """``ein Euro fünfzig``, accusative ``einen Euro fünfzig``; ``fünf Euro und fünf Cent``."""
        money = CURRENCIES[self.currency]
        if self.hundredths == 0:
            return money.unit.say_german(self.units, accusative)
        if self.units == 0:
            return money.hundredth.say_german(self.hundredths, accusative)
        units = money.unit.say_german(self.units, accusative)
        if self.short:
            return f"{units} {german_count(self.hundredths, 'eins')}"
        return f"{units} und {money.hundredth.say_german(self.hundredths, accusative)}"
