"""Numbers and names as people read them. Nothing here knows the report's structure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Container, Sequence

__all__ = [
    "MISSING",
    "aligned",
    "bytes_text",
    "clean",
    "count_text",
    "duration_text",
    "factor_text",
    "finite",
    "interval_text",
    "listed",
    "metric_name",
    "micro_text",
    "number_text",
    "percent_text",
    "shorten",
    "signed_text",
    "slug",
]

MISSING = "–"
_NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "logloss": "Log loss",
    "f1": "F1",
    "mrr": "MRR",
    "map": "MAP",
    "ndcg": "NDCG",
}


def finite(value: object) -> float | None:
    """Return a finite float, or None for anything that is no number (null, NaN, infinity).

    >>> finite(2), finite(float("nan")), finite(None), finite(True)
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def number_text(value: object, digits: int = 4) -> str:
    """Return a plain number with a fixed count of decimals.

    >>> number_text(0.77451), number_text(-0.00001), number_text(None)
    ('0.7745', '0.0000', '–')
    """
    number = finite(value)
    if number is None:
        return MISSING
    text = f"{abs(number):.{digits}f}"
    return "−" + text if number < 0 and float(text) else text


def signed_text(value: object, digits: int = 4) -> str:
    """Return a difference with its sign (a true minus); a rounded zero has none.

    >>> signed_text(-0.00042), signed_text(0.003), signed_text(-1e-9)
    ('−0.0004', '+0.0030', '0.0000')
    """
    number = finite(value)
    if number is None:
        return MISSING
    text = f"{abs(number):.{digits}f}"
    if float(text) == 0:
        return text
    return ("−" if number < 0 else "+") + text


def interval_text(interval: object, digits: int = 4) -> str:
    """Return ``"−0.0011 to +0.0003"`` for a pair of numbers.

    >>> interval_text([-0.0011, 0.0003]), interval_text(None)
    ('−0.0011 to +0.0003', '–')
    """
    if not isinstance(interval, Sequence) or isinstance(interval, str) or len(interval) != 2:
        return MISSING
    low, high = (finite(v) for v in interval)
    if low is None or high is None:
        return MISSING
    return f"{signed_text(low, digits)} to {signed_text(high, digits)}"


def percent_text(value: object, digits: int = 1) -> str:
    """Return a share as per cent.

    >>> percent_text(0.2045)
    '20.4 %'
    """
    number = finite(value)
    return MISSING if number is None else f"{100 * number:.{digits}f} %"


def count_text(value: object) -> str:
    """Return a whole number with thousands separated.

    >>> count_text(1234567)
    '1,234,567'
    """
    number = finite(value)
    return MISSING if number is None else f"{round(number):,}"


def bytes_text(value: object) -> str:
    """Return bytes in decimal units (1 kB = 1,000 bytes) with three figures.

    >>> bytes_text(812), bytes_text(93_400), bytes_text(4_213_000), bytes_text(999_999)
    ('812 B', '93.4 kB', '4.21 MB', '1.00 MB')
    """
    number = finite(value)
    if number is None:
        return MISSING
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    for scale, unit in units:
        if abs(number) >= 0.9995 * scale:
            return f"{_three(number / scale)} {unit}"
    return f"{number:.0f} B"


def micro_text(value: object) -> str:
    """Return microseconds, or milliseconds from 1,000 up.

    >>> micro_text(2.7), micro_text(12_500)
    ('2.70 µs', '12.5 ms')
    """
    number = finite(value)
    if number is None:
        return MISSING
    return f"{_three(number)} µs" if abs(number) < 999.5 else f"{_three(number / 1000)} ms"


def duration_text(seconds: object) -> str:
    """Return a duration in the two largest units that fit.

    >>> duration_text(9.13), duration_text(212.3), duration_text(7300)
    ('9.1 s', '3 min 32 s', '2 h 1 min')
    """
    number = finite(seconds)
    if number is None:
        return MISSING
    if number < 60:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def factor_text(before: object, after: object, *, less: str, more: str) -> str:
    """Return how many times ``after`` is less (or more) than ``before``.

    >>> factor_text(4_000_000, 400_000, less="smaller", more="larger")
    '10× smaller'
    >>> factor_text(100, 120, less="faster", more="slower")
    '1.2× slower'
    """
    a, b = finite(before), finite(after)
    if a is None or b is None or a <= 0 or b <= 0:
        return MISSING
    ratio = max(a / b, b / a)
    text = f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
    if ratio < 10 and float(text) == 1:
        return "unchanged"
    return f"{text}× {less if b < a else more}"


def metric_name(key: str) -> str:
    """Return a metric's name as readers know it.

    >>> metric_name("auc"), metric_name("ndcg@10"), metric_name("recall@10")
    ('AUC', 'NDCG@10', 'Recall@10')
    """
    stem, at, k = key.partition("@")
    known = _NAMES.get(stem) or (stem[:1].upper() + stem[1:]).replace("_", " ")
    return known + at + k


def listed(names: Sequence[str], most: int = 6) -> str:
    """Join names in prose, with a count of those left out.

    >>> listed(["age", "gender", "income"]), listed(["a", "b", "c"], most=2)
    ('age, gender and income', 'a, b and 1 more')
    """
    shown = list(names[:most])
    rest = len(names) - len(shown)
    if rest:
        shown.append(f"{rest:,} more")
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def aligned(rows: Sequence[Sequence[str]], left: Container[int]) -> list[str]:
    """Return a table's lines: cells side by side, columns in ``left`` from the left, others right.

    >>> aligned([("model", "bytes"), ("full", "1,000")], left=(0,))
    ['model  bytes', 'full   1,000']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def clean(text: object) -> str:
    """Return one line of text: control characters and bidirectional overrides are blanked.

    >>> clean("a\\x00b\\n c")
    'a b c'
    """
    kept = ("" if c == "\u00ad" else " " if _unprintable(c) else c for c in str(text))
    return re.sub(r"\s+", " ", "".join(kept)).strip()


def shorten(text: object, most: int = 36) -> str:
    """Return cleaned text of at most ``most`` characters, cut in the middle.

    >>> shorten("department_of_a_very_long_name", 15)
    'departm…ng_name'
    """
    line = clean(text)
    if len(line) <= most:
        return line
    left = most // 2
    return line[:left] + "…" + line[len(line) - (most - left - 1) :]


def slug(text: object) -> str:
    """Return a part of a file name: lower-case ASCII letters, digits and hyphens, or ``""``.

    >>> slug("Home ownership"), slug("../../etc")
    ('home-ownership', 'etc')
    """
    plain = unicodedata.normalize("NFKD", str(text)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")


def _unprintable(character: str) -> bool:
    # Category C is control, format, surrogate, private and unassigned: none is safe in a label.
    return unicodedata.category(character).startswith("C")


def _three(number: float) -> str:
    size = abs(number)
    return f"{number:.2f}" if size < 9.995 else f"{number:.1f}" if size < 99.95 else f"{number:.0f}"
