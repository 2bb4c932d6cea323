"""The report: page, pictures, model card and terminal table, all from one report dictionary.

Importing this package loads neither matplotlib nor Jinja2 nor Rich; the functions do, on use.
"""

from __future__ import annotations

from recprune.report.card import model_card
from recprune.report.comparison import write_comparison
from recprune.report.page import render_page, write_minimisation, write_report
from recprune.report.plots import pictures
from recprune.report.table import summary

__all__ = [
    "model_card",
    "pictures",
    "render_page",
    "summary",
    "write_comparison",
    "write_minimisation",
    "write_report",
]
