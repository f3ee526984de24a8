# SPDX-License-Identifier: Apache-2.0
"""The report as a browser shows it: headless Chromium opens it from a file, with every road to a network watched."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import Watched, chromium, needs_browser
from evaluation_runs import make_empty_run, make_run, make_runs, worsened

from fsm_ros.replay.evaluation.plots import plots
from fsm_ros.replay.evaluation.report import MAX_FRAMES, report, write_report
from fsm_ros.replay.evaluation.results import Run

pytestmark = pytest.mark.slow

WIDTHS = (1280, 390)

# Before anything else in the page: what goes wrong from then on.
LISTEN = """<script>
window.wrong = [];
addEventListener("error", (e) => wrong.push(e.message || `not loaded: ${e.target.tagName}`), true);
addEventListener("securitypolicyviolation", (e) => wrong.push(`refused: ${e.blockedURI} ${e.violatedDirective}`));
</script>"""

# Looks at the page, uses it, and tells what was there.
MEASURE = """async () => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const settled = () => Promise.all(all("img").map((img) => img.decode().catch(() => null)));
  await settled();
  const told = {
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    title: document.title,
    text: document.body.innerText,
    bold: all("td.best b").map((b) => b.textContent),
    rows: all(".scores tbody th[scope=row]").map((th) => th.textContent.trim()),
    unnamed: all("a, input, summary, [tabindex]").filter((e) => {
      const label = e.labels && e.labels[0] ? e.labels[0].textContent : "";
      return !(e.getAttribute("aria-label") || e.textContent.trim() || label.trim());
    }).map((e) => e.outerHTML.slice(0, 80)),
    unlabelled: all("img:not([alt]), svg:not([aria-label])").length,
    ids: all("[id]").map((e) => e.id),
    plots: all("figure.plot").map((figure) => {
      const svg = figure.querySelector("svg"), box = svg && svg.getBoundingClientRect();
      const drawn = svg ? all("path", svg).filter((path) => {
        const { width, height } = path.getBoundingClientRect();
        return path.getAttribute("d") && width + height > 0;
      }).length : 0;
      return {
        name: figure.dataset.plot, width: svg ? box.width : 0, height: svg ? box.height : 0, drawn,
        nothing: figure.querySelector(".nothing") ? figure.querySelector(".nothing").textContent : "",
      };
    }),
    images: all("img").map((img) => img.naturalWidth),
    viewers: [],
  };
  for (const viewer of all(".viewer")) {
    const part = (selector) => viewer.querySelector(selector);
    const look = async () => {
      await settled();
      return {
        truth: part(".truth").src, answer: part(".answer").src, alt: part(".answer").alt,
        decoded: part(".truth").naturalWidth * part(".answer").naturalWidth > 0,
        clip: getComputedStyle(part(".truth")).clipPath, count: part(".count").textContent,
        scores: all(".score", viewer).map((score) => score.textContent), side: part(".side.right").textContent,
        thumbnails: all(".choices img", viewer).map((img) => img.src),
      };
    };
    const move = (selector, value) => {
      part(selector).value = value;
      part(selector).dispatchEvent(new Event("input", { bubbles: true }));
      return look();
    };
    const states = { first: await look() };
    states.next = await move(".frame", 1);
    states.last = await move(".frame", part(".frame").max);
    for (const [index, choice] of all(".choices input", viewer).entries()) {
      choice.click();
      states[`choice ${index}`] = await look();
    }
    states.wiped = await move(".wipe", 10);
    const { width, height } = part(".stage").getBoundingClientRect();
    told.viewers.push({ ...states, width, height, rendering: getComputedStyle(part(".answer")).imageRendering });
  }
  told.wrong = window.wrong;
  return told;
}"""


class Opened:
    """What Chromium made of a page at every width."""

    def __init__(self, folder: Path, page: str) -> None:
        """Opens a copy of the page that listens to what goes wrong in it."""
        file = folder / "page.html"
        file.write_text(page.replace("<head>", f"<head>{LISTEN}", 1), encoding="utf-8")
        self.by_width: dict[int, dict[str, Any]] = {}
        self.console: list[str] = []
        self.asked_for: set[str] = set()
        with chromium() as browser:
            for width in WIDTHS:
                watched = Watched(browser, width=width, height=900)
                watched.page.goto(file.as_uri())
                self.by_width[width] = watched.page.evaluate(MEASURE)
                self.console += watched.console
                self.asked_for |= watched.asked_for


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [
        *make_runs(),
        worsened(make_run("hall <&>", "elastic", lpips=True)),
        make_run("hall <&>", "a <b>bold</b> one"),
    ]


@pytest.fixture(scope="module")
def opened(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("report"), report(runs))


@needs_browser
def test_the_page_is_opened_at_both_widths_and_nothing_goes_wrong(opened: Opened) -> None:
    assert set(opened.by_width) == set(WIDTHS)
    assert opened.console == []
    for page in opened.by_width.values():
        assert page["wrong"] == []


@needs_browser
def test_every_plot_is_there_and_drawn(opened: Opened, runs: list[Run]) -> None:
    expected = [
        plot
        for name in ("corridor", "hall <&>")
        for group in plots([run for run in runs if run.recording == name], "p")
        for plot in group.plots
    ]
    for width, page in opened.by_width.items():
        assert [plot["name"] for plot in page["plots"]] == [plot.name for plot in expected]
        for plot in page["plots"]:
            assert 250 < plot["width"] < width and plot["height"] > 100, plot
            assert plot["drawn"] >= 5 and plot["nothing"] == "", plot


@needs_browser
def test_every_image_is_decoded(opened: Opened) -> None:
    for page in opened.by_width.values():
        assert len(page["images"]) > 12 and all(width > 0 for width in page["images"])


@needs_browser
def test_the_page_never_scrolls_sideways(opened: Opened) -> None:
    assert {page["overflow"] for page in opened.by_width.values()} == {0}


@needs_browser
def test_the_slider_shows_other_views_and_the_pickers_other_renders(opened: Opened, runs: list[Run]) -> None:
    for page in opened.by_width.values():
        assert len(page["viewers"]) == 2
        # Three settings and three baselines; two settings, and as LPIPS is missing from one, three baselines each.
        for viewer, count in zip(page["viewers"], (6, 8), strict=True):
            first, following, last = viewer["first"], viewer["next"], viewer["last"]
            assert len({first["truth"], following["truth"], last["truth"]}) == 3
            assert len({first["answer"], following["answer"], last["answer"]}) == 3
            assert first["count"] == "1 of 18" and last["count"] == "18 of 18"
            choices = [viewer[f"choice {index}"] for index in range(count)]
            assert [choice["answer"] for choice in choices] == last["thumbnails"]
            assert len({choice["answer"] for choice in choices}) >= (6 if count == 6 else 4)
            assert all(choice["truth"] == last["truth"] and choice["decoded"] for choice in choices)
            assert choices[1]["side"] == runs[1 if count == 6 else 4].setting
            assert choices[-1]["alt"].startswith("last keyframe")
            assert viewer["width"] > 250 and viewer["height"] > 150 and viewer["rendering"] == "pixelated"


@needs_browser
def test_the_wipe_uncovers_the_render(opened: Opened) -> None:
    for page in opened.by_width.values():
        for viewer in page["viewers"]:
            assert viewer["first"]["clip"] == "inset(0px 50% 0px 0px)"
            assert viewer["wiped"]["clip"] == "inset(0px 90% 0px 0px)"


@needs_browser
def test_everything_has_a_name_that_can_be_read_aloud_and_ids_are_unique(opened: Opened) -> None:
    for page in opened.by_width.values():
        assert page["unnamed"] == [] and page["unlabelled"] == 0
        assert len(set(page["ids"])) == len(page["ids"])


@needs_browser
def test_the_page_says_what_was_found_in_plain_text(opened: Opened, runs: list[Run]) -> None:
    page = opened.by_width[1280]
    assert "plastic" in page["rows"] and "a <b>bold</b> one" in page["rows"] and "nearest keyframe" in page["rows"]
    assert page["title"] == "Evaluation: corridor, hall <&>"
    assert len(page["bold"]) > 3
    for words in (
        "Interrupted. Not the whole stream was evaluated: elastic on hall <&>.",
        "chunk 1 could not be observed: the update is not finite",
        "no pose from 3.1 s to 3.4 s",
        runs[0].provenance.command,
        runs[0].provenance.checkpoint_sha256,
        "memory.elastic_strength",
        "2025-06-01T12:00:00Z",
    ):
        assert words in page["text"], words


@needs_browser
def test_no_request_leaves_the_machine(opened: Opened) -> None:
    assert opened.asked_for == set()


@needs_browser
def test_a_request_would_be_noticed(tmp_path: Path) -> None:
    page = report([make_run(chunks=2)])
    bare = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page)
    assert bare != page
    leak = '<img src="http://example.org/pixel.png" alt="">'
    leaky = Opened(tmp_path, bare.replace("</main>", f"{leak}</main>"))
    assert leaky.asked_for == {"http://example.org/pixel.png"}
    assert leaky.by_width[1280]["wrong"] == ["not loaded: IMG"] and 0 in leaky.by_width[1280]["images"]
    kept = tmp_path / "kept"
    kept.mkdir()
    guarded = Opened(kept, page.replace("</main>", f"{leak}</main>"))
    assert guarded.asked_for == set()
    assert any(wrong.startswith("refused: http://example.org") for wrong in guarded.by_width[1280]["wrong"])


@needs_browser
def test_an_evaluation_that_rendered_nothing_says_so(tmp_path: Path) -> None:
    page = Opened(tmp_path, report([make_empty_run(chunks=1), make_empty_run(setting="other", chunks=0)])).by_width[390]
    assert page["wrong"] == [] and page["overflow"] == 0 and page["viewers"] == []
    assert "Nothing to show: no held-out view was rendered." in page["text"]
    assert {plot["nothing"] for plot in page["plots"] if plot["name"] == "time"} == {
        "Nothing to show: no held-out view was rendered."
    }


def test_the_report_refers_to_nothing_outside() -> None:
    page = report(make_runs(("elastic",)))
    found = re.findall(r'(?:src|href|action|data|srcset)\s*=\s*"([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert found and all(link.startswith(("#", "data:")) for link in found)
    assert "@import" not in page and "content=\"default-src 'none'; img-src data:;" in page


def test_names_cannot_smuggle_markup_into_the_page() -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    page = report([make_run(evil, evil, chunks=1)])
    assert "<script>alert" not in page and "<img src=x" not in page


def test_a_long_recording_shows_evenly_chosen_views() -> None:
    page = report([make_run(chunks=40, views=120, size=(24, 32))])
    frames = json.loads(re.search(r'class="frames">(.*?)</script>', page, re.S).group(1))["frames"]
    assert len(frames) == MAX_FRAMES
    assert frames[0]["when"] == "0.00 s" and frames[-1]["when"] == "47.60 s"


def test_large_pictures_make_fewer_views_and_no_huge_file() -> None:
    assert len(report([make_run(chunks=8, views=24, size=(256, 256))])) < 16e6


def test_the_report_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(path, [make_run(chunks=1)])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no run"):
        write_report(path, [])
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
