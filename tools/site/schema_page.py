"""The reference of ``schema.toml``, from the keys that its reader knows and their docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tools.site.meanings import cell, of_parameters

__all__ = ["render"]

HEAD = """# Schema file

What `--schema schema.toml`, and `schema=` of `Dataset.read` and its like, may state of a table;
written from the code when this site is built. All of it may be left out: what is not stated is
inferred, and options such as `--label` win over the file. An unknown key is an error that names the
nearest one. An example with every kind of field is in [Data in](../data.md#fields).

## The table

| key | meaning |
|---|---|
"""
LABEL = """
## The label

| key | meaning |
|---|---|
"""
NEGATIVES = """
`[negatives]` is a table of:

| key | meaning |
|---|---|
"""
FIELDS = """
## One field: `[fields.NAME]`

| key | meaning |
|---|---|
"""
RULES = """
The following stand under a field, or at the top of the file for all fields; a field's own key wins.

| key | meaning |
|---|---|
"""
DATE = ' Or `"date"`, which is read as its `parts`.'


def render() -> str:
    """Return the page; a key that no docstring tells of is a KeyError."""
    from recprune.data.rules import RULES as ROWS
    from recprune.data.spec import LABELS, PROPERTIES, ROLES
    from recprune.dates import DATE_PARTS

    spec = of_parameters("recprune.data.spec.Spec")
    schema = of_parameters("recprune.schema.Schema")
    rule = of_parameters("recprune.data.labels.LabelRule")
    field = of_parameters("recprune.schema.Field")
    field["kind"] += DATE
    field["parts"] = "Of a date: some of " + ", ".join(f'`"{part}"`' for part in DATE_PARTS) + "."
    labels = {name: rule[name.removeprefix("label_")] for name in LABELS}
    return (
        HEAD
        + _rows([*ROLES, "other_labels", "drop"], {**spec, **schema})
        + LABEL
        + _rows(LABELS, labels)
        + NEGATIVES
        + _rows(None, of_parameters("recprune.data.negatives.Negatives"))
        + FIELDS
        + _rows([*PROPERTIES, "parts"], field)
        + RULES
        + _rows(ROWS, of_parameters("recprune.data.rules.FieldRule"))
    )


def _rows(names: Iterable[str] | None, meanings: Mapping[str, str]) -> str:
    names = meanings if names is None else names
    return "".join(f"| `{name}` | {cell(meanings[name])} |\n" for name in names)
