"""How numbers are written on the page: a claim's value, its aim, and the figures behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["absolute", "aim_text", "value_text"]

#: Differences, which have a sign.
SIGNED = ("AUC", "auc difference", "difference")
SIGNS = {">=": "≥", "<=": "≤", "==": "="}
#: Larger units, each with how many of the smaller it is.
SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))


def value_text(value: float, unit: str) -> str:
    """Return a claim's value.

    >>> value_text(10.91, "ratio"), value_text(0.9755, "share"), value_text(-0.0013, "AUC")
    ('10.9×', '97.5 %', '−0.0013')
    """
    if unit == "ratio":
        # Near one, which side of it counts.
        return f"{value:.4f}×" if 0 < abs(value - 1) < 0.01 else f"{_digits(value)}×"
    if unit in SIGNED:
        return f"{value:+.4f}".replace("-", "−")
    return figure(value, unit)


def figure(value: float, unit: str) -> str:
    """Return an absolute figure.

    >>> figure(0.0058, "s"), figure(259_123, "rows/s"), figure(167_900_000, "bytes")
    ('5.8 ms', '259,000 rows/s', '168 MB')
    """
    if unit == "share":
        return f"{_digits(100 * value)} %"
    if unit in ("s", "seconds", "bytes"):
        sizes = BYTES if unit == "bytes" else SECONDS
        name, size = next((one for one in sizes if abs(value) >= one[1]), sizes[-1])
        return f"{_digits(value / size)} {name}"
    if unit in ("AUC", "difference", "") and not float(value).is_integer():
        return f"{value:.4f}".replace("-", "−")
    if unit == "×":
        return f"{_digits(value)}×"
    plain = "" if unit in ("", "of 1", "AUC", "difference", "correlation", "weight") else f" {unit}"
    return f"{_digits(value)}{plain}"


def aim_text(aim: str, unit: str) -> str:
    """Return an aim as it is read.

    >>> aim_text(">= 5", "ratio"), aim_text("at least minus one standard error", "AUC")
    ('≥ 5×', 'at least minus one standard error')
    """
    sign, _, number = aim.partition(" ")
    return f"{SIGNS[sign]} {value_text(float(number), unit)}" if sign in SIGNS else aim


def absolute(shows: Sequence[tuple[str, str, str]], detail: Mapping[str, Any]) -> str:
    """Return the figures that stand behind a claim; those that its detail lacks are left out."""
    told = []
    for label, path, unit in shows:
        for name, value in _found(detail, path.split("/")):
            said = " ".join(filter(None, (label, name))) if name != label else label
            told.append(f"{said} {figure(value, unit)}".strip())
    return ", ".join(told)


def _found(at: Any, path: Sequence[str]) -> list[tuple[str, float]]:
    """Return what a path leads to: a number, with the names that its stars stand for."""
    if not path:
        number = isinstance(at, int | float) and not isinstance(at, bool)
        return [("", float(at))] if number else []
    step, rest = path[0], path[1:]
    if isinstance(at, Sequence) and not isinstance(at, str):
        return [pair for one in at for pair in _found(one, rest)] if step == "*" else []
    if not isinstance(at, Mapping):
        return []
    if "*" not in step:
        return _found(at.get(step), rest)
    return [
        (" ".join(filter(None, (str(key).replace("_", " "), name))), value)
        for key, one in at.items()
        if fnmatchcase(str(key), step)
        for name, value in _found(one, rest)
    ]


def _digits(value: float) -> str:
    """Return a number by three digits, whole ones and their thousands in full.

    >>> _digits(1234567), _digits(0.5), _digits(1.5e-7), _digits(10.0)
    ('1,230,000', '0.5', '1.5e-7', '10')
    """
    if 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{abs(value):.2g}".split("e") if abs(value) < 1e-4 else ("", "")
        text = f"{mantissa}e{int(exponent)}" if exponent else f"{abs(value):.2g}"
        return f"−{text}" if value < 0 else text
    text = f"{float(f'{value:.3g}'):,.4f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")
