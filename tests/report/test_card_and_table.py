"""The model card and the terminal's summary."""

from __future__ import annotations

import ast
import io
import re

import pytest
from rich.console import Console

from recprune.report import model_card, summary
from recprune.report.facts import summary_rows


def printed(report, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(summary(report))
    return console.file.getvalue()


def test_the_summary_has_quality_size_speed_and_the_verdict_last(make_report):
    report = make_report()
    text = printed(report)
    assert [r.group for r in summary_rows(report)] == ["Quality"] * 8 + ["Size"] * 3 + ["Speed"] * 2
    for part in ("AUC", "0.7791", "0.7787", "12× smaller", "4.5× faster", "majority rate 0.8000"):
        assert part in text
    assert text.index("Latency, batch of 1,000") < text.index("PASS: AUC −0.0004")


def test_a_narrow_terminal_keeps_every_figure(make_report):
    text = printed(make_report(), width=60)
    assert all(len(line) <= 60 for line in text.splitlines())
    assert "0.7787" in text


def test_names_are_no_terminal_markup(make_report):
    report = make_report()
    report["dataset"]["name"] = "[red]x[/red][/nope] \x1b[31m"
    report["verdict"]["reasons"] = ["[bold]slice[/bold]"]
    text = printed(report)
    assert "[red]x[/red][/nope] [31m" in text
    assert "[bold]slice[/bold]" in text
    assert "\x1b" not in text


def test_a_bare_report_prints_and_has_a_card(bare_report):
    assert "INCONCLUSIVE" in printed(bare_report)
    card = model_card(bare_report)
    assert "None" not in card.replace("None where", "").replace("None of them", "")
    assert card.startswith("# Pruned recommender: a table\n")
    assert printed({})
    assert model_card({})


def test_the_card_says_what_a_user_needs(make_report):
    card = model_card(make_report())
    for heading in (
        "What it is",
        "Intended use",
        "Data",
        "Verdict",
        "Figures",
        "Fields that a request must hold",
        "Fields dropped",
        "Limits",
        "How to load",
    ):
        assert f"\n## {heading}\n" in card
    assert "**PASS: AUC −0.0004" in card
    assert "Personal attributes among them: `age`." in card
    assert "`income`, `kids_count`, `home_ownership`, `marital_status`." in card
    assert 'rp.load("runs/demo")' in card
    assert "Too few rows to decide in these groups: age=19-24." in card


@pytest.mark.parametrize("name", ["x", 'qu"ote', "tick`s ```", "back\\slash", "new\nline"])
def test_the_cards_code_is_python(make_report, name):
    report = make_report()
    report["fields"]["kept"] = [name, "age"]
    card = model_card(report)
    (code,) = re.findall(r"^(?:`{3,})python\n(.*)\n`{3,}$", card, flags=re.DOTALL | re.MULTILINE)
    tree = ast.parse(code)
    keys = [k.value for node in ast.walk(tree) if isinstance(node, ast.Dict) for k in node.keys]
    assert keys == [name.replace("\n", " "), "age"]


def test_no_value_becomes_markup_in_the_card(make_report):
    report = make_report()
    bad = "x\n# Heading\n<script>alert(1)</script> [a](http://e.x) | `b`"
    report["dataset"]["name"] = bad
    report["verdict"]["reasons"] = [bad]
    report["fields"]["dropped"] = [bad]
    card = model_card(report)
    outside = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", card)
    assert not re.search(r"^# Heading", card, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)<script", outside)
    assert not re.search(r"(?<!\\)\[a", outside)
