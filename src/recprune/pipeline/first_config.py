"""The config to begin with: what a table's columns seem to be, and every setting with its default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recprune.data.bad_rows import BadRows
from recprune.data.check import Checked, check_frame
from recprune.data.erased import Erased
from recprune.data.guessing import Guess, Role, guess_roles
from recprune.data.opening import Opened
from recprune.data.people import stays
from recprune.data.quality import Finding, merged
from recprune.data.table import LEAST_ROWS
from recprune.errors import DataError
from recprune.pipeline.config import RunConfig, toml_value

__all__ = ["Described", "config_text", "describe"]

WIDTH = 98
#: So many columns are listed in the file.
MOST_COLUMNS = 300
ROLES: tuple[Role, ...] = ("label", "user", "item", "time")
#: Where a group of settings begins, and what it is about.
SECTIONS = {
    "label": "Which column is what. Guesses have a reason: look at them.",
    "drop": "What is left out, and what is stated elsewhere",
    "seed": "How the rows are split",
    "model": "The full model",
    "epochs": "Training",
    "tolerance": "What may be lost, and how the small model is found",
    "importance": "Fields",
    "techniques": "What the report shows beside it",
}
#: Findings that may be a reason to leave a column out, in words.
DOUBTS = {
    "leak_suspect": "may be known only after the label",
    "id_like": "is like an id: nearly every row has its own value",
    "duplicate": "equals another column",
    "near_duplicate_column": "tells the same as another column",
    "constant": "has one value in all rows: run makes no field of it",
    "missing": "has no value at all: run makes no field of it",
}


@dataclass(frozen=True, eq=False)
class Described:
    """What a table holds, as :func:`describe` saw it.

    Args:
        name: of the table, as the command names it.
        guesses: role → what was guessed or stated.
        checked: its columns, and what the checks found with these roles.
        settings: those that the guesses and the statements come to.
    """

    name: str
    guesses: Mapping[Role, Guess]
    checked: Checked
    settings: Mapping[str, Any]

    def found(self, *kinds: str) -> list[Finding]:
        """Return the findings of these kinds."""
        return [f for f in self.checked.findings if f.kind in kinds]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        guesses = {
            role: {
                "column": g.column,
                "stated": g.stated,
                "reason": g.reason,
                "candidates": [{"column": n, "reason": why} for n, why in g.candidates],
            }
            for role, g in self.guesses.items()
        }
        return {"guesses": guesses, "settings": dict(self.settings), **self.checked.to_json()}


def describe(
    opened: Opened,
    name: str,
    stated: Mapping[str, Any],
    bad: BadRows,
    erased: Erased | None = None,
) -> Described:
    """Guess the roles of a table's columns and check it with them; trains nothing.

    Args:
        opened: the table, with what was stated of it.
        name: of the table, as the command names it.
        stated: settings that were stated, by name; they are taken as they are.
        bad: has collected the rows that could not be read.
        erased: users whose rows are left out.

    Raises:
        DataError: no columns, fewer than 30 rows, or another reason for which ``run`` would refuse
            the table with these roles. E-mail addresses, phone and card numbers are none: their
            columns are among those to drop.
        ParameterError: a stated setting is wrong.
    """
    if not opened.frame.columns:
        raise DataError(f"Table {name!r} has no columns. Name another one.")
    if (rows := len(opened.frame)) < LEAST_ROWS:
        raise DataError(
            f"Table {name!r} has {rows} row{'s' * (rows != 1)}; at least {LEAST_ROWS} are needed to "
            "split it into train, validation and test rows."
        )
    guesses = guess_roles(opened.frame, opened.spec, opened.from_text)
    label = guesses["label"]
    settings: dict[str, Any] = {
        **{role: guess.column for role, guess in guesses.items()},
        "label_threshold": label.threshold,
        "negatives": "popularity" if label.negatives else None,
        **{k: v for k, v in stated.items() if v is not None},
    }
    settings = {k: v for k, v in settings.items() if v is not None}
    # Of a log of positives that is only guessed to be one, nothing needs to be drawn to check it.
    roles: dict[str, Any] = {role: guesses[role].column for role in ROLES}
    spec = opened.spec.with_roles((), threshold=label.threshold, **roles)
    frame, left_out = stays(opened.frame, spec.user, erased, opened.already)
    how = settings.get("split", "auto"), settings.get("seed", 0)
    checked = check_frame(frame, spec, how, from_text=opened.from_text, kinds=opened.kinds)
    found = merged(opened.findings, left_out, bad.findings(spec.label or ""), checked.findings)
    if refused := [f for f in found if f.kind == "refused"]:
        raise DataError(refused[0].message)
    checked = Checked(checked.rows, checked.label_rate, checked.columns, found)
    persons = [f.column for f in found if f.kind == "direct_identifier"]
    if persons:
        settings["drop"] = tuple(dict.fromkeys((*settings.get("drop", ()), *persons)))
    RunConfig.of(**settings)
    return Described(name, guesses, checked, settings)


def config_text(
    described: Described, helps: Mapping[str, str], elsewhere: Mapping[str, str], command: str
) -> str:
    """Return a TOML that ``--config`` reads: the settings, and all others as comments.

    Args:
        described: the table.
        helps: setting → what it means, as the program's help says it; of others the class says it.
        elsewhere: options that no config holds, and what they mean.
        command: that runs with the file.
    """
    checked = described.checked
    lines = [
        *_comment(
            f"Settings of recprune for {described.name}: {checked.rows:,} rows, "
            f"{len(checked.columns):,} columns."
        ),
        "#",
        _clean(f"#     {command}"),
        "#",
        *_comment(
            "A line of a name and a value after # is the default: take the # away to change it. "
            "Options of the command line win over this file."
        ),
        "",
        "# ---- The columns, as they were read",
        "#",
        *_table(described),
    ]
    for name, field in RunConfig.model_fields.items():
        if name in SECTIONS:
            lines += ["", f"# ---- {SECTIONS[name]}"]
        meaning = helps.get(name) or field.description or ""
        lines += ["", *_comment(" ".join(meaning.replace("``", "").split()))]
        lines += _why(described, name)
        if name in described.settings:
            lines.append(f"{name} = {toml_value(described.settings[name])}")
        else:
            lines.append(f"# {name} = {_default(field.default)}".rstrip())
    lines += ["", "# ---- Options of the command line alone", "#"]
    for option, meaning in elsewhere.items():
        lines += _comment(f"{option}: {meaning}")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    return "" if value is None else toml_value(value)


def _why(described: Described, name: str) -> Iterator[str]:
    """Say where a value comes from, or what may be meant where there is none."""
    if name in ROLES:
        guess = described.guesses[name]
        if not guess.stated:
            none = "Not sure" if guess.candidates else "None found"
            yield from _comment(f"{'Guessed' if guess.column else none}: {guess.reason}.")
        for column, reason in guess.candidates:
            yield from _comment(f"Or {name} = {toml_value(column)}: {reason}.", "  ")
    elif name == "label_threshold" and described.guesses["label"].threshold is not None:
        yield from _comment("Guessed: the upper quarter of the range. Choose what you mean.")
    elif name == "negatives" and described.guesses["label"].negatives:
        yield from _comment(f"Guessed: {described.guesses['label'].reason}.")
    elif name == "drop":
        yield from _to_drop(described)
    elif name == "schema_file":
        yield from _personal(described)


def _to_drop(described: Described) -> Iterator[str]:
    for f in described.found("direct_identifier"):
        yield from _comment(f"{f.message} run refuses such a column.")
    for f in described.found(*DOUBTS):
        said = f"{f.column!r} {DOUBTS[f.kind]}"
        yield from _comment(f"Look at it: {f.message or said + '.'}")


def _personal(described: Described) -> Iterator[str]:
    found = described.found("sensitive_guess")
    if found:
        names = ", ".join(repr(f.column) for f in found)
        yield from _comment(
            f"Taken as personal attributes: {names}. A schema confirms or denies it, as "
            f"[fields.{toml_value(found[0].column)}] with sensitive = true or false."
        )


def _table(described: Described) -> Iterator[str]:
    """List the columns side by side."""
    remarks: dict[str, list[str]] = {}
    words = {**DOUBTS, "direct_identifier": "names persons directly", "sensitive_guess": "personal"}
    for f in described.found(*words):
        remarks.setdefault(f.column, []).append(words[f.kind].partition(":")[0])
    columns = described.checked.columns
    rows: list[Sequence[str]] = [("column", "role", "kind", "missing", "distinct", "")]
    for c in columns[:MOST_COLUMNS]:
        name = toml_value(c["name"])
        facts = (c["role"], c["kind"] or "-", f"{c['missing']:,}", f"{c['distinct']:,}")
        rows.append((name, *facts, "; ".join(remarks.get(c["name"], []))))
    wide = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        names = [cell.ljust(w) for cell, w in zip(row[:3], wide[:3], strict=True)]
        counts = [cell.rjust(w) for cell, w in zip(row[3:5], wide[3:], strict=True)]
        yield _clean("# " + "  ".join([*names, *counts, row[5]]).rstrip())
    if len(columns) > MOST_COLUMNS:
        yield f"# and {len(columns) - MOST_COLUMNS:,} more: recprune check --json lists them"


def _comment(text: str, indent: str = "") -> list[str]:
    """Return lines of a comment."""
    wrapped = textwrap.wrap(
        _clean(text), WIDTH - len(indent), break_long_words=False, break_on_hyphens=False
    )
    return [f"# {indent}{line}" for line in wrapped]


def _clean(text: str) -> str:
    r"""Return text without what TOML refuses in a comment: a column's name may hold anything.

    >>> _clean("a\tb\x00é")
    'a b é'
    """
    return "".join(c if c.isprintable() else " " for c in text)
