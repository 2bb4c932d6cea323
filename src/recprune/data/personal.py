"""Personal attributes, guessed by a column's name and by what it holds, to be confirmed or denied."""

from __future__ import annotations

import re

import polars as pl

from recprune.data.identifiers import identifier_of
from recprune.data.quality import Finding

__all__ = ["guess_sensitive", "sensitive_guess", "words_of"]

PERSONAL = frozenset(
    {
        "age",
        "ages",
        "birth",
        "birthdate",
        "birthday",
        "birthyear",
        "born",
        "children",
        "citizenship",
        "disability",
        "dob",
        "ethnic",
        "ethnicity",
        "gender",
        "income",
        "kids",
        "marital",
        "married",
        "nationality",
        "pregnant",
        "race",
        "religion",
        "salary",
        "sex",
        "wage",
        "yob",
    }
)
#: Words that a product's, an account's or a page's age goes by too.
AGES = frozenset({"age", "ages"})
OLDEST = 130
#: Words of columns that say where a person lives, if their values are places.
PLACES = frozenset({"address", "addr", "street", "postcode", "postal", "zip", "zipcode"})
#: Addresses that are no one's home.
OTHER_ADDRESSES = frozenset({"ip", "mac", "url", "web", "wallet", "memory", "email", "mail"})
PHONES = frozenset({"phone", "telephone", "tel", "mobile", "cell", "cellphone", "fax", "msisdn"})
REACH = {
    **dict.fromkeys(("lat", "latitude"), 90.0),
    **dict.fromkeys(("lon", "lng", "longitude"), 180.0),
}
#: What a column with no telling name holds, by all of its few values: those that tell, of which
#: two must be there, and those that may be there too.
FEW_VALUES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "genders": (
        frozenset({"male", "female", "man", "woman", "men", "women", "m", "f", "w"}),
        frozenset({"diverse", "d", "x", "u", "nonbinary", "non-binary"}),
    ),
    "marital states": (
        frozenset({"single", "married", "divorced", "widowed", "separated", "never married"}),
        frozenset({"engaged", "cohabiting", "partnered"}),
    ),
    "religions": (
        frozenset({"christian", "muslim", "hindu", "buddhist", "jewish", "sikh", "atheist"}),
        frozenset({"catholic", "protestant", "orthodox", "none"}),
    ),
}
OPEN = frozenset({"", "other", "unknown", "n/a", "na", "?", "prefer not to say", "undisclosed"})

#: Different values that are looked at; from so few on, form is no chance.
SAMPLE, LEAST = 1000, 10
#: Share of values that must fit a strict form, and one that hardly fits by chance.
MOST, HALF = 0.9, 0.5
POINT = r"^\s*\(?-?\d{1,2}\.\d{3,}\s*[,; ]\s*-?\d{1,3}\.\d{3,}\)?\s*$"
STREET = (
    r"(?i)^\s*\d+\w?\s+\S.*\b(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd)\b"
    r"|(?:straße|strasse|str\.)\s*\d+"
)
NETWORK = r"^\s*(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\s*$"
DIGITS = r"^\s*\+?[\d\s().-]{7,24}$"


def guess_sensitive(name: str) -> bool:
    """Tell whether a column's name names a personal attribute.

    >>> [guess_sensitive(n) for n in ("age_group", "maritalStatus", "has_children", "page", "wages")]
    [True, True, True, False, False]
    """
    return bool(words_of(name) & PERSONAL)


def sensitive_guess(series: pl.Series) -> Finding | None:
    """Return the finding of a column that is taken for a personal attribute; None for others.

    By its values (addresses, coordinates, genders, marital states, religions, e-mail addresses,
    phone and card numbers), or by a word in its name (age, gender, income, birth, …); numbers that
    a name calls ages must be those of people, 0 to 130.

    Args:
        series: a column as read: text, numbers, dates or flags.

    >>> sensitive_guess(pl.Series("a7", ["male", "female"] * 20)).message
    "'a7' holds genders, by its values."
    >>> sensitive_guess(pl.Series("age", [900, 1])) is None
    True
    """
    name, words = series.name, words_of(series.name)
    told = _by_values(series, words)
    if told is None and (words & (PERSONAL - AGES) or (words & AGES and _ages(series))):
        told = f"is personal, by the word {min(words & PERSONAL)!r} in its name"
    if told is None:
        return None
    action = "taken as personal; say sensitive = true or false for it in the schema"
    rows = len(series) - series.null_count()
    return Finding("sensitive_guess", name, "warning", rows, action, f"{name!r} {told}.")


def _by_values(series: pl.Series, words: set[str]) -> str | None:
    identifier = identifier_of(series)
    if identifier is not None:
        return f"holds {identifier}, by its values"
    values = _texts(series)
    if values is None or not len(values):
        return _coordinate(series, words)
    if len(values) < LEAST:
        return _few(values)
    forms = {
        "coordinates": (POINT, MOST),
        "addresses": (STREET, HALF),
        "network addresses": (NETWORK, MOST),
    }
    for what, (form, least) in forms.items():
        if _share(values, form) >= least:
            return f"holds {what}, by its values"
    if words & PHONES and _share(values, DIGITS) >= MOST:
        return "holds phone numbers, by its name and values"
    if words & PLACES and not words & OTHER_ADDRESSES and _share(values, r"\d") >= HALF:
        return "holds addresses, by its name and values"
    return None


def _few(values: pl.Series) -> str | None:
    folded = {v.strip().lower().replace("_", " ") for v in values.to_list()}
    for what, (telling, allowed) in FEW_VALUES.items():
        if folded <= telling | allowed | OPEN and len(folded & telling) > 1:
            return f"holds {what}, by its values"
    return None


def _coordinate(series: pl.Series, words: set[str]) -> str | None:
    """Tell numbers named as latitude or longitude that are in range and have fractions."""
    reach = next((REACH[w] for w in sorted(words & set(REACH))), None)
    if reach is None or not series.dtype.is_float():
        return None
    x = series.drop_nulls()
    if len(x) and (x.abs() <= reach).all() and float((x != x.round()).sum()) >= HALF * len(x):
        return "holds coordinates, by its name and values"
    return None


def _ages(series: pl.Series) -> bool:
    """Tell whether numbers can be ages of people, 99 in a hundred of them (−1 = not known)."""
    if not series.dtype.is_numeric():
        return True
    known = series.cast(pl.Float64).drop_nulls()
    return float(known.is_between(-1, OLDEST).sum()) >= 0.99 * len(known)


def words_of(name: str) -> set[str]:
    """Return the words of a column's name, in small letters.

    >>> sorted(words_of("lastOrder_DOB"))
    ['dob', 'last', 'order']
    """
    return {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _texts(series: pl.Series) -> pl.Series | None:
    """Return some different values as text; None for dates, flags and numbers with fractions."""
    some = series.gather_every(max(1, len(series) // (20 * SAMPLE))).drop_nulls()
    if not (some.dtype.is_integer() or some.dtype == pl.String):
        return None
    return some.unique(maintain_order=True).head(SAMPLE).cast(pl.String)


def _share(values: pl.Series, form: str) -> float:
    return float(values.str.contains(form).sum()) / len(values)
