"""libsvm and libffm text: a label, then the features that a row has."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recprune.data.source_bytes import read_lines
from recprune.errors import DataError

__all__ = ["read_ffm", "read_libsvm"]

NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
#: The table is dense: wider ones would not fit in memory, nor be pruned field by field.
MOST_COLUMNS = 10_000


def read_libsvm(path: Path) -> pl.DataFrame:
    """Return ``label index:value …`` as numbers: ``label`` and a column ``f<index>`` an index.

    An absent feature is 0. The labels -1 and 1 become 0 and 1. What follows a # is a comment.

    Raises:
        DataError: see :func:`recprune.data.source_bytes.read_utf8`; also a line that is not of
            this form, an index that comes twice in it, and more than 10 000 indices.
    """
    rows, cells = _parse(path, rf"^(?P<name>[0-9]+):(?P<value>{NUMBER})$", "index:value")
    twice = cells.filter(pl.struct("line", "name").is_duplicated()).head(1)
    if len(twice):
        raise DataError(
            f"File {str(path)!r}, line {twice['line'][0]}: index {twice['name'][0]} comes twice. "
            "Remove one."
        )
    cells = cells.with_columns(pl.col("value").cast(pl.Float64))
    wide = _pivot(path, rows, cells, "f")
    return wide.with_columns(pl.all().exclude("label").fill_null(0.0))


def read_ffm(path: Path) -> pl.DataFrame:
    """Return ``label field:index:value …`` as ``label`` and a column ``field<field>`` of indices.

    The indices are text, an absent feature is null, and several indices of one field in a row
    stand side by side with a space between; their values are not kept. Labels and comments are as
    in :func:`read_libsvm`.

    Raises:
        DataError: see :func:`read_libsvm`.
    """
    form = rf"^(?P<name>\w+):(?P<value>\w+):{NUMBER}$"
    rows, cells = _parse(path, form, "field:index:value")
    cells = cells.group_by("line", "name", maintain_order=True).agg(pl.col("value").str.join(" "))
    return _pivot(path, rows, cells, "field")


def _parse(path: Path, form: str, words: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return ``line`` and ``label`` of the rows, and ``line``, ``name``, ``value`` of features."""
    text = pl.col("text").str.replace(r"#.*$", "")
    lines = read_lines(path).with_columns(text.str.extract_all(r"\S+").alias("text"))
    lines = lines.filter(pl.col("text").list.len() > 0)
    rows = lines.select("line", pl.col("text").list.first().alias("label"))
    labels = rows["label"].cast(pl.Float64, strict=False)
    _check(path, rows.filter(labels.is_null()), "the label", "a number such as 0 or 1")
    if set(labels.unique()) == {-1.0, 1.0}:
        labels = labels.clip(0.0)
    cells = lines.select("line", pl.col("text").list.slice(1)).explode("text").drop_nulls()
    cells = cells.with_columns(pl.col("text").str.extract_groups(form).alias("parts"))
    cells = cells.unnest("parts")
    _check(path, cells.filter(pl.col("name").is_null()), "a feature", words)
    if not len(cells):
        raise DataError(f"File {str(path)!r} has no feature in any row. Write them as {words}.")
    return rows.with_columns(labels.alias("label")), cells


def _check(path: Path, bad: pl.DataFrame, what: str, form: str) -> None:
    if len(bad):
        line, got = bad.row(0)[:2]
        raise DataError(
            f"File {str(path)!r}, line {line}: {what} must be {form}. Got {got!r}. Correct or remove "
            "the line."
        )


def _pivot(path: Path, rows: pl.DataFrame, cells: pl.DataFrame, prefix: str) -> pl.DataFrame:
    # Numbers in their own order, then words: 2 before 10.
    order = pl.col("name").cast(pl.Int64, strict=False)
    names = cells.select(pl.col("name").unique()).sort(order, "name", nulls_last=True)["name"]
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"File {str(path)!r} has {len(names)} different features; at most {MOST_COLUMNS} become "
            "columns. Group them into fields and write it as libffm, field:index:value."
        )
    # The prefix comes first: a field may be called "line".
    named = cells.with_columns((prefix + pl.col("name")).alias("name")).pivot(
        "name", index="line", values="value"
    )
    wide = rows.join(named, on="line", how="left").sort("line")
    return wide.select("label", *(prefix + names))
