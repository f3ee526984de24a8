# SPDX-License-Identifier: Apache-2.0
"""What a viewer looks at where there is no node: a memory in a file, or one that is made of a recording meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from fsm_ros.configuration.model import load_model
from fsm_ros.configuration.settings import Settings
from fsm_ros.engine import MemoryEngine
from fsm_ros.errors import FsmError
from fsm_ros.replay.evaluation.replaying import Replay, Step
from fsm_ros.sources.opening import open_rig
from fsm_ros.spatial.results import Failure
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.frame import PosedImage
from fsm_ros.viewer.subject import Condition

_LOG = logging.getLogger(__name__)


class KeptMemory:
    """A memory without a stream. A context that ends its worker."""

    def __init__(self, path: Path | None, settings: Settings) -> None:
        """Load the weights, and a saved memory.

        Args:
            path: of the memory; ``None``: an empty one.
            settings: the node's.

        Raises:
            FsmError: weights or a memory that cannot be used.
        """
        loaded = load_model(settings)
        memory = loaded.new_memory(settings.memory)
        if path is not None:
            memory.load(path)
        self._engine = MemoryEngine(memory, settings.serving.chunk_queue_size)
        self._engine.start()

    @property
    def engine(self) -> MemoryEngine:
        """Who owns the memory."""
        return self._engine

    def condition(self) -> Condition:
        """What the memory holds."""
        return Condition(numbers=_held(self._engine.memory.scene))

    def live(self) -> PosedImage | None:
        """None."""
        return None

    def pause(self, paused: bool) -> None:
        """There is nothing to pause."""

    def reset(self) -> Future[str | Failure]:
        """Forget everything."""

        def forget(memory: SpatialMemory) -> str:
            memory.reset()
            return "the memory is empty"

        return self._engine.ask(forget)

    def save(self, name: str) -> Future[str | Failure]:
        """Write the memory into a file of the working folder."""
        path = _file(name)

        return self._engine.ask(lambda memory: f"{path}: {memory.save(path) / 1e6:.1f} MB")

    def load(self, name: str) -> Future[str | Failure]:
        """Read it from there."""
        path = _file(name)

        return self._engine.ask(lambda memory: f"{path}: {memory.load(path).chunks_observed} chunks")

    def __enter__(self) -> KeptMemory:
        """The same."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker."""
        self._engine.stop()


class PlayedRecording(KeptMemory):
    """A memory that a recording is being written into, at a multiple of its own pace."""

    def __init__(self, path: Path, settings: Settings, rate: float) -> None:
        """Open a recording; it is played once the context is entered.

        Args:
            path: bag, folder, COLMAP model or video.
            settings: the node's.
            rate: times real time; 0: as fast as the memory takes it.

        Raises:
            FsmError: weights or a recording that cannot be used.
            ValueError: a rate below zero.
        """
        if not rate >= 0.0:
            raise ValueError(f"--rate is how many times real time, got {rate:g}: use 0 for without waiting")
        self._rig = open_rig(path, rectified=settings.input.rectified)
        super().__init__(None, settings)
        self._replay = Replay(self._rig, (), settings, self._engine)
        self._rate = rate
        self._paused, self._stopping = threading.Event(), threading.Event()
        self._step: Step | None = None
        self._trouble = ""
        self._player = threading.Thread(target=self._play, name="fsm-player", daemon=True)

    def condition(self) -> Condition:
        """How far the recording has got, and what the memory holds."""
        step = self._step
        numbers = _held(self._engine.memory.scene)
        if step is not None:
            numbers |= {
                "recording": f"{100 * step.places_done / len(self._rig.frames):.0f} %",
                "prediction": f"{step.report.prediction_psnr:.1f} dB",
                "retention": f"{step.report.retention_psnr:.1f} dB",
            }
        refused = self._replay.taker.ledger.snapshot().refused
        numbers |= {f"refused: {reason.value}": str(count) for reason, count in refused.items() if count}
        return Condition(self._trouble, numbers, self._paused.is_set(), self._player.is_alive())

    def live(self) -> PosedImage | None:
        """The newest keyframe."""
        step = self._step
        return None if step is None else step.report.chunk.frames[-1]

    def pause(self, paused: bool) -> None:
        """Hold the recording, or go on."""
        (self._paused.set if paused else self._paused.clear)()

    def __enter__(self) -> PlayedRecording:
        """Begin to play."""
        self._player.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End player and worker."""
        self._stopping.set()
        self._engine.stop()
        self._player.join()

    def _play(self) -> None:
        begun_s, first_ns = time.monotonic(), self._rig.frames[0].arrival_ns
        try:
            for step in self._replay.steps():
                self._step = step
                if step.report.failure is not None:
                    self._trouble = step.report.failure.message
                while self._paused.is_set() and not self._stopping.wait(0.1):
                    begun_s += 0.1
                if self._rate > 0:
                    due_s = (step.report.chunk.newest_stamp_ns - first_ns) * 1e-9 / self._rate
                    self._stopping.wait(max(0.0, begun_s + due_s - time.monotonic()))
                if self._stopping.is_set():
                    return
        except (FsmError, OSError) as error:
            if not self._stopping.is_set():
                _LOG.error("the recording ended early: %s", error)
                self._trouble = f"The recording ended early: {error}"


def _held(scene: Scene | None) -> dict[str, str]:
    if scene is None:
        return {}
    return {
        "chunks observed": str(scene.chunks_observed),
        "photographs": str(len(scene.keyframes)),
        "submaps": str(len(scene.atlas.submaps)),
        "size": f"{scene.size_bytes / 1e6:.1f} MB",
        "epoch": str(scene.epoch),
    }


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    return path if path.suffix else path.with_suffix(".safetensors")
