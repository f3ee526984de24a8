# SPDX-License-Identifier: Apache-2.0
"""Reading a recording without ROS: cameras found, images decoded, those without a pose left out, damage named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import (
    STORE,
    Message,
    camera_info,
    colours,
    compressed_image,
    header,
    open_camera,
    raw_image,
    transform,
    write_bag,
)
from rosbags.rosbag2 import Reader, StoragePlugin
from rosbags.typesys.stores import ros2_jazzy as ros

from fsm_ros.replay.demo.bag import DEMO_CAMERA, write_demo_bag
from fsm_ros.sources.bags.messages import BagError
from fsm_ros.stream.frame import PosedImage

SMALL = replace(DEMO_CAMERA, width=64, height=48, fx=40.8, fy=40.9, cx=32.4, cy=23.8)
DURATION_S = 1.2


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short drive of twelve small images."""
    return write_demo_bag(tmp_path_factory.mktemp("bags") / "drive", duration_s=DURATION_S, camera=SMALL)


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, arrival, bytes(raw)) for connection, arrival, raw in reader.messages()]


def posed(stamp_ns: int = 10**9, x: float = 0.0) -> Message:
    """Where the camera is."""
    return transform("map", "camera", stamp_ns, x=x)


def every(path: Path) -> list[PosedImage]:
    """All its images."""
    camera = open_camera(path)
    return [camera.read(index) for index in range(len(camera))]


class TestFrames:
    def test_the_camera_is_that_of_the_driver_half_a_pixel_on(self, drive: Path) -> None:
        camera = open_camera(drive)
        assert (camera.image_topic, camera.info_topic) == ("/camera/image_raw", "/camera/camera_info")
        assert (camera.name, camera.camera_name, len(camera), camera.notes) == ("drive", "camera", 12, ())
        assert camera.camera(4) == camera.read(4).camera == SMALL
        assert camera.read(0).image.shape == (48, 64, 3)

    def test_a_real_recording(self) -> None:
        named = os.environ.get("FSM_CLIP_BAG")
        clip = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "bags" / "stereo4d_clip"
        if not clip.exists():
            pytest.skip(f"there is no recorded bag at {clip}: name one in FSM_CLIP_BAG")
        camera = open_camera(clip)
        row = [camera.read(index).image for index in range(3)]
        assert len(camera) == len(camera.frames) > 100
        assert np.array_equal(camera.read(len(camera) - 1).image, camera.decode(camera.frames[-1]).image)
        assert all(np.array_equal(camera.read(index).image, row[index]) for index in (2, 0, 1))

    def test_sqlite_and_single_files_give_the_same_as_mcap_folders(self, drive: Path, tmp_path: Path) -> None:
        types = {"/camera/image_raw": "Image", "/camera/camera_info": "CameraInfo"}
        messages = [
            (topic, kind, arrival, STORE.deserialize_cdr(raw, kind))
            for topic, arrival, raw in contents(drive)
            for kind in [f"sensor_msgs/msg/{types[topic]}" if topic in types else "tf2_msgs/msg/TFMessage"]
        ]
        twin = write_bag(tmp_path / "twin", messages, StoragePlugin.SQLITE3)
        expected = every(drive)
        for path in (twin, twin / "twin.db3", drive / "drive.mcap"):
            found = every(path)
            assert [image.stamp_ns for image in found] == [image.stamp_ns for image in expected]
            assert all(np.array_equal(a.image, b.image) for a, b in zip(found, expected, strict=True))
            assert all(
                np.array_equal(a.world_from_camera, b.world_from_camera) for a, b in zip(found, expected, strict=True)
            )

    @pytest.mark.parametrize(
        ("encoding", "code"), [("rgb8", None), ("bgr8", cv2.COLOR_RGB2BGR), ("bgra8", cv2.COLOR_RGB2BGRA)]
    )
    def test_colours_come_out_as_rgb(self, tmp_path: Path, encoding: str, code: int | None) -> None:
        pixels = colours()
        recorded = pixels if code is None else np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)
        bag = write_bag(tmp_path / "bag", [raw_image(recorded, encoding), camera_info(16, 12), posed()])
        frame = open_camera(bag).read(0)
        assert np.array_equal(frame.image, pixels)

    def test_grey_images_get_three_equal_channels(self, tmp_path: Path) -> None:
        grey = colours()[..., 0]
        bag = write_bag(tmp_path / "bag", [raw_image(grey, "mono8"), camera_info(16, 12), posed()])
        frame = open_camera(bag).read(0)
        assert np.array_equal(frame.image, np.repeat(grey[..., None], 3, axis=2))

    def test_padded_rows_are_read_by_their_step(self, tmp_path: Path) -> None:
        pixels = colours(12, 15)
        padded = np.concatenate([pixels.reshape(12, 45), np.full((12, 3), 99, np.uint8)], axis=1)
        topic, kind, stamp_ns, image = raw_image(pixels)
        padded_image = replace(image, step=48, data=padded.reshape(-1))  # type: ignore[type-var]
        bag = write_bag(tmp_path / "bag", [(topic, kind, stamp_ns, padded_image), camera_info(15, 12), posed()])
        frame = open_camera(bag).read(0)
        assert np.array_equal(frame.image, pixels)

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    @pytest.mark.parametrize("is_grey", [False, True])
    def test_compressed_images_are_decoded(self, tmp_path: Path, suffix: str, is_grey: bool) -> None:
        pixels = colours()
        if is_grey:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        source = pixels[..., 0] if is_grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(suffix, source)[1].tobytes()
        bag = write_bag(tmp_path / "bag", [compressed_image(data), camera_info(16, 12), posed()])
        frame = open_camera(bag).read(0)
        assert np.abs(frame.image.astype(int) - pixels).mean() < (1e-9 if suffix == ".png" else 8.0)

    def test_an_image_without_an_info_of_its_stamp_takes_the_latest_before_it(self, tmp_path: Path) -> None:
        infos = [camera_info(16, 12, stamp_ns, fx=fx) for stamp_ns, fx in ((100, 50.0), (200, 60.0), (300, 70.0))]
        images = [raw_image(colours(), stamp_ns=stamp_ns) for stamp_ns in (50, 250, 300, 900)]
        bag = write_bag(tmp_path / "bag", [*infos, *images, posed(50), posed(900)])
        assert [frame.camera.fx for frame in every(bag)] == [50.0, 60.0, 70.0, 70.0]


class TestWhatCannotBeRead:
    def test_a_ros_1_recording_that_was_cut_short(self, tmp_path: Path) -> None:
        (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
        with pytest.raises(BagError, match="no ROS 1 recording or was cut short; .*rosbag reindex"):
            open_camera(tmp_path / "old.bag")

    @pytest.mark.parametrize("kept", [0.0, 0.0001, 0.3, 0.7, 0.999])
    @pytest.mark.parametrize("storage", list(StoragePlugin))
    def test_a_recording_cut_short(self, drive: Path, tmp_path: Path, kept: float, storage: StoragePlugin) -> None:
        bag = shutil.copytree(drive, tmp_path / "drive")
        if storage is StoragePlugin.SQLITE3:
            images = [raw_image(np.full((200, 200, 3), n, np.uint8), stamp_ns=n + 1) for n in range(20)]
            bag = write_bag(tmp_path / "sqlite", [camera_info(200, 200, 1), posed(1), posed(20), *images], storage)
        (data,) = [*bag.glob("*.mcap"), *bag.glob("*.db3")]
        whole = data.read_bytes()
        data.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(BagError, match="cut short"):
            every(bag)

    def test_no_images(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [camera_info(16, 12)])
        with pytest.raises(BagError, match="no images; it holds /camera/camera_info"):
            open_camera(bag)

    def test_several_cameras_want_a_choice(self, tmp_path: Path) -> None:
        left, right = (raw_image(colours(), topic=f"/{side}/image_raw") for side in ("left", "right"))
        bag = write_bag(tmp_path / "bag", [left, right, camera_info(16, 12), posed()])
        with pytest.raises(BagError, match="several cameras, left, right: choose one"):
            open_camera(bag)
        assert open_camera(bag, "/left/image_raw").image_topic == "/left/image_raw"
        with pytest.raises(BagError, match="choose from left, right"):
            open_camera(bag, "/middle/image_raw")

    def test_a_raw_topic_and_its_compressed_twin_are_one_camera(self, tmp_path: Path) -> None:
        data = cv2.imencode(".png", colours())[1].tobytes()
        bag = write_bag(tmp_path / "bag", [compressed_image(data), raw_image(colours()), camera_info(16, 12), posed()])
        assert open_camera(bag).image_topic == "/camera/image_raw"

    def test_no_calibration(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours()), posed()])
        with pytest.raises(BagError, match="no camera info on /camera/camera_info"):
            open_camera(bag)

    @pytest.mark.parametrize(
        ("info", "reason"),
        [
            (camera_info(16, 12, fx=0.0), "calibrate"),
            (camera_info(16, 12, model="kannala", d=(0.1,)), "kannala"),
            (camera_info(160, 120), "160x120"),
        ],
    )
    def test_a_calibration_that_cannot_be(self, tmp_path: Path, info: Message, reason: str) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours()), info, posed()])
        with pytest.raises(BagError, match=reason):
            every(bag)

    def test_a_damaged_jpeg(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [compressed_image(b"\xff\xd8 no image"), camera_info(16, 12), posed()])
        with pytest.raises(BagError, match="1000000000 ns cannot be decoded"):
            every(bag)

    def test_no_transforms_at_all(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours()), camera_info(16, 12)])
        with pytest.raises(BagError, match="no transform to the frame of its images, camera .*record /tf"):
            open_camera(bag)

    def test_an_unknown_world_frame(self, drive: Path) -> None:
        with pytest.raises(BagError, match="'world'.*base_link, camera_optical_frame, map, odom"):
            open_camera(drive, world_frame="world")

    def test_a_frame_with_a_leading_slash_is_the_same_frame(self, tmp_path: Path) -> None:
        transform = ros.geometry_msgs__msg__Transform(
            ros.geometry_msgs__msg__Vector3(1.0, 2.0, 3.0),
            ros.geometry_msgs__msg__Quaternion(0.0, 0.0, 0.0, 1.0),
        )
        stamped = ros.geometry_msgs__msg__TransformStamped(header(5, "/map"), "/base", transform)
        message = ros.tf2_msgs__msg__TFMessage([stamped])
        tf = ("/tf", "tf2_msgs/msg/TFMessage", 5, message)
        (topic, kind, at_ns, image) = raw_image(colours(), stamp_ns=5)
        image = replace(image, header=header(5, "/base"))  # type: ignore[type-var]
        camera = open_camera(write_bag(tmp_path / "bag", [tf, (topic, kind, at_ns, image), camera_info(16, 12)]))
        assert np.allclose(camera.world_from_camera[0, :3, 3], [1.0, 2.0, 3.0])


class TestWithoutAPose:
    def test_images_without_a_pose_are_left_out_and_told(self, tmp_path: Path) -> None:
        images = [raw_image(colours() + np.uint8(n), stamp_ns=stamp) for n, stamp in enumerate((5, 20, 30, 45))]
        camera = open_camera(
            write_bag(tmp_path / "bag", [camera_info(16, 12), *images, posed(10, 1.0), posed(40, 4.0)])
        )
        assert (len(camera), len(camera.frames), camera.stamps_ns.tolist()) == (2, 4, [20, 30])
        assert np.allclose(camera.world_from_camera[:, 0, 3], [2.0, 3.0])
        assert np.array_equal(camera.read(1).image, colours() + np.uint8(2))
        (note,) = camera.notes
        assert "left out 2 of 4 images without a pose (the first: no transform 'map' -> 'camera' was recorded" in note

    def test_a_recording_without_any_pose(self, tmp_path: Path, drive: Path) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours()), camera_info(16, 12), posed(2 * 10**9)])
        with pytest.raises(BagError, match="no pose in 'map' for any of its 1 images: .*start recording /tf before"):
            open_camera(bag)

    def test_images_that_arrive_together_stay_apart(self, tmp_path: Path) -> None:
        images = [raw_image(colours() + np.uint8(n), stamp_ns=stamp) for n, stamp in enumerate((5, 5, 5, 6))]
        camera = open_camera(write_bag(tmp_path / "bag", [camera_info(16, 12), posed(5), posed(6), *images]))
        for index in (2, 0, 3, 1):
            assert np.array_equal(camera.read(index).image, colours() + np.uint8(index))

    def test_a_compressed_image_tells_its_camera_too(self, tmp_path: Path) -> None:
        data = cv2.imencode(".png", cv2.cvtColor(colours(), cv2.COLOR_RGB2BGR))[1].tobytes()
        camera = open_camera(write_bag(tmp_path / "bag", [compressed_image(data), camera_info(16, 12), posed()]))
        assert (camera.camera(0).width, camera.camera(0).height) == (16, 12)
        assert np.array_equal(camera.read(0).image, colours())

    def test_a_recording_that_changes_meanwhile(self, tmp_path: Path, drive: Path) -> None:
        bag = shutil.copytree(drive, tmp_path / "drive")
        camera = open_camera(bag)
        shutil.rmtree(bag)
        write_bag(bag, [camera_info(16, 12), raw_image(colours()), posed()])
        with pytest.raises(BagError, match="has no image at .*open it again, it was changed"):
            camera.read(2)
        shutil.rmtree(bag)
        camera.close()
        with pytest.raises(BagError, match="no recording at"):
            camera.read(2)


SECOND = 10**9


def round_of(pose_x: float, arrives_s: float, stamps_s: Sequence[float], late: Sequence[float] = ()) -> list[Message]:
    """A drive along y at `pose_x`, in time of its own: an image and a transform at every stamp, as they arrive."""
    messages: list[Message] = []
    for stamp_s in (*stamps_s, *late):
        at_ns = round((arrives_s + stamp_s) * SECOND)
        place = transform("odom", "base", round(stamp_s * SECOND), x=pose_x)
        picture = raw_image(colours(), stamp_ns=round(stamp_s * SECOND))
        messages += [(place[0], place[1], at_ns, place[3]), (picture[0], picture[1], at_ns + 1000, picture[3])]
    return messages


class TestTimeThatBeginsAnew:
    """A bag that was played in a loop while it was recorded, or a simulator that was started again."""

    FIRST, SECOND_ROUND = [0.5 * n for n in range(20)], [0.1 + 0.5 * n for n in range(20)]

    def poses(self, path: Path, messages: Sequence[Message]) -> list[float | None]:
        """Where along x each image was taken, in the order of arrival."""
        mount = transform("base", "camera", 0)
        odom = transform("map", "odom", 0)
        static = [("/tf_static", each[1], 0, each[3]) for each in (mount, odom)]
        rows = sorted([camera_info(16, 12, 0), *static, *messages], key=lambda message: message[2])
        camera = open_camera(write_bag(path, rows), world_frame="map")
        return [None if f.world_from_camera is None else float(f.world_from_camera[0, 3]) for f in camera.frames]

    def test_each_round_has_its_own_transforms(self, tmp_path: Path) -> None:
        messages = [*round_of(1.0, 0.0, self.FIRST), *round_of(2.0, 20.0, self.SECOND_ROUND)]
        assert self.poses(tmp_path / "bag", messages) == [1.0] * 20 + [2.0] * 20

    def test_a_third_round_and_a_shorter_one(self, tmp_path: Path) -> None:
        rounds = [(1.0, 0.0, self.FIRST), (2.0, 20.0, self.FIRST[:6]), (3.0, 40.0, self.FIRST)]
        messages = [message for each in rounds for message in round_of(*each)]
        assert self.poses(tmp_path / "bag", messages) == [1.0] * 20 + [2.0] * 6 + [3.0] * 20

    def test_an_image_of_the_first_round_that_arrives_late_keeps_its_pose(self, tmp_path: Path) -> None:
        first, second = round_of(1.0, 0.0, self.FIRST), round_of(2.0, 20.0, self.SECOND_ROUND)
        *before, last = first
        late = (last[0], last[1], second[2][2] + 10, last[3])
        found = self.poses(tmp_path / "bag", [*before, *second, late])
        assert found == [1.0] * 19 + [2.0] + [1.0] + [2.0] * 19

    def test_transforms_alone_may_begin_anew(self, tmp_path: Path) -> None:
        """The recording ends just after the restart, before the first image of the new round."""
        again = [message for message in round_of(-5.0, 20.0, self.FIRST[:6]) if message[0] == "/tf"]
        assert self.poses(tmp_path / "bag", [*round_of(1.0, 0.0, self.FIRST), *again]) == [1.0] * 20

    def test_links_that_are_said_twice_begin_anew_too(self, tmp_path: Path) -> None:
        rounds = [*round_of(1.0, 0.0, self.FIRST), *round_of(2.0, 20.0, self.FIRST)]
        twice = [message for each in rounds for message in ([each, each] if each[0] == "/tf" else [each])]
        assert self.poses(tmp_path / "bag", twice) == [1.0] * 20 + [2.0] * 20

    def test_images_alone_may_begin_anew(self, tmp_path: Path) -> None:
        links = [message for message in round_of(1.0, 0.0, self.FIRST) if message[0] == "/tf"]
        images = [message for message in round_of(1.0, 0.0, self.FIRST) if message[0] != "/tf"]
        again = [(topic, kind, at_ns + 10 * SECOND, image) for topic, kind, at_ns, image in images]
        assert self.poses(tmp_path / "bag", [*links, *images, *again]) == [1.0] * 40

    @pytest.mark.parametrize("stamp_s", [0.0, 2.0], ids=["zero", "old"])
    def test_one_old_stamp_is_no_new_round(self, tmp_path: Path, stamp_s: float) -> None:
        place = transform("odom", "base", round(stamp_s * SECOND), x=1.0)
        stray = (place[0], place[1], 7 * SECOND, place[3])
        assert self.poses(tmp_path / "bag", [*round_of(1.0, 0.0, self.FIRST), stray]) == [1.0] * 20
