"""The page's section on the data: what was found, in words, with what was done."""

from __future__ import annotations

import pytest

from recprune.report import render_page
from recprune.report.findings import findings_section

FINDING = {
    "kind": "leak_suspect",
    "column": "<b>after</b>",
    "severity": "warning",
    "rows": 12_330,
    "message": "'after' may be known only after <the> label.",
    "action": "used as it is",
}


def test_words_from_the_table_are_escaped(make_report, made) -> None:
    report = make_report()
    report["findings"].append(FINDING)
    page = render_page(report, made)
    assert "may be known only after &lt;the&gt; label." in page
    assert "&lt;b&gt;after&lt;/b&gt;" in page
    assert "<b>after" not in page


def test_notes_stand_behind_the_warnings() -> None:
    note = {**FINDING, "severity": "info", "column": ""}
    section = findings_section({"findings": [note, FINDING, note]})
    assert [(len(t.rows), t.folded) for t in section.tables] == [(1, False), (2, True)]
    assert section.tables[1].rows[0][0] == "whole table"
    assert "12,330" in section.tables[0].rows[0]
    assert [t.folded for t in findings_section({"findings": [note]}).tables] == [False]


@pytest.mark.parametrize("report", [{}, {"findings": []}, {"findings": None}])
def test_without_findings_there_is_no_table(report) -> None:
    assert findings_section(report).empty


def test_a_finding_of_an_older_run_has_no_message() -> None:
    old = {k: v for k, v in FINDING.items() if k != "message"}
    (table,) = findings_section({"findings": [old]}).tables
    assert table.rows[0][-2:] == ("–", "used as it is")
