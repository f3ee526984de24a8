# SPDX-License-Identifier: Apache-2.0
"""The release's scenes: a video, and the pose of every frame in JSON; the very frame that was asked for is decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from recordings_videos import BITS, HEIGHT, RATE_HZ, WIDTH, frame_of, numbered, scene_of, w2c, write_scene, write_video

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.video_frames import NEAR, VideoFrames
from fsm_ros.sources.videos import read_scenes
from fsm_ros.stream.frame import Camera

LENGTH = 300
POINT = np.array([0.3, 0.8, 4.0])


def number_in(image: NDArray[np.uint8]) -> int:
    middles = image[HEIGHT // 2, 5 : 10 * BITS : 10].mean(axis=-1)
    return sum(1 << bit for bit, value in enumerate(middles) if value > 127)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", [numbered(index) for index in range(LENGTH)])


class TestScenes:
    def test_the_ray_of_the_pixel_that_shows_a_point_goes_through_the_point(self, tmp_path: Path) -> None:
        numbers, images, seen = (0, 3, 7), [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(8)], []
        for number in numbers:
            x, y, z = (w2c(number) @ [*POINT, 1.0])[:3]
            u, v = 47.0 + 80.0 * x / z, 33.0 + 82.0 * y / z
            images[number][int(v) - 2 : int(v) + 3, int(u) - 2 : int(u) + 3] = 255
            seen.append((u, v))
        path = write_scene(tmp_path / "scene", write_video(tmp_path / "dots.mp4", images), scene_of(*numbers))
        (source,) = read_scenes(path)
        for index, (u, v) in enumerate(seen):
            frame = source.read(index)
            towards = frame.world_from_camera[:3, :3].T @ (POINT - frame.position)
            assert towards[2] > 0
            shown = frame.camera.fxfycxcy[:2] * towards[:2] / towards[2] + frame.camera.fxfycxcy[2:]
            assert np.allclose(shown, (u, v), atol=1e-9)
            middle = np.argwhere(frame.image[..., 0] > 127).mean(axis=0)[::-1] + 0.5
            assert np.abs(shown - middle).max() < 1.0

    def test_a_scene_says_what_its_file_says(self, tmp_path: Path, video: Path) -> None:
        (source,) = read_scenes(write_scene(tmp_path, video, scene_of(4, 10, 6)))
        assert (source.name, len(source)) == ("a walk", 3)
        assert source.camera(1) == Camera(WIDTH, HEIGHT, 80.0, 82.0, 47.0, 33.0)
        assert source.stamps_ns.tolist() == [round(number / RATE_HZ * 1e9) for number in (4, 10, 6)]
        assert [number_in(source.read(index).image) for index in range(3)] == [4, 10, 6]
        assert source.read(2).stamp_ns == source.stamps_ns[2]

    def test_the_frame_rate_may_be_told(self, tmp_path: Path, video: Path) -> None:
        (source,) = read_scenes(write_scene(tmp_path, video, scene_of(0, 5)), frame_rate_hz=10.0)
        assert source.stamps_ns.tolist() == [0, 5 * 10**8]
        with pytest.raises(ValueError, match="must be positive"):
            read_scenes(tmp_path / "clip.jsonl", frame_rate_hz=0.0)

    def test_size_and_name_may_be_left_out(self, tmp_path: Path, video: Path) -> None:
        scene = scene_of(0)
        del scene["scene_name"], scene["frames"][0]["w"], scene["frames"][0]["h"]
        (source,) = read_scenes(write_scene(tmp_path, video, scene))
        assert (source.name, source.camera(0).width, source.camera(0).height) == ("clip", WIDTH, HEIGHT)

    def test_a_scene_may_also_take_one_line_each(self, tmp_path: Path, video: Path) -> None:
        path = write_scene(tmp_path, video, scene_of(1, scene_name="one"), scene_of(2, 3, scene_name="two"))
        assert [(source.name, len(source)) for source in read_scenes(path)] == [("one", 1), ("two", 2)]

    def test_a_data_set_lists_scenes_by_paths_from_a_folder_above(self, tmp_path: Path, video: Path) -> None:
        folder = tmp_path / "static" / "datasets"
        for name in ("a", "b"):
            scene = scene_of(scene_name=name, video_path=f"static/datasets/{name}/clip.mp4")
            write_scene(folder / name, video, scene)
        (folder / "all.json").write_text(json.dumps([f"static/datasets/{name}/clip.jsonl" for name in "ab"]))
        sources = read_scenes(folder / "all.json")
        assert [source.name for source in sources] == ["a", "b"]
        assert number_in(sources[1].read(3).image) == 3

    def test_a_video_that_moved_is_found_by_its_name(self, tmp_path: Path, video: Path) -> None:
        path = write_scene(tmp_path, video, scene_of(video_path="/nowhere/at/all/clip.mp4"))
        assert number_in(read_scenes(path)[0].read(2).image) == 2


class TestFrames:
    def test_any_order_gives_the_frames_of_the_sequence(self, video: Path) -> None:
        far = NEAR + 60
        order = [0, 5, 5, 4, far + 50, far, 17, LENGTH - 1, far + 1, NEAR, NEAR + 1, 0]
        assert far + 50 < LENGTH
        sequential, jumping = VideoFrames(video), VideoFrames(video)
        expected = [sequential.read(index) for index in range(LENGTH)]
        assert [number_in(image) for image in expected] == list(range(LENGTH))
        for index in order:
            assert np.array_equal(jumping.read(index), expected[index]), index

    def test_a_seek_that_ends_elsewhere_is_not_believed(self, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        times_ms = VideoFrames(video)._all_times_ms()
        frames = VideoFrames(video)
        monkeypatch.setattr(frames, "_all_times_ms", lambda: times_ms + 20.0)
        assert [number_in(frames.read(index)) for index in (250, 200, 290)] == [250, 200, 290]

    def test_what_it_says_of_itself(self, video: Path) -> None:
        frames = VideoFrames(video)
        assert (frames.size, frames.frame_rate_hz) == ((WIDTH, HEIGHT), RATE_HZ)

    @pytest.mark.parametrize("index", [LENGTH, LENGTH + 1000])
    def test_beyond_the_end(self, video: Path, index: int) -> None:
        frames = VideoFrames(video)
        with pytest.raises(SourceError, match=f"clip.mp4 has no frame {index}: it ends after {LENGTH} frames"):
            frames.read(index)
        assert number_in(frames.read(3)) == 3, "it can be read on"


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"frames": []}, "'frames' must be a list"),
            ({"video_path": None}, "'video_path' must be a text"),
            ({"video_path": "gone.mp4"}, "the video gone.mp4 is neither in .*: copy it along"),
            ({"scene_name": 3}, "'scene_name' must be a text"),
            ({"frames": [frame_of(0), frame_of(1, w2c=[[1.0]])]}, "frame 1: w2c must be 4x4 numbers"),
            ({"frames": [frame_of(0, w2c=(2 * np.eye(4)).tolist())]}, "frame 0: w2c is no rigid transform"),
            ({"frames": [{"frame_idx": 0, "fx": 1.0}]}, "frame 0: there is no 'w2c'"),
            ({"frames": [frame_of(0, fx=None)]}, "frame 0: 'fx' must be a finite number, got None"),
            ({"frames": [frame_of(0, fy=0.0)]}, "frame 0: focal lengths must be positive"),
            ({"frames": [frame_of(0, frame_idx=-1)]}, "frame 0: 'frame_idx' must be a whole number from 0"),
            ({"frames": [frame_of(0, frame_idx=1.5)]}, "frame 0: 'frame_idx' must be a whole number from 0"),
            (
                {"frames": [frame_of(0, w=512, h=512)]},
                "frame 0: its intrinsics are of 512x512 .* has 96x64",
            ),
        ],
    )
    def test_what_is_wrong_with_a_scene_is_named(
        self, tmp_path: Path, video: Path, change: dict[str, Any], reason: str
    ) -> None:
        path = write_scene(tmp_path, video, scene_of(**change))
        with pytest.raises(SourceError, match=f"clip.jsonl: .*{reason}"):
            read_scenes(path)

    def test_a_scene_of_image_files(self, tmp_path: Path, video: Path) -> None:
        scene = scene_of(frames=[frame_of(0, file_path="frame_00000.png")])
        del scene["video_path"]
        with pytest.raises(SourceError, match="no 'video_path'; scenes that list images .*transforms.json"):
            read_scenes(write_scene(tmp_path, video, scene))

    def test_one_of_several_scenes(self, tmp_path: Path, video: Path) -> None:
        path = write_scene(tmp_path, video, scene_of(), scene_of(frames=[frame_of(0), {}]))
        with pytest.raises(SourceError, match="clip.jsonl: scene 1: frame 1: there is no 'w2c'"):
            read_scenes(path)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "is no JSON|is empty"),
            ("[1, 2]", "a scene must be a JSON object"),
            ('{"frames": [\n{"frame_idx": 0,\n', "is no JSON .line 3"),
            ('{"video_path": "clip.mp4"}\n{"video_', "line 2 is no JSON"),
        ],
    )
    def test_no_scene_at_all(self, tmp_path: Path, content: str, reason: str) -> None:
        (tmp_path / "scene.jsonl").write_text(content)
        with pytest.raises(SourceError, match=reason):
            read_scenes(tmp_path / "scene.jsonl")

    def test_no_video(self, tmp_path: Path, video: Path) -> None:
        path = write_scene(tmp_path, video, scene_of())
        (tmp_path / "clip.mp4").write_bytes(b"no video")
        with pytest.raises(SourceError, match="clip.mp4 is no video that OpenCV can decode"):
            read_scenes(path)
        with pytest.raises(SourceError, match="there is no video at"):
            VideoFrames(tmp_path / "gone.mp4")

    def test_a_data_set_with_a_scene_that_is_gone(self, tmp_path: Path) -> None:
        (tmp_path / "all.json").write_text('["gone.jsonl"]')
        with pytest.raises(SourceError, match="all.json: the scene gone.jsonl is neither in"):
            read_scenes(tmp_path / "all.json")
