"""The model card and the terminal's summary."""

from __future__ import annotations

import ast
import io
import re

import pytest
from rich.console import Console

from recprune.report import model_card, summary
from recprune.report.facts import summary_rows
from tests.report.searched import searched


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
        "Budget",
        "What was cut",
        "What was not tested",
        "Limits",
        "How to load",
        "How to reproduce",
    ):
        assert f"\n## {heading}\n" in card
    assert "**PASS: AUC −0.0004" in card
    assert "Personal attributes among them: `age`." in card
    assert "`income`, `kids_count`, `home_ownership`, `marital_status`." in card
    assert 'rp.load("runs/demo")' in card
    assert "Too few rows to decide in these groups: age=19-24." in card


def section(card: str, heading: str) -> str:
    return card.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_card_of_a_search_has_its_budget_and_what_is_left(make_report):
    report = searched(make_report())
    card = model_card(report)
    assert "- Size: 351 kB of at most 421 kB: met" in section(card, "Budget")
    chosen = next(t for t in report["search"]["trials"] if t["chosen"])
    assert f"{chosen['units']['rows']:,} rows" in section(card, "What was cut")
    assert "moves by about 0.0009" in section(card, "What was not tested")
    assert "Trivial models" not in card


def test_the_card_says_what_was_asked_and_what_went(make_report):
    card = model_card(make_report())
    assert "AUC drop on test rows: 0.0004 of at most 0.002: met" in section(card, "Budget")
    cut = section(card, "What was cut")
    assert "- Fields: 7 of 19." in cut
    assert "- Bytes: 4.21 MB before, 351 kB now." in cut
    assert "Trivial models of the same bytes." in section(card, "What was not tested")
    assert "- Label: `purchased`" in section(card, "Data")
    assert "2 findings, 1 of them warnings or errors" in section(card, "Data")
    again = section(card, "How to reproduce")
    assert "- Seed: 0\n" in again
    assert "- Command: `recprune demo -o runs/demo`" in again


def test_what_was_not_measured_is_not_tested(make_report):
    whole = section(model_card(make_report()), "What was not tested")
    assert "no group with another" in whole
    assert "Latency on other machines" in whole
    assert "no catalogue" not in whole
    for bare in ({}, make_report(pruned={}, full={}, verdict={"outcome": "PASS"})):
        said = section(model_card(bare), "What was not tested")
        assert "only all rows together were compared" in said
        assert "- Latency.\n" in said
        assert "no catalogue was ranked" in said
        assert "Training with another seed" in said
    assert "- None is known." in section(model_card({}), "Budget")
    assert "- It was not recorded." in section(model_card({}), "What was cut")
    assert section(model_card({}), "How to reproduce").startswith("\n- The same command")


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
    report["dataset"]["label"] = report["command"] = report["seed"] = bad
    report["search"]["trials"][2]["label"] = bad
    card = model_card(report)
    outside = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", card)
    assert not re.search(r"^# Heading", card, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)<script", outside)
    assert not re.search(r"(?<!\\)\[a", outside)
