# SPDX-License-Identifier: Apache-2.0
"""Films: frames as H.264 in MP4, which every browser and player shows."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CRF = "16"


def check_encoder() -> None:
    """Raises ImportError, with the remedy, where PyAV is missing."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ImportError(f"a video needs PyAV ({error}): pip install 'fsm_ros[evaluate]'") from error


def write_h264(file: Path, frames: Iterable[NDArray[np.uint8]], fps: Fraction) -> None:
    """Write a film.

    Args:
        file: to write, or to replace.
        frames: ``[height, width, 3]`` uint8 RGB each, all of one even height and width (4:2:0 needs that).
        fps: frames a second.

    Raises:
        ImportError: PyAV is missing.
        OSError: it cannot be written.
    """
    check_encoder()
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(file, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _CRF, "preset": "medium"}
        # Said in the file as it is done below, or players guess, and the colours differ.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            picture.pts = number
            picture.time_base = 1 / Fraction(stream.average_rate or 1)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
