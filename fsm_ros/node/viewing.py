# SPDX-License-Identifier: Apache-2.0
"""The node's memory as the viewer looks at it, and the viewer where the parameters ask for one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.impl.rcutils_logger import RcutilsLogger

from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.engine import MemoryEngine
from fsm_ros.errors import FsmError
from fsm_ros.messages.refused import ImageRefusedError
from fsm_ros.node.live_frames import LiveView
from fsm_ros.node.memory_services import MemoryServices
from fsm_ros.spatial.results import Failure
from fsm_ros.stream.frame import PosedImage
from fsm_ros.viewer.subject import Condition

if TYPE_CHECKING:
    from fsm_ros.viewer.viewer import Viewer

T = TypeVar("T")
TOLD = {
    "input": ("frames_received", "frames_keyframed", "messages_lost", "refused."),
    "memory": (
        *("chunks_observed", "chunks_waiting", "chunks_dropped", "prediction_psnr", "retention_psnr", "kept"),
        *("submaps", "epoch", "observe_time", "preview_difference"),
    ),
    "device": ("device",),
}
"""What of /diagnostics is shown, by the status that it is in; a name with a dot at its end: all that begin so."""


NOT_ACTIVE = Condition("The node is not active.")


class ViewerMissingError(FsmError, ImportError):
    """The package that serves the page is not installed."""


class NodeSubject:
    """The node's memory; what is told comes from /diagnostics."""

    def __init__(
        self,
        engine: MemoryEngine,
        services: MemoryServices,
        newest: Callable[[], LiveView | None],
        logger: RcutilsLogger,
    ) -> None:
        """Begin without diagnostics.

        Args:
            engine: who owns the memory.
            services: that change it.
            newest: the newest frame whose pose is known.
            logger: of the node.
        """
        self._engine, self._services, self._newest, self._logger = engine, services, newest, logger
        self._condition = NOT_ACTIVE

    @property
    def engine(self) -> MemoryEngine:
        """Who owns the memory."""
        return self._engine

    def told(self, diagnostics: DiagnosticArray | None) -> None:
        """Take what /diagnostics tells; ``None``: the node is not active."""
        if diagnostics is None:
            self._condition = NOT_ACTIVE
            return
        statuses = {status.name.rpartition(": ")[2]: status for status in diagnostics.status}
        troubles = [
            f"{name}: {status.message}" for name, status in statuses.items() if status.level != DiagnosticStatus.OK
        ]
        numbers = {
            value.key.replace("_", " "): value.value
            for name, wanted in TOLD.items()
            for value in statuses[name].values
            if any(value.key == key or (key.endswith(".") and value.key.startswith(key)) for key in wanted)
        }
        self._condition = Condition("  \n".join(troubles), numbers, self._services.is_paused, True)

    def condition(self) -> Condition:
        """What /diagnostics told last."""
        return self._condition

    def live(self) -> PosedImage | None:
        """The newest frame whose pose is known, decoded."""
        newest = self._newest()
        try:
            return None if newest is None else newest.decoded()
        except (ImageRefusedError, ValueError):
            return None  # /diagnostics says why

    def pause(self, paused: bool) -> None:
        """Refuse frames, or take them again."""
        told = self._services.pause(paused)
        if isinstance(told, Failure):
            self._logger.warning(f"viewer: not {'paused' if paused else 'resumed'}: {told.message}")

    def reset(self) -> Future[str | Failure]:
        """Forget everything."""
        return self._in_words(self._services.reset(), "reset: ", " forgotten")

    def save(self, name: str) -> Future[str | Failure]:
        """Write the memory into a file below the storage folder."""
        return self._in_words(self._services.save(name), "saved ")

    def load(self, name: str) -> Future[str | Failure]:
        """Read it from there."""
        return self._in_words(self._services.load(name), "loaded ")

    def _in_words(self, job: Future[T | Failure], before: str, after: str = "") -> Future[str | Failure]:
        told: Future[str | Failure] = Future()

        def tell(done: Future[T | Failure]) -> None:
            came = done.result()
            if isinstance(came, Failure):
                self._logger.warning(f"viewer: {came.message}")
                told.set_result(came)
            else:
                words = f"{before}{came}{after}"
                self._logger.info(f"viewer: {words}")
                told.set_result(words)

        job.add_done_callback(tell)
        return told


def opened(subject: NodeSubject, wanted: ViewerSettings) -> Viewer | None:
    """The viewer, where there is to be one.

    Raises:
        ViewerMissingError: it is wanted, and viser is not installed.
        ViewerError: it cannot be served there.
    """
    if not wanted.enabled:
        return None
    try:
        from fsm_ros.viewer.viewer import Viewer
    except ModuleNotFoundError as error:
        if error.name != "viser":
            raise
        raise ViewerMissingError(
            f"viewer.enabled needs viser ({error}): pip install 'fsm_ros[viewer]', or set viewer.enabled to false"
        ) from error
    return Viewer(subject, wanted)
