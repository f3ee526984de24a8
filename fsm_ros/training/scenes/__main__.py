# SPDX-License-Identifier: Apache-2.0
"""Writes a contact sheet of scenes: ``python -m fsm_ros.training.scenes --out sheet.png``."""

from __future__ import annotations

import argparse

import numpy as np
import torch

from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split


def main(arguments: list[str] | None = None) -> None:
    """Renders one row of views per clip and writes them as one picture.

    Raises:
        ImportError: Pillow is not installed.
    """
    parser = argparse.ArgumentParser(prog="python -m fsm_ros.training.scenes", description=__doc__)
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--split", choices=[split.value for split in Split], default=Split.TRAIN.value)
    parser.add_argument("--family", choices=[family.value for family in Family], help="only this family")
    parser.add_argument("--difficulty", type=float, nargs=2, default=(0.0, 1.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--count", type=int, default=8, help="clips, one a row")
    parser.add_argument("--first", type=int, default=0, help="number of the first clip")
    parser.add_argument("--views", type=int, default=8, help="views of each clip")
    parser.add_argument("--size", type=int, default=128, help="pixels along each side of a view")
    parser.add_argument("--samples", type=int, default=2, help="rays along each side of a pixel")
    parser.add_argument("--sensor", type=float, default=1.0, help="strength of exposure changes and noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-photographs", action="store_true", help="procedural textures only")
    given = parser.parse_args(arguments)
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"writing a contact sheet needs Pillow ({error}): pip install pillow") from error
    settings = SceneSettings(
        difficulty=(given.difficulty[0], given.difficulty[1]),
        photographs=not given.no_photographs,
        sensor=given.sensor,
        families=((Family(given.family), 1.0),) if given.family else SceneSettings.families,
    )
    source = SceneSource(given.seed, Split(given.split), settings, torch.device(given.device))
    clips = source.clips(range(given.first, given.first + given.count), given.size, given.size, samples=given.samples)
    chosen = np.linspace(0, settings.frames - 1, given.views).round().astype(int)
    views = clips.images[:, chosen].permute(0, 3, 1, 4, 2)
    sheet = views.reshape(given.count * given.size, given.views * given.size, 3).mul(255).round().byte()
    Image.fromarray(sheet.cpu().numpy()).save(given.out)
    for row, (family, difficulty) in enumerate(zip(clips.families, clips.difficulty, strict=True)):
        print(f"row {row}: {family.value}, difficulty {difficulty:.2f}")


if __name__ == "__main__":
    main()
