# SPDX-License-Identifier: Apache-2.0
"""How plots look, and how they become SVG that stands within a page."""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, Color universal design (2008), without yellow, which is faint on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.")
BASELINE = "0.45"
SIZE = (4.0, 2.8)
_LEGEND_LETTERS = 52
_LEGEND_LINES, _LEGEND_LINE = 2, 0.17  # for which there is room, and inches of one more
_NAME_LETTERS = 34
_RC = {
    "axes.facecolor": "none",
    "axes.edgecolor": "0.35",
    "axes.grid": True,
    "axes.labelcolor": "0.15",
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.alpha": 0.55,
    "grid.color": "0.85",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.6,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page brings no fonts
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": "0.35",
    "xtick.labelcolor": "0.15",
    "xtick.labelsize": 8.5,
    "ytick.color": "0.35",
    "ytick.labelcolor": "0.15",
    "ytick.labelsize": 8.5,
}


@dataclass(frozen=True)
class Style:
    """How one setting is drawn, in every plot alike."""

    colour: str
    line: str
    marker: str


@dataclass(frozen=True)
class Plot:
    """One picture with its words.

    Attributes:
        name: unique in a recording, of letters, digits and hyphens.
        title: above it.
        told: what it shows and how to read it, a sentence or two.
        svg: the picture; empty where there is nothing to show.
        nothing: why there is nothing to show; empty where there is.
    """

    name: str
    title: str
    told: str
    svg: str = ""
    nothing: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line in a plot.

    Attributes:
        label: in the legend; empty for none.
        style: how it is drawn.
        x: ``[n]``.
        y: ``[n]``; not finite where there is nothing.
        error: ``[n]`` half the height of error bars; empty for none.
        faint: whether it is only a companion of another line.
        dots: whether there is a marker at every value.
    """

    label: str
    style: Style
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = field(default=())
    faint: bool = False
    dots: bool = True


def style(place: int) -> Style:
    """Of the setting at this place: colours that the colour-blind can tell apart, then other dashes."""
    if place < 0:
        raise ValueError(f"there is no setting at place {place}")
    turn = place % len(_COLOURS)
    return Style(_COLOURS[turn], _LINES[place // len(_COLOURS) % len(_LINES)], _MARKERS[turn])


PSNR_LABEL = "PSNR, dB"
PSNR_TOP_DB = 45.0
"""Axes end here: the eye sees no difference beyond, and one copy of a view, at 100 dB, would flatten all else."""

BASELINE_STYLE = Style(BASELINE, ":", "")


def draw(
    name: str, title: str, told: str, fill: Callable[[Axes], None], *, prefix: str, size: tuple[float, float] = SIZE
) -> Plot:
    """Draw a plot of one pair of axes.

    Args:
        name: of the plot.
        title: above it.
        told: what it shows.
        fill: draws into the axes.
        prefix: of everything that is named within the SVG: unique in a page.
        size: inches.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"plots need matplotlib ({error}): pip install 'fsm_ros[evaluate]'") from error
    look: Any = _RC | {"svg.hashsalt": f"{prefix}-{name}"}
    with matplotlib.rc_context(look), warnings.catch_warnings():
        # The reader's browser has the glyphs that are missing here.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_axisbelow(True)
        fill(axes)
        svg = _svg(figure, f"{prefix}-{name}-", f"Plot: {title}. {told}")
    return Plot(name, title, told, svg=svg)


def draw_curves(
    axes: Axes, curves: Sequence[Curve], x_label: str, y_label: str, *, whole_numbers: bool = False
) -> None:
    """Lines with a legend above them."""
    from matplotlib.ticker import MaxNLocator

    for curve in curves:
        x, y = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
        known = np.isfinite(x) & np.isfinite(y)
        # A gap in what was measured is no gap in the line: it would hide single values between gaps.
        look: dict[str, Any] = {
            "color": curve.style.colour,
            "linestyle": curve.style.line,
            "marker": (curve.style.marker or ".") if curve.dots and known.sum() <= 30 or known.sum() == 1 else "",
            "label": shortened(curve.label) if curve.label else "_nolegend_",
            "alpha": 0.45 if curve.faint else 1.0,
            "linewidth": 1.1 if curve.faint else 1.6,
        }
        if len(curve.error):
            errors = np.nan_to_num(np.asarray(curve.error, dtype=np.float64))
            axes.errorbar(x[known], y[known], errors[known], capsize=2, elinewidth=0.9, **look)
        else:
            axes.plot(x[known], y[known], **look)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if y_label == PSNR_LABEL and axes.get_ylim()[1] > PSNR_TOP_DB:
        axes.set_ylim(top=PSNR_TOP_DB)
    if whole_numbers:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(axes)


def add_legend(axes: Axes) -> None:
    """Above the axes, in as many columns as there is room for."""
    from matplotlib.figure import Figure

    handles, labels = axes.get_legend_handles_labels()
    figure = axes.figure
    if labels and isinstance(figure, Figure):
        columns = max(1, min(len(labels), _LEGEND_LETTERS // (max(map(len, labels)) + 6)))
        width, height = figure.get_size_inches()
        extra = -(-len(labels) // columns) - _LEGEND_LINES
        figure.set_size_inches(width, height + max(0, extra) * _LEGEND_LINE)
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, columnspacing=1.2, borderpad=0.1)


def shortened(name: str, letters: int = _NAME_LETTERS) -> str:
    """A name that is not too long."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def common_range(*values: NDArray[np.float64] | Sequence[float]) -> tuple[float, float] | None:
    """Least and greatest of all finite values, apart from each other; None where there are none."""
    flat = (
        np.concatenate([np.ravel(np.asarray(entry, dtype=np.float64)) for entry in values]) if values else np.empty(0)
    )
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return None
    low, high = float(flat.min()), float(flat.max())
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as SVG within HTML: no prolog, no metadata, no name that another plot of the page could have."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # The style would rule over the whole page.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            if name == "id":
                value = prefix + value
            elif name == "href" and value.startswith("#"):
                value = f"#{prefix}{value[1:]}"
            element.set(name, value.replace("url(#", f"url(#{prefix}"))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
