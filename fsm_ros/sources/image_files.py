"""Recordings whose frames are image files, each with the camera that another file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.images import read_image
from fsm_ros.sources.source import CameraTrack, SourceError
from fsm_ros.stream.frame import Camera, PosedImage


@dataclass(frozen=True)
class ImageFile:
    """One frame.

    Attributes:
        path: of the image.
        camera: its intrinsics and lens.
    """

    path: Path
    camera: Camera


class ImageFiles(CameraTrack):
    """Frames that are image files; see `source.PosedSource`. Images may differ in size and camera."""

    def __init__(
        self,
        name: str,
        files: Sequence[ImageFile],
        stamps_ns: NDArray[np.int64],
        world_from_camera: NDArray[np.float64],
        *,
        said_by: str,
        remedy: str,
    ) -> None:
        """Take over what was read of them.

        Args:
            name: of the recording.
            files: ``n`` frames.
            stamps_ns: ``[n]`` int64, nanoseconds.
            world_from_camera: ``[n, 4, 4]`` float64, rigid.
            said_by: what gives the cameras, for messages: "FILE says w, h =".
            remedy: what to do where an image has another size than its camera.
        """
        super().__init__(name, [file.camera for file in files], stamps_ns, world_from_camera)
        self._paths, self._said_by, self._remedy = tuple(file.path for file in files), said_by, remedy

    def read(self, index: int) -> PosedImage:
        """One frame.

        Raises:
            IndexError: there is no such frame.
            SourceError: the image cannot be decoded, or has another size than its camera.
        """
        camera, path = self.camera(index), self._paths[index]
        image = read_image(path)
        height, width = image.shape[:2]
        if (width, height) != (camera.width, camera.height):
            raise SourceError(
                f"{path} has {width}x{height} pixels, but {self._said_by} {camera.width}x{camera.height}: "
                f"{self._remedy}"
            )
        return self._posed(index, image, camera, self._name)

    def close(self) -> None:
        """Nothing stays open."""
