"""Amounts of money as people read them. Rounded once, when they become text, half-even to cents; never summed after that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

CENT = Decimal("0.01")
HOURS_PER_MONTH = Decimal(730)
"""As the clouds' own price lists count: 365 days by 12."""
WITHOUT_CENTS = Decimal(100)
"""US dollars a month from which cents are left out."""
_RATE_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A total in US dollars. `whole` False: a part of it has no known price, so it is this much at least."""

    known: Decimal = Decimal(0)
    whole: bool = True

    def __str__(self) -> str:
        """`$43.79`; `≥ $43.79` where a price is not known; `?` where none is."""
        if self.whole:
            return money(self.known)
        return f"≥ {money(self.known)}" if self.known else "?"

    @property
    def rate(self) -> str:
        """The same per hour, as `rate` shows it."""
        if self.whole:
            return rate(self.known)
        return f"≥ {rate(self.known)}" if self.known else "?"

    @property
    def monthly(self) -> str:
        """What this an hour comes to in a month, without cents where they say nothing."""
        month = self.known * HOURS_PER_MONTH
        whole = month.quantize(Decimal(1), ROUND_HALF_EVEN)
        text = money(month) if month < WITHOUT_CENTS else f"${whole:,f}"
        return text if self.whole else f"≥ {text}" if self.known else "?"

    @property
    def exact(self) -> Decimal | None:
        return self.known if self.whole else None


def sum_of(amounts: Iterable[Decimal | None]) -> Sum:
    """The sum of what is known."""
    known, whole = Decimal(0), True
    for amount in amounts:
        if amount is None:
            whole = False
        else:
            known += amount
    return Sum(known=known, whole=whole)


def money(amount: Decimal | None) -> str:
    """`$1,234.50`, `$0.0041` below a cent, or `?` for a price nobody knows."""
    if amount is None:
        return "?"
    # What is not nothing never reads as nothing.
    step = CENT if amount == 0 or abs(amount) >= CENT else Decimal(10) ** (amount.adjusted() - 1)
    text = _unpadded(abs(amount).quantize(step, ROUND_HALF_EVEN))
    return f"−{text}" if amount < 0 else text


def rate(amount: Decimal | None) -> str:
    """An amount per hour, to four digits where cents are fewer: readers multiply it by hours and months. `$1.245`, `$12.40`, `$0.20`."""
    if amount is None or amount == 0:
        return money(amount)
    step = min(CENT, Decimal(10) ** (amount.adjusted() - _RATE_DIGITS + 1))
    return _unpadded(amount.quantize(step, ROUND_HALF_EVEN))


def unit_price(price: Decimal | None, quantity: Decimal, amount: Decimal | None) -> str:
    """A price as its list has it, to four decimals, and more where `quantity` times what is shown were not the amount shown."""
    if price is None or amount is None:
        return money(price)
    for digits in range(4, 9):
        shown = price.quantize(Decimal(10) ** -digits, ROUND_HALF_EVEN)
        if (shown or not price) and money(quantity * shown) == money(amount):
            return _unpadded(shown)
    return _unpadded(price)


def _unpadded(amount: Decimal) -> str:
    """With two decimals at least."""
    text = f"{amount:,f}"
    whole, _, part = text.partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"


def signed(amount: Decimal) -> str:
    """`+$1.00` or `−$6.88`."""
    return money(amount) if amount < 0 else f"+{money(amount)}"


def difference(before: Sum, after: Sum) -> str:
    """`−$6.88, −14 %`; empty where one of them is not wholly known, and `unchanged` where they are equal."""
    if not (before.whole and after.whole):
        return ""
    change = after.known - before.known
    if change == 0:
        return "unchanged"
    if before.known == 0:
        return signed(change)
    percent = (change / before.known * 100).quantize(Decimal(1), ROUND_HALF_EVEN)
    sign = "−" if change < 0 else "+"
    # A change that is not nothing never reads as nothing.
    return f"{signed(change)}, {sign}{abs(percent):,f} %" if percent else f"{signed(change)}, below 1 %"
