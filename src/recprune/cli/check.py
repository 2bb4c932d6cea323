"""``recprune check``: what a person should know about a table before it is believed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from recprune.cli._columns import column_table
from recprune.cli._options import Json, Query, Strict, chosen_negatives, emit
from recprune.cli._records import Stated

if TYPE_CHECKING:
    from rich.console import Group

    from recprune.data.check import Checked

STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def command(
    stated: Stated,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Check a table: leaks, drift, repeats, missing values, and what run will do about them."""
    from recprune.data.check import check_frame, check_table
    from recprune.data.erased import Erased
    from recprune.data.people import stays
    from recprune.data.spec import read_spec
    from recprune.data.sql import read_query

    rows, bad = stated.chosen()
    spec = read_spec(stated.schema).with_roles(
        tuple(stated.drop or ()),
        threshold=stated.label_threshold,
        negatives=chosen_negatives(stated.negatives, stated.negatives_per_positive),
        label=stated.label,
        user=stated.user,
        item=stated.item,
        time=stated.time,
    )
    how, listed = (stated.split or "auto", stated.seed or 0), Erased.by_default()
    if isinstance(rows, Query):
        frame, left_out = stays(read_query(rows.text, rows.url()), spec.user, listed)
        checked = check_frame(frame, spec, how)
        checked = replace(checked, findings=(*left_out, *checked.findings))
    else:
        checked = check_table(rows, spec, bad, how, listed)
    emit(checked.to_json(), as_json, None if as_json else _summary(checked))
    return 2 if strict and not checked.sound else 0


def _summary(checked: Checked) -> Group:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    # Names and values come from the table: as Text, rich reads no mark-up in them.
    counts = Counter(f.severity for f in checked.findings)
    rate = "no label of 0 and 1" if checked.label_rate is None else f"{checked.label_rate:.4f}"
    title = (
        f"{checked.rows:,} rows, {len(checked.columns)} columns, label rate: {rate}. "
        f"Errors: {counts['error']}, warnings: {counts['warning']}, notes: {counts['info']}."
    )
    found = RichTable(title=title, title_justify="left")
    for heading in ("severity", "finding", "what was found, and what run does"):
        found.add_column(heading, overflow="fold")
    for f in checked.findings:
        what = f"{f.kind}\n{f.column or 'whole table'}\nrows: {f.rows:,}"
        said = f"{f.message}\nRun: {f.action}.".lstrip()
        found.add_row(Text(f.severity, style=STYLES[f.severity]), Text(what), Text(said))
    if not checked.findings:
        found.caption = "Nothing was found."
    return Group(found, column_table(checked.columns))
