"""What page and card say of an audit of membership."""

from __future__ import annotations

from typing import Any

import pytest

from recprune.report import model_card, render_page
from recprune.report.membership import membership_lines, membership_section


def attack(
    name: str, auc: float, level: str = "row", caught: float | None = 0.012
) -> dict[str, Any]:
    bounds = [auc - 0.01, auc + 0.01]
    counts = {"members": 10_000, "non_members": 9_000}
    return {
        "attack": name,
        "level": level,
        "auc": auc,
        "interval": bounds,
        "caught": caught,
        **counts,
    }


def audit(auc: float, leaks: bool) -> dict[str, Any]:
    gain = auc - 0.53
    attacks = [attack("loss", auc), attack("reference", 0.53), attack("loss", 0.6, "user", None)]
    told = {"advantage": gain, "advantage_interval": [gain - 0.02, gain + 0.02]}
    return {"attacks": attacks, **told, "leaks": leaks}


FOUND = {
    "full": audit(0.62, leaks=True),
    "pruned": audit(0.54, leaks=False),
    "split": "time",
    "alike": False,
    "change": {"difference": -0.08, "interval": [-0.1, -0.06]},
}


def test_every_attack_has_a_row() -> None:
    (table,) = membership_section({"membership": FOUND}).tables
    assert len(table.rows) == 6
    assert table.rows[0] == (
        *("full", "low loss", "a row", "0.620", "0.610 to 0.630", "1.2 %", "10,000", "9,000"),
    )
    assert table.rows[5][2:6] == ("a user's rows", "0.600", "0.590 to 0.610", "–")


def test_what_it_means_is_said() -> None:
    full, pruned, change, alike = membership_lines({"membership": FOUND})
    assert "full model remembers training rows" in full
    assert "+0.090" in full
    assert "+0.070 to +0.110" in full
    assert "pruned model is not seen to remember" in pruned
    assert "−0.080" in change
    assert "split by time" in alike
    assert len(membership_lines({"membership": {**FOUND, "alike": True}})) == 3
    unknown = {**FOUND, "full": {**FOUND["full"], "leaks": None}}
    assert "full model remembers training rows cannot be told: the" in " ".join(
        membership_lines({"membership": unknown})
    )


def test_epsilon_is_said_with_its_limits() -> None:
    spent = {"epsilon": 7.994, "delta": 1e-5, "unit": "user", "not_covered": ["<b>words</b>"]}
    (line,) = membership_lines({"membership": {"privacy": {"full": spent}}})
    assert "by user with ε = 7.99 and δ = 1e-05" in line
    report = {"membership": {"privacy": {"full": spent}}}
    assert "\\<b\\>words" in model_card(report)


def test_page_and_card_hold_it(make_report, made) -> None:
    report = make_report(membership=FOUND)
    assert "Can training rows be told from others?" in render_page(report, made)
    card = model_card(report)
    assert "\n## What scores tell of training rows\n" in card
    assert "who was among the training rows" not in card
    assert "who was among the training rows" in model_card({})


@pytest.mark.parametrize("found", [None, {}, {"full": None}, {"full": {"attacks": None}}])
def test_without_an_audit_there_is_no_section(found: object) -> None:
    assert membership_section({"membership": found}).empty
