"""The pictures: drawn when there is data, sane in size, without global state."""

from __future__ import annotations

import struct
import subprocess
import sys

import matplotlib
import pytest

from recprune.report import pictures, plots

DRAWN = {
    "verdict",
    "sizes",
    "techniques",
    "importance",
    "front",
    "front-latency",
    "bring-back",
    "slices",
    "scores",
    "calibration",
    "learning",
    "willingness-age",
    "willingness-income",
}


def test_every_picture_is_drawn_in_a_readable_size(made):
    assert set(made) == DRAWN
    for name, picture in made.items():
        assert picture.png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", picture.png[16:24])
        assert 700 <= width <= 1600, name
        assert 200 <= height <= 2500, name
        assert 5_000 < len(picture.png) < 400_000, name
        assert len(picture.svg) < 200_000, name
        assert picture.title
        assert picture.title not in picture.svg  # the page sets it in type of its own


def test_png_and_svg_hold_no_date_and_no_maker(made):
    for picture in made.values():
        assert b"tEXt" not in picture.png
        assert "<metadata" not in picture.svg
        assert "matplotlib.org" not in picture.svg


def test_drawing_leaves_the_users_settings(make_report):
    before = dict(matplotlib.rcParams)
    pictures({"importance": make_report()["importance"]})
    assert dict(matplotlib.rcParams) == before


def test_drawing_ignores_the_users_settings(make_report, made):
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.dpi": 10}):
        again = pictures({"importance": make_report()["importance"]})
    assert again["importance"].png == made["importance"].png


def test_titles_say_the_finding(made):
    assert made["importance"].title == "times_bought_product matters most; 12 of 19 fields are kept"
    assert made["techniques"].title == "combination keeps most: AUC −0.0004 at 356 kB"
    assert made["front"].title.startswith("Chosen: 351 kB, AUC ")
    assert made["front"].title.endswith("against the full model; best baseline −0.0042")
    # The seed's noise of this report is 0.0009, the largest gain 0.0006.
    assert made["bring-back"].title == (
        "Bringing any of it back gains nothing beyond what another seed moves"
    )
    assert made["slices"].title == "No alarm in 10 slices; 1 too small to decide"
    assert made["willingness-age"].title.startswith("age: most willing 45-54")


@pytest.mark.parametrize("noise, found", [(None, True), (0.0005, True), (0.0007, False)])
def test_a_gain_is_one_beyond_what_a_seed_moves(noise, found):
    back = [
        {"unit": "field", "name": "age", "bytes": 200, "auc": 0.0006},
        {"unit": "rows", "name": "of all fields", "bytes": 150_000, "auc": -0.0001},
    ]
    report = {"cost_to_bring_back": back, "seed_noise": {"seeds": 3, "auc_std": noise}}
    figure = plots.bring_back(report)
    title = "Bringing field age back gains most: +0.0006 for 200 B"
    assert (pictures(report)["bring-back"].title == title) is found
    assert ("another seed" in figure.axes[0].get_xlabel()) is (noise is not None)


def test_the_front_of_a_search_whose_trials_have_no_latency(make_report):
    report = {k: make_report()[k] for k in ("search", "verdict", "full")}
    drawn = pictures(report)
    assert "front-latency" not in drawn
    svg = drawn["front"].svg
    assert drawn["front"].title.startswith("Chosen: 351 kB, AUC −0.0007")
    assert "<title>Trial 4: neurons\n351 kB\nAUC −0.0007 on gate rows (" in svg
    assert "PASS, chosen</title>" in svg
    assert svg.count('class="point"') == 6


def test_a_trial_without_bytes_or_quality_is_not_drawn(make_report):
    rows = make_report()["search"]["trials"]
    for row in rows:
        row.update(difference=None, auc_tune=None)
    assert not pictures({"search": {"trials": rows}})


def test_one_point_of_everything(make_report):
    report = make_report()
    report["search"]["trials"] = report["search"]["trials"][:1]
    report["techniques"] = [{"technique": "L1", "difference": 0.0, "ci": None, "outcome": None}]
    report["importance"] = report["importance"][:1]
    report["verdict"]["slices"] = report["verdict"]["slices"][:1]
    report["verdict"]["ci"] = [0.0, 0.0]
    report["history"] = {"full": [{"epoch": 1, "loss": 0.4, "auc": None}]}
    report["recommendations"] = [
        {"attribute": "age", "groups": [{"value": None, "rows": None, "label_rate": 0.2}]}
    ]
    report["calibration"] = {
        "full": None,
        "pruned": {"predicted": [0.2], "rate": [0.2], "count": [5]},
    }
    drawn = pictures(report)
    assert set(drawn) == (DRAWN - {"willingness-income", "front-latency", "bring-back"})


def test_a_name_stays_itself_in_a_picture(make_report):
    rows = make_report()["importance"]
    rows[0]["field"] = 'a"$x_1$ id="q #0072b2 url(#z)'
    svg = pictures({"importance": rows})["importance"].svg
    assert 'a"$x_1$ id="q #0072b2 url(#z)' in svg


def test_functions_return_figures_for_a_notebook(make_report):
    from matplotlib.figure import Figure

    report = make_report()
    for draw in (plots.importance, plots.front, plots.techniques, plots.slices, plots.scores):
        assert isinstance(draw(report), Figure)
    assert isinstance(plots.willingness(report["recommendations"][0]), Figure)


def test_importing_the_report_loads_no_heavy_library():
    code = (
        "import sys, recprune.report; "
        "print({'matplotlib', 'jinja2', 'rich', 'torch', 'polars', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from recprune.report import pictures; "
        "pictures({'importance': [{'field': 'a', 'score': 1.0, 'kept': True}]}); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
