"""The page: complete, safe, self-contained, accessible, and the same for the same report."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import recprune.report as report_package
from recprune.errors import InputError
from recprune.report import render_page, write_comparison, write_report
from tests.report.searched import searched

VOID = {"meta", "link", "br", "img", "hr", "input"}
SECTIONS = {
    "summary",
    "cut",
    "techniques",
    "importance",
    "front",
    "bring-back",
    "recommendations",
    "slices",
    "scores",
    "findings",
    "reproduce",
}


class Page(HTMLParser):
    """The elements of a page, their nesting checked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


POISONS = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</style></svg></title><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}$x$ & \x00\x1b[31m\u202e",
]


@pytest.fixture(scope="module")
def html(make_report, made) -> str:
    return render_page(searched(make_report()), made)


def test_everything_in_the_report_has_its_section(html):
    sections = {a.get("id") for a in Page(html).all("section")} - {None}
    assert sections == SECTIONS


def test_the_verdict_comes_before_all_else(html):
    text = " ".join(Page(html).text)
    assert text.index("PASS") < text.index("What was cut")
    assert "The pruned model recommends as well as the full one, and it is 12× smaller." in text
    assert "−0.0011 to +0.0003" in text


@pytest.mark.parametrize(
    "outcome, ci, said",
    [
        ("FAIL", [-0.006, -0.003], "Even the upper end of the interval is below −0.0020"),
        ("FAIL", [-0.001, 0.001], "Even the lower end of the interval is above −0.0020"),
        ("INCONCLUSIVE", [-0.003, 0.001], "About 55,000 rows would decide it."),
    ],
)
def test_the_words_follow_the_interval(make_report, outcome, ci, said):
    report = make_report()
    report["verdict"].update(
        outcome=outcome, ci=ci, rows_needed=55_000, reasons=["Slice age=65+ is worse."], test_uses=3
    )
    text = " ".join(Page(render_page(report, {})).text)
    assert said in text
    assert "recommends as well" not in text
    assert "Slice age=65+ is worse." in text
    assert "have been used for 3 verdicts" in text


def test_a_bare_report_renders_what_is_there(bare_report, tmp_path):
    page = write_report(tmp_path, bare_report)
    parsed = Page(page.read_text(encoding="utf-8"))
    assert {a.get("id") for a in parsed.all("section")} - {None} == {"reproduce"}
    assert not parsed.all("svg")
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.mark.parametrize("report", [{}, {"verdict": None, "full": None, "importance": None}])
def test_missing_keys_are_not_measured(report):
    assert "No verdict was made." in render_page(report)


def test_not_a_number_is_not_measured(make_report):
    report = make_report()
    report["pruned"]["metrics"]["auc"] = float("nan")
    report["pruned"]["latency_us"]["1"] = float("inf")
    text = " ".join(Page(render_page(report, {})).text)
    assert not re.search(r"\b(nan|inf|None|null)\b", text)


def poisoned(value, poison: str):
    """Return the report with the poison put before every string of it, keys of data included."""
    if isinstance(value, str):
        return poison + value
    if isinstance(value, list):
        return [poisoned(v, poison) for v in value]
    if isinstance(value, dict):
        return {k: poisoned(v, poison) for k, v in value.items()}
    return value


def hostile(report, poison: str):
    """Return a report whose every text from outside starts with the poison."""
    bad = poisoned(report, poison)
    bad["verdict"]["metric"] = "auc"
    bad["importance_methods"] = {poison: {r["field"]: 0.1 for r in bad["importance"]}}
    bad["dataset"]["rows"] = {poison: 3}
    bad["history"] = {poison: report["history"]["full"]}
    return bad


def check_harmless(html: str, model: str) -> None:
    page = Page(html)
    assert page.all("script") == [{}]
    assert page.scripts == Page(model).scripts
    assert not page.all("img")
    assert not [k for _, attrs in page.elements for k in attrs if k.startswith("on")]
    # Poison changes texts, never the kinds of elements.
    assert {t for t, _ in page.elements} <= {t for t, _ in Page(model).elements}
    assert not {"\x00", "\x1b", "\u202e"} & set(html)


@pytest.mark.parametrize("poison", POISONS)
def test_no_value_becomes_markup(make_report, html, poison):
    check_harmless(render_page(hostile(searched(make_report()), poison), {}), html)


def test_no_value_becomes_markup_in_a_picture(make_report, html, tmp_path):
    # Pictures shorten names, so that each must be seen whole: short poisons alone.
    page = write_report(tmp_path, hostile(make_report(), "<b onx=1>\x00\u202e&$"))
    check_harmless(page.read_text(encoding="utf-8"), html)
    assert {p.parent for p in tmp_path.rglob("*.*")} == {tmp_path, tmp_path / "plots"}


def test_names_of_pictures_stay_in_their_folder_and_apart(make_report, tmp_path):
    (block, *_) = make_report()["recommendations"]
    names = ["../../x", "年齢", "Age", "age", "a" * 300, ""]
    blocks = [{"attribute": n, "groups": block["groups"][:1]} for n in names]
    write_report(tmp_path, {"recommendations": blocks})
    drawn = {p.name for p in (tmp_path / "plots").glob("willingness-*.png")}
    assert len(drawn) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,60}\.png", name) for name in drawn)


def test_the_page_loads_nothing(html):
    page = Page(html)
    for tag, attrs in page.elements:
        for key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            if (value := attrs.get(key)) is not None:
                assert value.startswith("#") or value == "data:,", (tag, key, value)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", html)
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_accessible_structure(html):
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert [len(page.all(tag)) for tag in ("main", "header", "nav", "footer", "h1", "title")] >= [
        1
    ] * 6
    assert len(page.all("h1")) == len(page.all("main")) == 1
    for svg in page.all("svg"):
        assert svg["role"] in ("img", "group")
        assert len(svg["aria-label"] or "") > 40
    points = [a for a in page.all("g") if a.get("class") == "point"]
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 20 for a in points)
    assert Counter(a["tabindex"] for a in points)["0"] == 2  # one stop a chart
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    for region in (a for a in page.all("div") if a.get("role") == "region"):
        assert region["aria-label"]
        assert region["tabindex"] == "0"
    levels = [int(t[1]) for t, _ in page.elements if re.fullmatch("h[1-6]", t)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_ids_are_unique_and_references_resolve(html):
    page = Page(html)
    ids = Counter(attrs["id"] for _, attrs in page.elements if "id" in attrs)
    assert [i for i, n in ids.items() if n > 1] == []
    wanted = {a["href"][1:] for _, a in page.elements if (a.get("href") or "").startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", html))
    wanted |= {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert wanted <= set(ids)


def contrast(one: str, other: str) -> float:
    """Return WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["light", "dark", "print"])
def test_colours_have_contrast(which):
    css = (Path(report_package.__file__).parent / "page.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)[which]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for text in ("c-ink", "c-muted", "link", "c-pass", "c-fail", "c-open", "c-personal"):
        for ground in ("c-paper", "ground"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for name in ("pass", "fail", "open"):
        assert contrast(colours[f"c-{name}"], colours[f"{name}-soft"]) >= 4.5
    assert contrast(colours["c-ink"], colours["soft"]) >= 4.5
    for shape in ("c-full", "c-pruned", "c-kept"):
        assert contrast(colours[shape], colours["c-paper"]) >= 3


def test_the_same_report_gives_the_same_bytes(make_report, made, html, tmp_path):
    # As it would come back from report.json.
    page = write_report(tmp_path, json.loads(json.dumps(searched(make_report()))))
    assert page == tmp_path / "report.html"
    assert page.read_text(encoding="utf-8") == html
    written = {p.stem: p.read_bytes() for p in (tmp_path / "plots").iterdir()}
    assert written == {name: picture.png for name, picture in made.items()}


def test_every_picture_has_its_finding_above_it(html, made):
    said = " ".join(Page(html).text)
    assert len(Page(html).all("figcaption")) == len(made)
    assert all(picture.title in said for picture in made.values())


def test_long_names_and_many_fields(make_report):
    row = make_report()["importance"][0]
    rows = [{**row, "field": f"column {i} " + "x" * 200, "score": i / 1000} for i in range(500)]
    html = render_page({"importance": rows})
    assert "column 499" in html
    assert len(html) < 2_000_000


def test_a_comparison_is_written_whole_or_not_at_all(
    make_report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, page = make_report(), tmp_path / "compared.html"
    pruned = {**report["pruned"], "name": "small", "verdict": report["verdict"]}
    found = {"full": {**report["full"], "name": "full"}, "pruned": [pruned]}
    page.write_text("before")

    def half(self: Path, text: str, **_: object) -> None:
        self.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_comparison(page, found)
    assert page.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["compared.html"]
