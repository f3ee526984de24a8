# SPDX-License-Identifier: Apache-2.0
"""What a run tells: lines of progress, TensorBoard, learning curves as a file, contact sheets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fsm_ros.training.evaluation import Evaluation, Shown

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_GAP = 2


class Reporter:
    """Tells of one run; silent on all processes but one."""

    def __init__(self, out: Path, *, speaks: bool, tensorboard: bool) -> None:
        """Prepare.

        Args:
            out: the run's folder.
            speaks: whether this process is the one that tells.
            tensorboard: also write event files, where TensorBoard is installed.
        """
        self._speaks = speaks
        self._curve = out / "curve.jsonl"
        self._sheets = out / "sheets"
        self._writer: SummaryWriter | None = None
        self._draws = speaks and _has_pillow()
        if speaks:
            out.mkdir(parents=True, exist_ok=True)
        if speaks and not self._draws:
            self.say("no contact sheets are drawn, as Pillow is not installed: pip install pillow")
        if speaks and tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(out / "tensorboard"))
            except ImportError:
                self.say("no event files are written, as TensorBoard is not installed: pip install tensorboard")

    def say(self, line: str) -> None:
        """A line for whoever watches."""
        if self._speaks:
            print(line, flush=True)

    def note(self, step: int, elapsed_s: float, values: dict[str, float]) -> None:
        """Keep numbers: a line of ``curve.jsonl``, and scalars for TensorBoard."""
        if not self._speaks:
            return
        with self._curve.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "elapsed_s": round(elapsed_s, 1), **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def show(self, step: int, elapsed_s: float, evaluation: Evaluation) -> None:
        """Tell of an evaluation: a line, the curve, a contact sheet."""
        scores = evaluation.scores
        self.say(
            f"  held-out scenes at step {step}: "
            + ", ".join(f"K={s.chunk_count} {s.rendered:.2f} dB (nearest {s.nearest:.2f})" for s in scores)
        )
        values: dict[str, float] = {}
        for s in scores:
            values |= {f"held_out/K{s.chunk_count}": s.rendered, f"held_out/K{s.chunk_count}_nearest": s.nearest}
        self.note(step, elapsed_s, values)
        if self._draws and evaluation.shown:
            sheet = contact_sheet(evaluation.shown)
            self._sheets.mkdir(exist_ok=True)
            write_png(self._sheets / f"step_{step:07d}.png", sheet)
            if self._writer is not None:
                self._writer.add_image("held_out", sheet, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def contact_sheet(shown: tuple[Shown, ...]) -> Tensor:
    """``[3, H, W]`` in [0, 1]: for every scene a row of truth, a row of renders, a row of nearest observed views."""
    rows = [
        torch.cat([_padded(view) for view in views], dim=2)
        for scene in shown
        for views in (scene.truth, scene.rendered, scene.nearest)
    ]
    return torch.cat(rows, dim=1).cpu()


def write_png(path: Path, image: Tensor) -> None:
    """Write ``[3, H, W]`` in [0, 1].

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"{path.name} needs Pillow ({error}): pip install pillow") from error
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def _has_pillow() -> bool:
    try:
        import PIL  # noqa: F401
    except ImportError:
        return False
    return True


def _padded(view: Tensor) -> Tensor:
    return torch.nn.functional.pad(view, (0, _GAP, 0, _GAP), value=1.0)
