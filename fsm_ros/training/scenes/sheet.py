# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fsm_ros.training.scene_settings import SceneSettings
from fsm_ros.training.scenes.source import SceneSource

if TYPE_CHECKING:
    from fsm_ros.training.scene_sheet import Options


def draw(options: Options) -> str:
    """Write one row of views per clip as one picture; returns what is in each row.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: options that make no scene.
        OSError: the picture cannot be written.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"writing a contact sheet needs Pillow ({error}): pip install pillow") from error
    settings = SceneSettings(
        difficulty=options.difficulty,
        photographs=options.photographs,
        sensor=options.sensor,
        families=((options.family, 1.0),) if options.family else SceneSettings.families,
    )
    source = SceneSource(options.seed, options.split, settings, torch.device(options.device))
    numbers, size = range(options.first, options.first + options.count), options.size
    clips = source.clips(numbers, size, size, samples=options.samples)
    chosen = np.linspace(0, settings.frames - 1, options.views).round().astype(int)
    views = clips.images[:, chosen].permute(0, 3, 1, 4, 2)
    sheet = views.reshape(options.count * size, options.views * size, 3).mul(255).round().byte()
    Image.fromarray(sheet.cpu().numpy()).save(options.out)
    return "\n".join(
        f"row {row}: {family.value}, difficulty {difficulty:.2f}"
        for row, (family, difficulty) in enumerate(zip(clips.families, clips.difficulty, strict=True))
    )
