# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Results after one number of chunks, dB unless said otherwise, means over scenes.

    Attributes:
        chunk_count: chunks that were observed.
        rendered: PSNR of the held-out views.
        rendered_error: its standard error over scenes.
        nearest: PSNR of the observed view whose camera stood closest.
        gain_error: standard error over scenes of what rendering gains over it.
        mean_colour: PSNR of the mean colour of all observed views.
        first_chunk: PSNR of the first chunk's own views, rendered now: what is forgotten goes down.
        newest_chunk: PSNR of the newest chunk's own views.
        memory: PSNR of what the memory alone renders.
        alone: PSNR of what is recalled without the memory; NaN without recall.
        ssim: structural similarity of the held-out views, at most 1; NaN where they are too small for its window.
        ms_ssim: the same at several scales; of small views fewer than five: compare equal sizes only.
        blur: gradient energy of the rendered views over that of the truth; 1 is right, less is blurred.
        depth_error: mean of the absolute relative error of depth, in the pixels that some photograph saw.
        depth_close: share of those pixels whose depth is wrong by less than 5 %.
        sure_depth_error: the same as ``depth_error`` in the half of those pixels whose depth is told to be surest.
        memory_depth_error: mean of the absolute relative error of the memory's own depth, in the same pixels; in all
            of them without recall. NaN for weights that tell no depth.
        sure_error: mean absolute error of the surer half of all pixels over that of the others.
        recalled: share of the pixels that come from photographs.
    """

    chunk_count: int
    rendered: float
    rendered_error: float
    nearest: float
    gain_error: float
    mean_colour: float
    first_chunk: float
    newest_chunk: float
    memory: float = math.nan
    alone: float = math.nan
    ssim: float = math.nan
    ms_ssim: float = math.nan
    blur: float = math.nan
    depth_error: float = math.nan
    depth_close: float = math.nan
    sure_depth_error: float = math.nan
    memory_depth_error: float = math.nan
    sure_error: float = math.nan
    recalled: float = math.nan

    @classmethod
    def over_scenes(cls, chunk_count: int, columns: Mapping[str, NDArray[np.float64]]) -> Score:
        """Means and errors of what each scene scored.

        Args:
            chunk_count: chunks that were observed.
            columns: by name, ``[scenes]`` each; NaN where a scene has nothing to measure.
        """
        means = {name: float(np.nanmean(c)) if np.isfinite(c).any() else math.nan for name, c in columns.items()}
        root = np.sqrt(max(len(columns["rendered"]) - 1, 1))
        return cls(
            chunk_count,
            rendered_error=float(columns["rendered"].std() / root),
            gain_error=float((columns["rendered"] - columns["nearest"]).std() / root),
            **means,
        )


@dataclass(frozen=True, eq=False)
class Shown:
    """Views of one scene to look at: each ``[N, 3, H, W]`` in [0, 1]."""

    truth: Tensor
    rendered: Tensor
    nearest: Tensor


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was found.

    Attributes:
        scores: one for each number of chunks.
        shown: the first scenes, after the largest number of chunks.
    """

    scores: tuple[Score, ...]
    shown: tuple[Shown, ...]

    def score(self, chunk_count: int) -> Score:
        """The score after so many chunks."""
        for score in self.scores:
            if score.chunk_count == chunk_count:
                return score
        raise KeyError(f"{chunk_count} chunks were not evaluated, only {[s.chunk_count for s in self.scores]}")


def table(evaluation: Evaluation) -> str:
    """The scores as a Markdown table."""
    lines = [_row(head for head, _ in _COLUMNS), "|" + "---|" * len(_COLUMNS)]
    lines += [
        _row(text.format(s=score, gain=score.rendered - score.nearest) for _, text in _COLUMNS)
        for score in evaluation.scores
    ]
    return "\n".join(lines)


_COLUMNS = (
    ("chunks", "{s.chunk_count}"),
    ("rendered", "{s.rendered:.2f} ± {s.rendered_error:.2f}"),
    ("nearest observed view", "{s.nearest:.2f}"),
    ("gain", "{gain:+.2f} ± {s.gain_error:.2f}"),
    ("mean colour", "{s.mean_colour:.2f}"),
    ("first chunk again", "{s.first_chunk:.2f}"),
    ("newest chunk", "{s.newest_chunk:.2f}"),
    ("memory", "{s.memory:.2f}"),
    ("recall alone", "{s.alone:.2f}"),
    ("SSIM", "{s.ssim:.3f}"),
    ("MS-SSIM", "{s.ms_ssim:.3f}"),
    ("sharpness", "{s.blur:.2f}"),
    ("depth error", "{s.depth_error:.3f}"),
    ("within 5 %", "{s.depth_close:.2f}"),
    ("depth error, surer half", "{s.sure_depth_error:.3f}"),
    ("the memory's depth error", "{s.memory_depth_error:.3f}"),
    ("surer half's error", "{s.sure_error:.2f}"),
    ("recalled", "{s.recalled:.2f}"),
)
"""Heads of the table, and how a row is written."""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
