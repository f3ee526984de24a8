# SPDX-License-Identifier: Apache-2.0
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from evaluation_runs import make_empty_run, make_run, make_runs, worsened

from fsm_ros.replay.evaluation.drawing import Plot, common_range, style
from fsm_ros.replay.evaluation.plots import plots
from fsm_ros.replay.evaluation.results import ForgettingMatrix, Run

pytestmark = pytest.mark.slow

FIXED = {"time", "gap", "prediction", "age", "metres", "radians", "seconds", "side", "novelty", "latency", "memory"}


def found(runs: list[Run], prefix: str = "p") -> dict[str, Plot]:
    return {plot.name: plot for group in plots(runs, prefix) for plot in group.plots}


def root(plot: Plot) -> ElementTree.Element:
    """The plot's SVG; it is well-formed XML too."""
    return ElementTree.fromstring(plot.svg)


def texts(plot: Plot) -> str:
    return " ".join("".join(element.itertext()) for element in root(plot).iter("text"))


@pytest.fixture(scope="module")
def three() -> dict[str, Plot]:
    return found(make_runs())


def test_every_plot_is_there_and_drawn(three: dict[str, Plot]) -> None:
    assert set(three) == FIXED | {f"{kind}-{place}" for kind in ("matrix", "path") for place in range(3)}
    for plot in three.values():
        assert not plot.nothing
        assert len(list(root(plot).iter("path"))) > 3, plot.name


def test_plots_are_svg_within_html(three: dict[str, Plot]) -> None:
    for plot in three.values():
        assert plot.svg.startswith("<svg") and "<!DOCTYPE" not in plot.svg and "xmlns" not in plot.svg
        assert not re.search(r"https?://", plot.svg)
        links = [v for e in root(plot).iter() for k, v in e.attrib.items() if k == "href"]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
        assert root(plot).get("role") == "img" and plot.title in root(plot).get("aria-label")
        assert not list(root(plot).iter("style"))


def test_names_within_svgs_are_unique_in_a_page_and_refer_to_something() -> None:
    seen = set()
    for prefix in ("one", "two"):
        for plot in found(make_runs(("elastic",)), prefix).values():
            own = [element.get("id") for element in root(plot).iter() if element.get("id")]
            assert len(set(own)) == len(own) and not seen & set(own)
            seen |= set(own)
            refers = set(re.findall(r"url\(#([^)]+)\)", plot.svg)) | set(re.findall(r'href="#([^"]+)"', plot.svg))
            assert refers <= set(own)


def test_plots_are_the_same_each_time() -> None:
    runs = make_runs(("elastic",))
    assert [plot.svg for plot in found(runs).values()] == [plot.svg for plot in found(runs).values()]


def test_plots_leave_the_settings_of_matplotlib_alone() -> None:
    before = dict(matplotlib.rcParams)
    found(make_runs(("elastic",)))
    assert dict(matplotlib.rcParams) == before


def test_text_stays_text_and_is_escaped() -> None:
    shown = found([make_run(setting="a<b> & $x$")])
    assert "a<b> & $x$" in texts(shown["time"])
    assert "<b>" not in shown["time"].svg


def test_settings_have_a_colour_each_and_baselines_are_grey_and_dotted(three: dict[str, Plot]) -> None:
    assert len({style(place).colour for place in range(7)}) == 7
    assert style(7) != style(0)
    for place in range(3):
        assert style(place).colour.lower() in three["time"].svg.lower()
    assert "stroke-dasharray" in three["time"].svg and "nearest keyframe" in texts(three["time"])


def test_a_class_without_views_is_said_to_be_empty(three: dict[str, Plot]) -> None:
    assert "no such view" in texts(three["novelty"]) and "n = 0" in texts(three["novelty"])
    assert "no such view" not in texts(three["side"])


def test_nothing_rendered_says_why_there_is_no_plot() -> None:
    shown = found([make_empty_run(chunks=0)])
    assert all(plot.nothing and not plot.svg for plot in shown.values())
    assert shown["time"].nothing == "no held-out view was rendered"
    assert shown["latency"].nothing == "no chunk was observed"


@pytest.mark.parametrize(
    "runs",
    [
        [worsened(make_run())],
        [make_run(chunks=1)],
        [make_run(chunks=1, views=1)],
        [make_run(), make_empty_run(setting="other", chunks=2)],
        [make_run(device=True), make_run(setting="other")],
        [make_run(setting=f"setting {number} with a long name", chunks=2) for number in range(8)],
    ],
    ids=["missing", "one chunk", "one view", "one empty", "device", "many"],
)
def test_plots_cope_with(runs: list[Run]) -> None:
    shown = found(runs)
    assert shown["latency"].svg
    assert all(bool(plot.svg) != bool(plot.nothing) for plot in shown.values())
    # A number that is not one would leave a path that browsers refuse.
    assert not any(re.search(r'[" ,(]nan[" ,)]', plot.svg) for plot in shown.values())


def test_nan_only_leaves_nothing_to_show() -> None:
    run = make_run()
    run = replace(run, forgetting=ForgettingMatrix((0, 1), np.full((2, 2), np.nan)))
    shown = found([run])
    assert shown["matrix-0"].nothing and shown["age"].nothing


def test_a_large_matrix_is_still_labelled() -> None:
    shown = found([make_run(chunks=60, views=60)])
    labels = re.findall(r"\d+", texts(shown["matrix-0"]))
    assert 15 < len(labels) < 40 and "54" in labels


def test_plots_are_of_one_recording() -> None:
    with pytest.raises(ValueError, match="one recording"):
        plots(make_runs(("a",), ("one", "two")), "p")


def test_a_common_range_spans_all_finite_values() -> None:
    assert common_range([1.0, np.nan], [4.0, np.inf]) == (1.0, 4.0)
    assert common_range([2.0]) == (1.5, 2.5)
    assert common_range([np.nan]) is None
