from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from mmgr.evaluate.audit import Audit, Finding
from mmgr.maps import explorer as explorer_module
from mmgr.maps.charts import loss_curves
from mmgr.maps.explorer import Explorer, Layer
from mmgr.maps.figures import prediction_map
from mmgr.maps.report import Alike, Example, MapImage, ReportContent, render_report, write_report

HOSTILE = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """What a browser would find in the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        last = self.tags[-1][0] if self.tags else ""
        (self.scripts if last == "script" and data.strip() else self.text).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [section["id"] for section in self.all("section")]


@pytest.fixture(scope="module")
def content(cities: gpd.GeoDataFrame, scores: pd.DataFrame, monitor: pd.DataFrame) -> ReportContent:
    patch = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    values = np.exp(np.random.default_rng(0).normal(7, 1, 120))
    hostile = cities.rename(index={"chico_0": HOSTILE}).assign(group=[HOSTILE, *cities["group"].iloc[1:]])
    return ReportContent(
        title=f"Cities {HOSTILE}",
        regions=1200,
        facts=[("Recipe", HOSTILE)],
        notes=["There is no GDP."],
        scores=scores,
        main_features="image + POI",
        baselines=("POI densities",),
        predictions=pd.DataFrame({"task": "population", "observed": values, "predicted": values}),
        units={"population": "people"},
        audit=Audit(
            "made",
            (
                Finding("adjacent places", "named", "Ten touch one.", "population, blocks"),
                Finding("identical patches", "pass", "None is.", "population, blocks"),
                Finding("pre-training", "note", "Transductive, which is allowed."),
            ),
        ),
        monitor=monitor,
        maps=[MapImage("Population", HOSTILE, prediction_map(cities, values, title="Population"))],
        explorer=Explorer(hostile, [Layer(HOSTILE, values, "people")], [patch] * 120),
        neighbours=[Example(HOSTILE, patch, [Alike("chico_1", 0.9, None), Alike(HOSTILE, 0.8, patch)])],
        category_figure=loss_curves(monitor),
        category_neighbours=[(HOSTILE, ["bar", "pub"])],
        coverage=[("Regions with image", "120")],
        set_aside=[(f"/data/{HOSTILE}.tif", "truncated")],
        attribution=["(c) OpenStreetMap contributors"],
        provenance={"seed": 1, "software": {"python": "3.11"}, "config": f"images:\n  path: {HOSTILE}\n"},
    )


@pytest.fixture(scope="module")
def html(content: ReportContent) -> str:
    return render_report(content)


def test_the_report_has_every_section_and_a_way_to_each(html: str) -> None:
    page = Page(html)
    expected = ["summary", "maps", "scores", "neighbours", "categories", "training", "data", "provenance"]
    assert page.sections == expected
    links = [a["href"] for a in page.all("a")]
    assert [link for link in links if link in {f"#{name}" for name in expected}][1:] == [f"#{n}" for n in expected]
    assert len(page.all("h1")) == 1


def test_the_report_loads_nothing_from_elsewhere(html: str) -> None:
    page = Page(html)
    assert page.all("link") == []
    assert all("src" not in script for script in page.all("script"))
    images = [image for image in page.all("img") if image.get("id") != "explorer-patch"]
    assert len(images) >= 7
    assert all(str(image["src"]).startswith("data:image/") for image in images)
    assert all(image.get("alt") for image in images)
    assert all(str(a["href"]).startswith("#") for a in page.all("a"))
    assert "http://" not in html
    assert "https://" not in html
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")


def test_hostile_names_stay_text(html: str) -> None:
    page = Page(html)
    assert len(page.all("script")) == 2
    assert "<script>alert" not in html
    assert any("<script>alert('x')</script>" in text for text in ["".join(page.text)])
    payload: dict[str, Any] = json.loads(page.scripts[0])
    assert payload["ids"][0] == HOSTILE


def test_the_policy_allows_the_page_s_own_script(html: str) -> None:
    page = Page(html)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv"))
    assert f"'sha256-{digest}'" in policy


def test_the_first_screen_says_how_the_scores_compare(html: str) -> None:
    text = " ".join("".join(Page(html).text).split())
    assert "1,200 regions got a vector each" in text
    assert "ahead of the best baseline in the one comparison made" in text
    assert "What these data cannot show" in text
    assert "optimistic: near neighbours" in text


def test_the_score_tables_mark_the_best_of_each_column(html: str) -> None:
    page = Page(html)
    best = [td for td in page.all("td") if "best" in str(td.get("class")).split()]
    assert len(best) == 2 * 6  # two splits, two probes of three metrics


def test_a_bare_run_gives_a_report_without_the_sections_it_has_nothing_for() -> None:
    html = render_report(ReportContent(title="Bare", regions=1))
    page = Page(html)
    assert page.sections == ["summary"]
    assert page.all("script") == []
    assert "1 region got a vector" in " ".join("".join(page.text).split())
    assert "No labels were given" in html


@pytest.mark.parametrize("field", ["scores", "monitor", "predictions"])
def test_an_empty_frame_is_as_good_as_none(content: ReportContent, field: str) -> None:
    frame: pd.DataFrame = getattr(content, field)
    bare = ReportContent(title="Bare", regions=2, **{field: frame.iloc[:0]})
    assert render_report(bare) == render_report(ReportContent(title="Bare", regions=2))


def test_predictions_without_scores_are_left_out(content: ReportContent) -> None:
    page = Page(render_report(ReportContent(title="Bare", regions=2, predictions=content.predictions)))
    assert page.sections == ["summary"]


def test_too_many_regions_for_the_interactive_map_are_said(
    content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer_module, "MOST_REGIONS", 100)
    monkeypatch.setattr("mmgr.maps.report.MOST_REGIONS", 100)
    html = render_report(ReportContent(title="Large", regions=120, explorer=content.explorer))
    assert "The interactive map is left out: it holds up to 100 regions, and there are 120." in html
    assert "explorer-data" not in html


def test_the_report_is_one_file(tmp_path: Path, content: ReportContent) -> None:
    path = write_report(tmp_path / "out" / "report.html", content)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_size < 4e6


def test_what_the_audit_names_is_seen_and_what_passed_is_folded_away(html: str) -> None:
    text = " ".join("".join(Page(html).text).split())
    assert "1 of 3 is named" in text
    named = html.index("Ten touch one.")
    folded = html.index("Paths on which nothing was found")
    assert named < html.index("Transductive, which is allowed.") < folded < html.index("None is.")
