# SPDX-License-Identifier: Apache-2.0
"""What `import fsm_ros` offers: a memory for programs and notebooks, and nothing imported before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from numpy.typing import NDArray
from PIL import Image
from recordings_folders import frame_of, write
from safetensors import safe_open
from spatial_scenes import S, at, refused

import fsm_ros
from fsm_ros.configuration.table import settings_from
from fsm_ros.engine import MemoryEngine
from fsm_ros.memory.model import FsmModel, NonFiniteUpdateError
from fsm_ros.replay.evaluation.replaying import Replay
from fsm_ros.spatial.results import FailureKind, Rendered
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.ledger import Refusal

PARAMETERS = {
    "model.threads": 1,
    "memory.width": 16,
    "memory.height": 16,
    "memory.extent": 2.0,
    "chunk.views": 2,
    "keyframes.translation": 0.05,
}
CAMERA = fsm_ros.Camera(24, 16, 14.0, 14.0, 12.25, 7.75)


def pictures(count: int, first: int = 0) -> NDArray[np.uint8]:
    return np.stack(
        [np.random.default_rng(first + i).integers(0, 256, (16, 24, 3), dtype=np.uint8) for i in range(count)]
    )


def poses(count: int, first: int = 0) -> NDArray[np.float64]:
    return np.stack([at(0.1 * (first + i)) for i in range(count)])


def stamps_ns(count: int, first: int = 0) -> NDArray[np.int64]:
    return (first + np.arange(count)) * S


def arrays(count: int, first: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.float64], fsm_ros.Camera, object]:
    return pictures(count, first), poses(count, first), CAMERA, stamps_ns(count, first)


def contents(memory: fsm_ros.Memory | SpatialMemory, path: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """All that is in the memory's file, in no order."""
    memory.save(path)
    with safe_open(path, "np") as file:
        return file.metadata(), {name: file.get_tensor(name).tobytes() for name in file.keys()}


@pytest.fixture
def memory() -> fsm_ros.Memory:
    return fsm_ros.Memory(PARAMETERS)


# --- what importing it costs ------------------------------------------------------------------------------------------

IMPORTED = """
import sys
before = set(sys.modules)
import fsm_ros
print(fsm_ros.__version__, *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""

ARRAYS_IN = """
import sys, numpy as np, fsm_ros
memory = fsm_ros.Memory({"model.threads": 1, "memory.width": 16, "memory.height": 16, "recall.keyframes": 0})
poses = np.tile(np.eye(4), (2, 1, 1))
poses[:, 0, 3] = 0, 1
memory.observe_arrays(np.zeros((2, 16, 16, 3), np.uint8), poses, fsm_ros.Camera(16, 16, 14, 14, 8, 8), [0, 10**9])
memory.render(np.eye(4)).save(sys.argv[1])
print(*({"rclpy", "rosbags", "av", "matplotlib", "lightning_fabric"} & set(sys.modules)), "none")
"""


def printed(program: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_it_imports_nothing_but_itself_and_what_python_brings() -> None:
    version, *imported = printed(IMPORTED)
    assert version == fsm_ros.__version__
    assert set(imported) - sys.stdlib_module_names == {"fsm_ros"}


@pytest.mark.slow
def test_arrays_in_and_a_picture_out_needs_no_ros_and_no_recording(tmp_path: Path) -> None:
    assert printed(ARRAYS_IN, str(tmp_path / "view.png")) == ["none"]
    assert Image.open(tmp_path / "view.png").size == (16, 16)


def test_every_name_is_there_documented_and_told_of() -> None:
    assert sorted(fsm_ros.__all__) == fsm_ros.__all__ and set(fsm_ros.__all__) <= set(dir(fsm_ros))
    assert len(fsm_ros.__all__) < 20
    assert all(getattr(fsm_ros, name).__doc__ for name in fsm_ros.__all__)
    with pytest.raises(AttributeError, match="memories"):
        _ = fsm_ros.memories


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_holds_what_a_replay_of_the_same_recording_holds(tmp_path: Path) -> None:
    """One intake, one memory: only who asks is another."""
    frames = [frame_of(n % 3, timestamp=float(n)) | {"file_path": f"images/{n}.png"} for n in range(5)]
    recording = fsm_ros.open_recording(str(write(tmp_path / "folder", frames)))
    memory = fsm_ros.Memory(PARAMETERS)
    heard: list[fsm_ros.ObserveReport] = []
    assert memory.observe(recording, on_report=heard.append) == len(heard) == 3
    assert [len(report.chunk.frames) for report in heard] == [2, 2, 1]

    settings = settings_from(PARAMETERS)
    spatial = fsm_ros.Memory(settings).spatial
    engine = MemoryEngine(spatial, queue_capacity=1)
    engine.start()
    assert len(list(Replay(recording, (), settings, engine).steps())) == 3
    assert engine.stop()
    assert contents(memory, tmp_path / "observed") == contents(spatial, tmp_path / "replayed")


@pytest.mark.slow
def test_frames_of_a_stream_wait_for_their_chunk_and_give_what_all_at_once_gives(
    memory: fsm_ros.Memory, tmp_path: Path
) -> None:
    """Also where the camera's driver fills the same buffer with every image."""
    buffer = np.empty((1, 16, 24, 3), dtype=np.uint8)
    for i in range(5):
        buffer[:] = pictures(1, i)
        assert memory.observe_arrays(buffer, *arrays(1, i)[1:], flush=False) == i % 2
    assert memory.ledger.keyframes == 5
    report = memory.flush()
    assert report is not None and report.views_observed == 5 and memory.flush() is None
    at_once = fsm_ros.Memory(PARAMETERS)
    assert at_once.observe_arrays(*arrays(5)) == 3
    assert contents(memory, tmp_path / "one") == contents(at_once, tmp_path / "other")


def test_what_is_refused_is_counted_with_its_reason(memory: fsm_ros.Memory) -> None:
    standing = [fsm_ros.PosedImage(image, CAMERA, at(), i * 1000) for i, image in enumerate(pictures(4))]
    assert memory.observe(standing) == 1
    assert (memory.ledger.received, memory.ledger.keyframes) == (4, 1)
    assert memory.ledger.refused[Refusal.NOT_MOVED] == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"world_from_camera": poses(2)}, "got 3 images, 2 world_from_camera"),
        ({"images": pictures(3).astype(np.float32)}, "float32"),
        ({"images": pictures(3)[:, :8]}, "like its camera"),
        ({"world_from_camera": np.zeros((3, 4, 4))}, "orthonormal"),
        ({"camera": [CAMERA]}, "1 camera"),
        ({"stamps_ns": np.arange(3) / 10}, "whole nanoseconds, got float64"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_arrays_that_do_not_go_together_are_refused_as_a_whole(
    memory: fsm_ros.Memory, changes: dict[str, object], told: str
) -> None:
    names = ("images", "world_from_camera", "camera", "stamps_ns")
    with pytest.raises(ValueError, match=told):
        memory.observe_arrays(**(dict(zip(names, arrays(3), strict=True)) | changes))
    assert memory.scene is None and memory.ledger.received == 0


def test_a_chunk_that_fails_raises_leaves_the_memory_and_is_counted(
    memory: fsm_ros.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NonFiniteUpdateError("not finite")

    memory.observe_arrays(*arrays(2))
    before = memory.scene
    with monkeypatch.context() as patch, refused(FailureKind.NON_FINITE):
        patch.setattr(FsmModel, "observe", fail)
        memory.observe_arrays(*arrays(2, first=2))
    assert memory.scene is before
    assert memory.ledger.refused[Refusal.OBSERVE_FAILED] == 2
    assert memory.observe_arrays(*arrays(2, first=4)) == 1


def test_a_rule_may_be_changed_and_the_settings_say_so(memory: fsm_ros.Memory) -> None:
    memory.observe_arrays(*arrays(2))
    memory.set_rule(fsm_ros.Plastic())
    assert memory.settings.memory.rule == fsm_ros.Plastic()
    assert memory.observe_arrays(*arrays(2, first=2)) == 1


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_saved_is_loaded_and_shows_the_same(memory: fsm_ros.Memory, tmp_path: Path) -> None:
    memory.observe_arrays(*arrays(4))
    path = tmp_path / "room.safetensors"
    assert memory.save(str(path)) == path.stat().st_size
    again = fsm_ros.Memory.load(str(path), PARAMETERS)
    assert repr(again) == repr(memory) != repr(fsm_ros.Memory(PARAMETERS))
    for method in fsm_ros.RenderMethod:
        shown = [each.render(at(0.15).tolist(), 2 * S, CAMERA, method) for each in (memory, again)]
        assert np.array_equal(shown[0].image, shown[1].image) and shown[0].image.shape == (16, 24, 3)
    with refused(FailureKind.FILE):
        fsm_ros.Memory.load(path, PARAMETERS | {"memory.width": 32})


@pytest.mark.slow
def test_a_reset_memory_is_as_a_new_one(memory: fsm_ros.Memory, tmp_path: Path) -> None:
    memory.observe_arrays(*arrays(3), flush=False)
    memory.reset()
    assert memory.flush() is None and memory.ledger.received == 0
    with refused(FailureKind.NOTHING_OBSERVED):
        memory.render(at())
    memory.observe_arrays(*arrays(4))
    fresh = fsm_ros.Memory(PARAMETERS)
    fresh.observe_arrays(*arrays(4))
    assert contents(memory, tmp_path / "one") == contents(fresh, tmp_path / "other")


def test_a_view_is_saved_as_it_is(tmp_path: Path) -> None:
    view = Rendered(pictures(1)[0], CAMERA, 0, 1, 0.0)
    view.save(tmp_path / "new" / "view.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "view.png")), view.image)
    with pytest.raises(ValueError, match=r"end in \.png"):
        view.save(tmp_path / "view.jpg")


def test_parameters_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "fsm.yaml"
    path.write_text("/**:\n  ros__parameters:\n    memory.width: 16\n    memory:\n      height: 24\n")
    settings = fsm_ros.Memory(path).settings
    assert (settings.memory.width, settings.memory.height) == (16, 24)
    with pytest.raises(ValueError, match=r"did you mean memory\.width"):
        fsm_ros.Memory({"memory.widht": 16})
