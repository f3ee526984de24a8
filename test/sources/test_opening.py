# SPDX-License-Identifier: Apache-2.0
"""What a path holds is found out, and whatever it is, its frames can be picked in the same way."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from recordings import camera_info, colours, open_camera, raw_image, transform, write_bag
from recordings_colmap import write as write_colmap
from recordings_folders import a_folder, frame_of, write
from recordings_videos import a_scene
from rosbags.rosbag2 import StoragePlugin

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import SourceKind, open_cameras, source_kind
from fsm_ros.sources.process_local import ProcessLocal
from fsm_ros.sources.recorded import RecordedCamera


def a_bag(folder: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    frames = [transform("map", "camera", 100 * n, x=float(n)) for n in range(6)]
    images = [raw_image(colours() + np.uint8(n), stamp_ns=100 * n) for n in range(6)]
    return write_bag(folder / "bag", [camera_info(16, 12), *frames, *images], storage)


def a_model(folder: Path) -> Path:
    return write_colmap(folder / "model", [f"{n}.png" for n in range(6)])


KINDS = {
    SourceKind.BAG: a_bag,
    SourceKind.FOLDER: a_folder,
    SourceKind.COLMAP: a_model,
    SourceKind.VIDEOS: a_scene,
}


@pytest.fixture(params=list(KINDS), ids=[kind.value for kind in KINDS])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> RecordedCamera:
    """Six different frames of each kind."""
    make: Callable[[Path], Path] = KINDS[request.param]
    return open_camera(make(tmp_path))


def picture_of(source: RecordedCamera, index: int, answer: Connection) -> None:
    answer.send(source.read(index).image)


class TestEveryKind:
    def test_frames_in_any_order_are_those_in_a_row(self, source: RecordedCamera) -> None:
        row = [source.read(index) for index in range(len(source))]
        assert len(row) == 6 and len({frame.image.tobytes() for frame in row}) == 6
        for index in (4, 0, 5, 5, 2, 1, 3):
            frame = source.read(index)
            assert np.array_equal(frame.image, row[index].image)
            assert frame.image.dtype == np.uint8
            assert frame.camera == source.camera(index)
            assert frame.stamp_ns == source.stamps_ns[index]
            assert np.array_equal(frame.world_from_camera, source.world_from_camera[index])

    def test_stamps_and_poses_belong_to_the_source(self, source: RecordedCamera) -> None:
        assert (source.stamps_ns.dtype, source.stamps_ns.shape) == (np.int64, (6,))
        assert (source.world_from_camera.dtype, source.world_from_camera.shape) == (np.float64, (6, 4, 4))
        with pytest.raises(ValueError, match="read-only"):
            source.world_from_camera[0, 0, 3] = 1.0
        with pytest.raises(ValueError, match="read-only"):
            source.stamps_ns[0] = 1
        source.read(0).world_from_camera[0, 3] += 1.0
        assert source.read(0).world_from_camera[0, 3] == source.world_from_camera[0, 0, 3]

    @pytest.mark.parametrize("index", [-1, 6])
    def test_a_frame_that_is_not_there(self, source: RecordedCamera, index: int) -> None:
        for ask in (source.read, source.camera):
            with pytest.raises(IndexError, match=f"has frames 0 to 5, and no frame {index}"):
                ask(index)

    def test_it_reads_on_after_closing_and_pickling(self, source: RecordedCamera) -> None:
        picture = source.read(4).image
        copy = pickle.loads(pickle.dumps(source))
        assert np.array_equal(copy.read(4).image, picture)
        source.close()
        source.close()
        assert np.array_equal(source.read(4).image, picture)

    def test_a_forked_process_reads_its_own_files(self, source: RecordedCamera) -> None:
        picture = source.read(1).image
        mine, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=picture_of, args=(source, 4, theirs))
        child.start()
        assert mine.poll(60.0), "the child answers"
        answer = mine.recv()
        child.join(60.0)
        assert np.array_equal(answer, source.read(4).image)
        assert np.array_equal(source.read(1).image, picture)


class TestOpening:
    @pytest.mark.parametrize("kind", list(KINDS))
    def test_every_kind_is_known(self, tmp_path: Path, kind: SourceKind) -> None:
        assert source_kind(KINDS[kind](tmp_path)) is kind

    def test_files_are_known_as_their_folders_are(self, tmp_path: Path) -> None:
        bag, other = a_bag(tmp_path / "a"), a_bag(tmp_path / "b", StoragePlugin.SQLITE3)
        assert source_kind(bag / "bag.mcap") is source_kind(other / "bag.db3") is SourceKind.BAG
        assert len(open_camera(other / "bag.db3")) == len(open_camera(bag / "bag.mcap")) == 6
        folder = a_folder(tmp_path)
        (folder / "transforms.json").rename(folder / "transforms_train.json")
        assert len(open_camera(folder / "transforms_train.json")) == 6
        with pytest.raises(SourceError, match="has no transforms.json, but transforms_train.json: give one of these"):
            open_camera(folder)

    def test_scenes_by_content(self, tmp_path: Path) -> None:
        scene = a_scene(tmp_path)
        as_json = scene.with_suffix(".json")
        as_json.write_text(scene.read_text())
        assert source_kind(as_json) is SourceKind.VIDEOS
        (scene.parent / "all.json").write_text(json.dumps(["clip.jsonl", "clip.json"]))
        assert [len(each) for each in open_cameras(scene.parent / "all.json")] == [6, 6]
        with pytest.raises(SourceError, match="has 2 scenes, and one is wanted"):
            open_camera(scene.parent / "all.json")

    def test_options_reach_their_kind(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "plain", [frame_of(n) for n in range(3)])
        assert open_camera(folder, frame_rate_hz=2.0).stamps_ns.tolist() == [0, 5 * 10**8, 10**9]
        assert open_camera(folder).stamps_ns[2] == round(2e9 / 30)
        timed = write(tmp_path / "timed", [frame_of(n, time=n / 2) for n in range(3)])
        assert open_camera(timed, duration_s=4.0).stamps_ns.tolist() == [0, 2 * 10**9, 4 * 10**9]
        assert open_camera(a_model(tmp_path), frame_rate_hz=2.0).stamps_ns[1] == 5 * 10**8
        assert open_camera(a_scene(tmp_path), frame_rate_hz=1.0).stamps_ns[-1] == 8 * 10**9
        bag = a_bag(tmp_path)
        with pytest.raises(SourceError, match="'odom'"):
            open_camera(bag, world_frame="odom")
        with pytest.raises(SourceError, match="no camera /other"):
            open_camera(bag, image_topic="/other")

    @pytest.mark.parametrize(
        ("name", "content"), [("notes.txt", "hello"), ("a.json", "3"), ("b.json", "[]"), ("c.json", '{"x": 1}')]
    )
    def test_what_is_not_known_is_told_what_is(self, tmp_path: Path, name: str, content: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(SourceError, match="no recording that is known here: give a rosbag2 folder .*[.]jsonl"):
            open_camera(tmp_path / name)

    def test_nothing_and_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="there is nothing at .*: give a rosbag2"):
            open_camera(tmp_path / "gone")
        with pytest.raises(SourceError, match="holds no recording .*: give a rosbag2"):
            open_camera(tmp_path)


class TestWhatIsNotInstalled:
    def test_nothing_but_numpy_is_imported_before_it_is_needed(self) -> None:
        program = "import sys, fsm_ros.sources.opening; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert not {"cv2", "PIL", "rclpy", "rosbags", "scipy", "torch"} & set(done.stdout.split())

    @pytest.mark.parametrize(
        ("kind", "missing", "reason"),
        [
            (SourceKind.BAG, "rosbags.highlevel", "needs rosbags.highlevel: pip install rosbags"),
            (SourceKind.FOLDER, "PIL", "needs Pillow .*: pip install pillow"),
            (SourceKind.VIDEOS, "cv2", "needs OpenCV .*: pip install opencv-python-headless"),
        ],
    )
    def test_what_to_install_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: SourceKind, missing: str, reason: str
    ) -> None:
        path = KINDS[kind](tmp_path)
        for module in [name for name in sys.modules if name.startswith("fsm_ros.sources.bags")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(SourceError, match=reason):
            open_camera(path).read(0)


def test_what_was_inherited_is_neither_used_nor_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    closed: list[int] = []

    def opener() -> int:
        opened.append(len(opened))
        return opened[-1]

    local = ProcessLocal(opener, closed.append)
    assert [local.get(), local.get()] == [0, 0]
    monkeypatch.setattr("os.getpid", lambda: -1)
    local.close()
    assert closed == [], "it is the parent's to close"
    assert [local.get(), local.get()] == [1, 1]
    local.close()
    local.close()
    assert closed == [1]
