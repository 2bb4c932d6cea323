"""Columns that name a person directly are not learnt from unless the user says so."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import polars as pl

from recprune.data.disk_frame import Frame
from recprune.data.quality import Finding
from recprune.errors import DataError

__all__ = ["identifier_findings", "identifier_of", "refuse_identifiers"]

SAMPLE = 1000
#: Fewer different values are categories, such as the shop's own three addresses.
LEAST_VALUES = 10
#: Share of the different values that must have the form. One in ten random numbers passes Luhn.
MOST = 0.9
#: The shortest card number, as a number: smaller ones need no look.
CARD = 10**12
EMAIL = re.compile(r"[^\s@,;]+@[^\s@,;]+\.[A-Za-z]{2,}")
# International (+49 …), North American ((212) 555-0100), or national with a leading zero. Bare
# digits are left alone: counts, ids and seconds since 1970 look the same.
PHONE = re.compile(
    r"\+\d[\d ()./-]{5,20}\d|(1[ .-])?(\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}|0\d{1,4}[ /-]\d{3}[\d -]{2,9}"
)
DIGITS = range(8, 16)


def refuse_identifiers(frame: Frame, allowed: Collection[str]) -> None:
    """Refuse columns of e-mail addresses, phone numbers or card numbers, told by their content.

    Args:
        frame: plain columns, as read.
        allowed: columns with a role, and those that the schema names as fields.

    Raises:
        DataError: names the column, what it holds, and the two ways out; never a value of it.
    """
    for name, what in _identifiers(frame, allowed):
        raise DataError(
            f"Column {name!r} holds {what}, which name a person directly: a model would learn "
            "people by heart and carry the values in its vocabulary. Leave the column out "
            f"(drop={[name]!r}, or --drop {name!r}); or, if it may be used, name it as a field "
            f'in the schema: [fields.{_key(name)}] with kind = "categorical".'
        )


def identifier_findings(frame: Frame, allowed: Collection[str]) -> tuple[Finding, ...]:
    """Return all that :func:`refuse_identifiers` refuses, as errors; the arguments are the same."""
    found = []
    for name, what in _identifiers(frame, allowed):
        message = f"{name!r} holds {what}, which name a person directly."
        action = (
            f"the table is refused; leave it out with --drop {name!r}, or name it in the schema"
        )
        rows = len(frame) - frame[name].null_count()
        found.append(Finding("direct_identifier", name, "error", rows, action, message))
    return tuple(found)


def identifier_of(series: pl.Series) -> str | None:
    """Return what a column holds if it names persons directly, else None.

    E-mail addresses, phone numbers (+, area code or separators: bare digits tell nothing) and card
    numbers (13 to 19 digits with the check digit of ISO/IEC 7812, H. P. Luhn, US patent 2 950 048).
    At least 90 % of the first 1000 values' different ones must have the form, and at least ten.

    >>> identifier_of(pl.Series([f"ann{i}@example.org" for i in range(20)]))
    'e-mail addresses'
    """
    values = _sample(series)
    if len(values) < LEAST_VALUES:
        return None
    for what, fits in (
        ("e-mail addresses", _email),
        ("phone numbers", _phone),
        ("card numbers", _card),
    ):
        if sum(map(fits, values)) >= MOST * len(values):
            return what
    return None


def _identifiers(frame: Frame, allowed: Collection[str]) -> Iterator[tuple[str, str]]:
    for name in frame.columns:
        what = None if name in allowed else identifier_of(frame[name])
        if what is not None:
            yield name, what


def _sample(series: pl.Series) -> list[str]:
    """Return different values as text: none where their type rules an identifier out."""
    head = series.drop_nulls().head(SAMPLE)
    if head.dtype.is_float():
        whole = head.cast(pl.Int64, strict=False)
        if not (whole.cast(head.dtype) == head).all():
            return []
        head = whole.drop_nulls()
    if head.dtype.is_integer():
        if len(head) == 0 or int(head.median()) < CARD:  # type: ignore[arg-type]
            return []
        head = head.cast(pl.String)
    if head.dtype != pl.String:
        return []
    return [value.strip() for value in head.unique(maintain_order=True).to_list()]


def _email(value: str) -> bool:
    return EMAIL.fullmatch(value) is not None


def _phone(value: str) -> bool:
    return PHONE.fullmatch(value) is not None and sum(c.isdigit() for c in value) in DIGITS


def _card(value: str) -> bool:
    digits = re.sub(r"[ -]", "", value)
    if not re.fullmatch(r"[0-9]{13,19}", digits) or digits.startswith("0"):
        return False
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 * (d > 9) for d in doubled) % 10 == 0


def _key(name: str) -> str:
    """Return the name as a key of TOML."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
