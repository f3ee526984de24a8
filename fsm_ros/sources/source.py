"""What every recording of posed images offers, whatever it is stored as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fsm_ros.errors import FsmError
from fsm_ros.stream.frame import Camera, PosedImage


class SourceError(FsmError, RuntimeError):
    """A recording that cannot give what was asked of it; the message names the cause and the remedy.

    Attributes:
        argument: by its name in the call, what has to be given otherwise; empty where it is none.
    """

    def __init__(self, message: str, argument: str = "") -> None:
        """Args: the message, and the argument to give otherwise."""
        super().__init__(message)
        self.argument = argument


class PosedSource(Protocol):
    """Frames of a recording by their number; images are decoded only when they are read.

    Frames may be read in any order, and come out the same; ascending order is the fastest where frames are
    compressed together, as in a video. A source may be pickled and may be used on in a forked process, which
    opens the files anew. It is not for several threads at once.
    """

    @property
    def name(self) -> str:
        """What to call the recording; not necessarily unique."""

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """``[n]`` int64, read-only: when each frame was taken, nanoseconds. Only differences need have a meaning."""

    @property
    def world_from_camera(self) -> NDArray[np.float64]:
        """``[n, 4, 4]`` float64, rigid, read-only: optical frame (x right, y down, z forward) to its world."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the recording was left out or taken otherwise than it says, a line each."""

    def __len__(self) -> int:
        """How many frames there are."""

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens of one frame.

        Raises:
            IndexError: there is no such frame.
            SourceError: the recording does not say.
        """

    def read(self, index: int) -> PosedImage:
        """One frame, decoded: RGB uint8.

        Raises:
            IndexError: there is no such frame.
            SourceError: it cannot be decoded, or does not have the size of its camera.
        """

    def close(self) -> None:
        """Give back files that are open; reading on opens them again."""


class Track:
    """When and from where the frames of a recording were taken: what every source keeps at hand.

    Attributes:
        notes: what of the recording was left out or taken otherwise than it says, a line each.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, stamps_ns: NDArray[np.int64], world_from_camera: NDArray[np.float64]) -> None:
        """Take both over, and let nobody change them.

        Args:
            stamps_ns: ``[n]`` int64, nanoseconds.
            world_from_camera: ``[n, 4, 4]`` float64, rigid.
        """
        self._stamps_ns, self._world_from_camera = stamps_ns, world_from_camera
        for values in (stamps_ns, world_from_camera):
            values.flags.writeable = False

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """``[n]`` int64, nanoseconds, read-only; the source says what they count from."""
        return self._stamps_ns

    @property
    def world_from_camera(self) -> NDArray[np.float64]:
        """``[n, 4, 4]`` float64, read-only: optical frame to world; the source says which, and in what unit."""
        return self._world_from_camera

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._stamps_ns)

    def _posed(self, index: int, image: NDArray[np.uint8], camera: Camera, source: str) -> PosedImage:
        """A frame's image with its pose and stamp."""
        pose = self._world_from_camera[index].copy()
        return PosedImage(image, camera, pose, int(self._stamps_ns[index]), source=source)


class CameraTrack(Track):
    """A track whose cameras are all known beforehand."""

    def __init__(
        self,
        name: str,
        cameras: Sequence[Camera],
        stamps_ns: NDArray[np.int64],
        world_from_camera: NDArray[np.float64],
    ) -> None:
        """Take all of it over; see `Track`.

        Args:
            name: of the recording.
            cameras: ``n`` intrinsics, one a frame.
            stamps_ns: ``[n]`` int64, nanoseconds.
            world_from_camera: ``[n, 4, 4]`` float64, rigid.
        """
        super().__init__(stamps_ns, world_from_camera)
        self._name, self._cameras = name, tuple(cameras)

    @property
    def name(self) -> str:
        """What the recording is called: its folder, its scene or its video."""
        return self._name

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens of one frame; nothing is decoded.

        Raises:
            IndexError: there is no such frame.
        """
        check_index(index, len(self), self._name)
        return self._cameras[index]


def check_index(index: int, count: int, name: str) -> None:
    """Check that a recording has a frame.

    Raises:
        IndexError: it does not; negative numbers do not count from the end.
    """
    if not 0 <= index < count:
        raise IndexError(f"{name} has frames 0 to {count - 1}, and no frame {index}")
