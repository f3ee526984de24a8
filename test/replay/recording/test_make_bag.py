# SPDX-License-Identifier: Apache-2.0
"""Making recordings: what is converted reads back the same, drives are real ones, and errors leave nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from recordings import open_camera
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation

from fsm_ros.replay.recording import make_bag
from fsm_ros.replay.recording.bag_writer import EPOCH_NS, LAST_STAMP_NS
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.convert import APART_NS, convert
from fsm_ros.replay.recording.scene_bag import camera_of, record_scene
from fsm_ros.replay.recording.scene_drive import SceneDrive, find_drive
from fsm_ros.replay.recording.scene_robot import Arm
from fsm_ros.replay.recording.scene_world import CLEARANCE_M, SceneWorld
from fsm_ros.replay.recording.settings import Codec, SceneBagSettings
from fsm_ros.sources.folders import open_folder
from fsm_ros.sources.recorded import RecordedCamera, in_file
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.rigid import distance_m, turn_rad

WIDTH, HEIGHT, FRAMES = 32, 24, 5
LENS = {"fl_x": 30.0, "fl_y": 31.0, "cx": 15.0, "cy": 12.5, "w": WIDTH, "h": HEIGHT}
DISTORTED = {**LENS, "camera_model": "OPENCV", "k1": -0.1, "k2": 0.02, "p1": 0.001, "p2": -0.002}
FISHEYE = {**LENS, "camera_model": "OPENCV_FISHEYE", "k1": -0.02, "k2": 0.004}
TINY = SceneBagSettings(duration_s=1.2, width=32, height=24, cameras=2)


def poses() -> NDArray[np.float64]:
    """``[n, 4, 4]`` turned and moved every way."""
    drawn = np.tile(np.eye(4), (FRAMES, 1, 1))
    rng = np.random.default_rng(3)
    drawn[:, :3, :3] = Rotation.random(FRAMES, random_state=7).as_matrix()
    drawn[:, :3, 3] = rng.uniform(-20.0, 20.0, (FRAMES, 3))
    return drawn


def picture(index: int) -> NDArray[np.uint8]:
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([5 * u, 8 * v, 40 * index + u + v], axis=-1).astype(np.uint8)


def folder(path: Path, top: dict[str, object] = LENS, times: list[float] | None = None) -> Path:
    """A folder of posed images; frames follow each other at 30 Hz from 0 unless they have times, in seconds."""
    (path / "images").mkdir(parents=True)
    frames = []
    for index, pose in enumerate(poses()):
        Image.fromarray(picture(index)).save(path / "images" / f"{index}.png")
        opengl = pose @ np.diag([1.0, -1.0, -1.0, 1.0])
        frame = {"file_path": f"images/{index}.png", "transform_matrix": opengl.tolist()}
        frames.append(frame if times is None else {**frame, "timestamp": times[index]})
    (path / "transforms.json").write_text(json.dumps({**top, "frames": frames}))
    return path


class GreyPixels:
    """Single pixels, each as bright as its number."""

    def camera(self, index: int) -> Camera:
        return Camera(1, 1, 1.0, 1.0, 0.5, 0.5)

    def decode(self, index: int) -> tuple[NDArray[np.uint8], Camera]:
        return np.full((1, 1, 3), index, np.uint8), self.camera(index)

    def close(self) -> None:
        pass


def in_memory(stamps_ns: list[int]) -> RecordedCamera:
    poses = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
    return in_file("pixels", np.array(stamps_ns, dtype=np.int64), poses, GreyPixels())


# --- conversion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "error"), [(None, 0), (Codec.PNG, 0), (Codec.JPEG, 30)])
def test_what_is_converted_reads_back_the_same(tmp_path: Path, codec: Codec | None, error: int) -> None:
    source = open_folder(folder(tmp_path / "in", DISTORTED))
    convert(source, tmp_path / "bag", topics=CameraTopics("camera", codec))
    back = open_camera(tmp_path / "bag")
    assert len(back) == len(back.frames) == FRAMES
    assert np.array_equal(np.diff(back.stamps_ns), np.diff(source.stamps_ns))
    assert np.abs(back.world_from_camera - source.world_from_camera).max() < 1e-9
    for index in range(FRAMES):
        there, here = back.read(index), source.read(index)
        assert there.camera == here.camera and there.camera.distortion is Distortion.PLUMB_BOB
        difference = np.abs(there.image.astype(int) - here.image)
        assert difference.max() <= error and difference.mean() <= error / 6


@pytest.mark.parametrize("top", [LENS, DISTORTED, FISHEYE], ids=["none", "plumb_bob", "equidistant"])
def test_the_lens_stays_as_it_is(tmp_path: Path, top: dict[str, object]) -> None:
    source = open_folder(folder(tmp_path / "in", top))
    convert(source, tmp_path / "bag")
    back = open_camera(tmp_path / "bag")
    assert [back.camera(index) for index in range(FRAMES)] == [source.camera(index) for index in range(FRAMES)]


def test_images_of_several_sizes_each_keep_their_own_camera(tmp_path: Path) -> None:
    path = folder(tmp_path / "in")
    content = json.loads((path / "transforms.json").read_text())
    Image.fromarray(picture(1)[:16, :20]).save(path / "images" / "1.png")
    content["frames"][1].update(w=20, h=16, fl_x=25.0, fl_y=25.0, cx=10.0, cy=8.0)
    (path / "transforms.json").write_text(json.dumps(content))
    source = open_folder(path)
    convert(source, tmp_path / "bag")
    back = open_camera(tmp_path / "bag")
    assert [back.camera(index) for index in range(FRAMES)] == [source.camera(index) for index in range(FRAMES)]


def test_stamps_that_are_dates_are_kept_and_others_begin_at_a_fixed_one(tmp_path: Path) -> None:
    dates = [1.7e9 + index for index in range(FRAMES)]
    convert(open_folder(folder(tmp_path / "dated", times=dates)), tmp_path / "a")
    assert open_camera(tmp_path / "a").stamps_ns.tolist() == [round(date * 1e9) for date in dates]
    convert(open_folder(folder(tmp_path / "undated")), tmp_path / "b")
    assert open_camera(tmp_path / "b").stamps_ns[0] == EPOCH_NS, "TF takes 0 for the newest there is"


@pytest.mark.slow
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_stamps_come_in_order_strictly_rising_after_zero(
    tmp_path_factory: pytest.TempPathFactory, stamps: list[int]
) -> None:
    path = tmp_path_factory.mktemp("bags") / "bag"
    done = convert(in_memory(stamps), path, topics=CameraTopics("camera"))
    back = open_camera(path)
    found = back.stamps_ns.tolist()
    assert found[0] > 0 and all(a < b for a, b in zip(found, found[1:], strict=False))
    shift = EPOCH_NS - min(stamps) if min(stamps) <= 0 else 0
    moved = np.array(found) - np.sort(stamps) - shift
    assert moved.min() >= 0 and moved.max() <= APART_NS * len(stamps)
    assert np.count_nonzero(moved) == done.moved_apart
    assert done.moved_apart == 0 or len(set(stamps)) < len(stamps) or np.diff(np.sort(stamps)).min() < APART_NS
    order = sorted(range(len(stamps)), key=lambda index: stamps[index])
    assert [int(back.read(index).image[0, 0, 0]) for index in range(len(stamps))] == order


def test_frames_names_and_the_unit_are_as_asked_for(tmp_path: Path) -> None:
    source = open_folder(folder(tmp_path / "in"))
    done = convert(
        source, tmp_path / "bag", topics=CameraTopics("head", None), world_frame="world", metres_per_unit=0.5
    )
    assert set(done.topics) == {"/tf", "/head/image_raw", "/head/camera_info"}
    back = open_camera(tmp_path / "bag", world_frame="world")
    assert back.image_topic.startswith("/head/")
    assert np.allclose(back.world_from_camera[:, :3, 3], 0.5 * source.world_from_camera[:, :3, 3], atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"world_frame": ""}, "cannot be the world's frame"),
        ({"world_frame": "/map"}, "without a leading slash"),
        ({"world_frame": "camera_optical_frame"}, "other than camera_optical_frame"),
        ({"metres_per_unit": 0.0}, "a positive length"),
    ],
)
def test_a_conversion_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        convert(in_memory([1, 2]), tmp_path / "bag", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_stamps_that_no_message_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2038"):
        convert(in_memory([5, LAST_STAMP_NS + 1]), tmp_path / "bag")
    assert list(tmp_path.iterdir()) == []


# --- their recordings -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short drive with two cameras."""
    return record_scene(tmp_path_factory.mktemp("bags") / "tiny", TINY).path


@pytest.fixture(scope="module")
def tiny_drive() -> SceneDrive:
    return find_drive(TINY.family, TINY.seed, duration_s=TINY.duration_s, difficulty=TINY.difficulty)


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, arrival, bytes(raw)) for connection, arrival, raw in reader.messages()]


@pytest.mark.slow
def test_both_cameras_take_their_images_at_the_same_moments(tiny: Path) -> None:
    front, side = (open_camera(tiny, image_topic=f"/{name}/image_raw") for name in ("front", "side"))
    assert front.stamps_ns.tolist() == side.stamps_ns.tolist()
    assert front.stamps_ns.tolist() == [EPOCH_NS + index * 100_000_000 for index in range(12)]
    assert front.camera(0) == side.camera(0) == camera_of(TINY)


@pytest.mark.slow
def test_images_are_what_there_is_to_see_from_where_tf_says(tiny: Path, tiny_drive: SceneDrive) -> None:
    arm = Arm.around(tiny_drive.robot, tiny_drive.world.clearance_m, least_m=CLEARANCE_M, duration_s=1.1)
    for name in ("front", "side"):
        source = open_camera(tiny, image_topic=f"/{name}/image_raw")
        for index in (0, 5, 11):
            frame, time_s = source.read(index), 0.1 * index
            truth = tiny_drive.robot.map_from_camera(time_s)
            if name == "side":
                truth = truth @ arm.first_from_second(time_s)
            assert distance_m(frame.world_from_camera, truth) < 1e-3
            assert np.rad2deg(turn_rad(frame.world_from_camera, truth)) < 0.1
            (seen,) = tiny_drive.world.render(camera_of(TINY), truth[None], np.array([time_s]))
            assert np.array_equal(frame.image, seen) and seen.std() > 3


@pytest.mark.slow
def test_tf_has_a_chain_as_robots_have_and_never_speaks_with_an_image(tiny: Path) -> None:
    source = open_camera(tiny, image_topic="/side/image_raw")
    assert source.notes == ()
    arrivals: dict[str, set[int]] = {}
    for topic, arrival_ns, _ in contents(tiny):
        arrivals.setdefault(topic, set()).add(arrival_ns)
    assert arrivals.keys() == {
        "/tf_static",
        "/tf",
        *(f"/{c}/{t}" for c in ("front", "side") for t in ("image_raw", "camera_info")),
    }
    stamps = {arrival_ns - 1_000_000 for arrival_ns in arrivals["/tf"]}
    assert not stamps & set(source.stamps_ns.tolist())


@pytest.mark.slow
def test_equal_settings_give_equal_messages_and_other_seeds_other_ones(tiny: Path, tmp_path: Path) -> None:
    short = SceneBagSettings(duration_s=0.3, width=16, height=12)
    bags = [record_scene(tmp_path / str(number), short).path for number in range(2)]
    assert contents(bags[0]) == contents(bags[1])
    other = record_scene(tmp_path / "other", SceneBagSettings(duration_s=0.3, width=16, height=12, seed=1)).path
    assert contents(other) != contents(bags[0])


@pytest.mark.slow
def test_one_camera_is_called_camera_and_may_be_compressed(tmp_path: Path) -> None:
    done = record_scene(tmp_path / "bag", SceneBagSettings(duration_s=0.2, width=32, height=24, codec=Codec.JPEG))
    assert done.images == 2 and done.topics["/camera/image_raw/compressed"] == done.topics["/camera/camera_info"] == 2
    assert open_camera(tmp_path / "bag").read(1).image.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"duration_s": 0.0}, "at least one image"),
        ({"rate_hz": -1.0}, "at least one image"),
        ({"duration_s": float("inf")}, "at least one image"),
        ({"width": 0}, "a positive size"),
        ({"cameras": 3}, "1 or 2 cameras"),
    ],
)
def test_a_drive_that_cannot_be_recorded_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneBagSettings(**values)


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_converts_a_folder_and_tells_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder(tmp_path / "in")), "--out", str(tmp_path / "bag"), "--rate", "10"]
    assert make_bag.main(arguments) == 0
    told = capsys.readouterr().out
    assert "5 images over 0.4 s" in told and "/camera/image_raw/compressed" in told
    assert make_bag.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_command_tells_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder from which two photos are gone and one was never placed becomes a recording of the others."""
    file = folder(tmp_path / "posed") / "transforms.json"
    said = json.loads(file.read_text())
    said["frames"] += [
        {"file_path": "images/gone.png", "transform_matrix": np.eye(4).tolist()},
        {"file_path": "images/0.png", "transform_matrix": None},
    ]
    file.write_text(json.dumps(said))
    assert make_bag.main([str(tmp_path / "posed"), "--out", str(tmp_path / "bag")]) == 0
    told = capsys.readouterr().out
    assert "5 images" in told
    assert "left out 2 of 7 images" in told and "1 without an image file" in told and "1 without a pose" in told


@pytest.mark.slow
def test_the_command_records_a_scene_and_tells_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--scene",
        "room",
        "--seed",
        "3",
        "--duration",
        "0.5",
        "--rate",
        "4",
        "--size",
        "20x16",
        "--cameras",
        "2",
        "--lens",
    ]
    assert make_bag.main([*options, "--png", "--out", str(tmp_path / "bag")]) == 0
    told = capsys.readouterr().out
    assert "2 images of each camera" in told and "/side/image_raw/compressed" in told and "of seed 3" in told
    frame = open_camera(tmp_path / "bag", image_topic="/side/image_raw/compressed").read(0)
    assert frame.image.shape == (16, 20, 3) and frame.camera.is_distorted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "either a FOLDER to convert or --scene to record"),
        (["x", "--scene", "room"], "either a FOLDER to convert or --scene to record"),
        (["x", "--seed", "3"], "--seed is for recording a --scene"),
        (["--scene", "room", "--world-frame", "world"], "--world-frame is for converting a FOLDER"),
        (["--scene", "room", "--size", "big"], "WIDTHxHEIGHT"),
        (["--scene", "castle"], "invalid choice"),
        (["--scene", "room", "--quality", "80"], "give --jpeg with it"),
        (["x", "--raw", "--quality", "80"], "give --jpeg with it"),
        (["x", "--raw", "--jpeg"], "not allowed together"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        make_bag.main([*options, "--out", str(tmp_path / "bag")])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "there is nothing at nowhere"),
        (["--scene", "room", "--duration", "0"], "at least one image"),
        (["--scene", "room", "--difficulty", "2", "--duration", "1"], "difficulty"),
        (["--scene", "room", "--seed", "-1", "--duration", "1"], "must not be negative"),
        (["--scene", "room", "--jpeg", "--quality", "0", "--duration", "1"], "between 1 and 100"),
    ],
)
def test_a_bad_input_is_named_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert make_bag.main([*options, "--out", str(tmp_path / "bag")]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_damaged_is_named_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder(tmp_path / "in")
    damaged = path / "images" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    assert make_bag.main([str(path), "--out", str(tmp_path / "bag")]) == 2
    assert str(damaged) in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_a_bag_is_not_converted(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_bag.main([str(tiny), "--out", str(tmp_path / "bag")]) == 2
    assert "is a rosbag already" in capsys.readouterr().err


@pytest.mark.slow
def test_after_an_interrupt_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(SceneWorld, "render", interrupted)
    assert make_bag.main(["--scene", "room", "--duration", "1", "--out", str(tmp_path / "bag")]) == 130
    assert "was not written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
