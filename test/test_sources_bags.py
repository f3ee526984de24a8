"""Reading a recording without ROS: topics found, images decoded, poses interpolated, damage named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import STORE, Message, camera_info, colours, compressed_image, header, raw_image, write_bag
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader, StoragePlugin
from rosbags.typesys.stores import ros2_jazzy as ros
from scipy.spatial.transform import Rotation

from fsm_ros.replay.demo.bag import DEMO_CAMERA, START_NS, TOPICS, DemoRobot, write_demo_bag
from fsm_ros.sources.bag_messages import BagError
from fsm_ros.sources.bags import (
    CameraBag,
    find_camera,
    read_frames,
    read_posed_images,
    read_stamps,
    read_transforms,
)
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.transforms import StampedTransform, TransformError, TransformTree

SMALL = replace(DEMO_CAMERA, width=64, height=48, fx=40.8, fy=40.9, cx=32.4, cy=23.8)
DURATION_S = 1.2


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short drive of twelve small images."""
    return write_demo_bag(tmp_path_factory.mktemp("bags") / "drive", duration_s=DURATION_S, camera=SMALL)


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, arrival, bytes(raw)) for connection, arrival, raw in reader.messages()]


class TestDemoBag:
    def test_equal_arguments_give_equal_messages(self, drive: Path, tmp_path: Path) -> None:
        again = write_demo_bag(tmp_path / "again", duration_s=DURATION_S, camera=SMALL)
        assert contents(again) == contents(drive)

    def test_another_seed_is_another_scene_on_the_same_drive(self, drive: Path, tmp_path: Path) -> None:
        other = write_demo_bag(tmp_path / "other", seed=1, duration_s=DURATION_S, camera=SMALL)
        topics_that_differ = {a[0] for a, b in zip(contents(drive), contents(other), strict=True) if a != b}
        assert topics_that_differ == {TOPICS.image_topic}

    def test_images_come_at_ten_hertz_and_their_infos_at_the_same_stamps(self, drive: Path) -> None:
        bag = find_camera(drive)
        assert read_stamps(bag) == tuple(START_NS + index * 100_000_000 for index in range(12))
        infos = [raw for topic, _, raw in contents(drive) if topic == TOPICS.info_topic]
        stamps = [STORE.deserialize_cdr(raw, "sensor_msgs/msg/CameraInfo").header.stamp for raw in infos]
        assert tuple(stamp.sec * 10**9 + stamp.nanosec for stamp in stamps) == read_stamps(bag)

    def test_transforms_speak_before_and_after_every_image_but_never_with_one(self, drive: Path) -> None:
        images = read_stamps(find_camera(drive))
        stamps: dict[str, list[int]] = {}
        for topic, _, raw in contents(drive):
            if topic == "/tf":
                (transform,) = STORE.deserialize_cdr(raw, "tf2_msgs/msg/TFMessage").transforms
                stamp = transform.header.stamp
                stamps.setdefault(transform.child_frame_id, []).append(stamp.sec * 10**9 + stamp.nanosec)
        assert stamps.keys() == {"odom", "base_link"}
        for child, period_ns in (("odom", 100_000_000), ("base_link", 20_000_000)):
            assert min(stamps[child]) < images[0] and max(stamps[child]) > images[-1]
            assert not set(stamps[child]) & set(images)
            assert set(np.diff(stamps[child])) == {period_ns}

    def test_the_mount_is_recorded_as_latched(self, drive: Path) -> None:
        with Reader(drive) as reader:
            (connection,) = reader.topics["/tf_static"].connections
            (qos,) = connection.ext.offered_qos_profiles
            (latched,) = reader.messages([connection])
            first = next(reader.messages())
        assert qos.durability is QosDurability.TRANSIENT_LOCAL and qos.depth == 1
        assert first[0].topic == "/tf_static" and first[2] == latched[2]

    def test_interpolated_poses_are_where_the_images_were_taken(self, drive: Path) -> None:
        robot = DemoRobot(DURATION_S)
        for image in read_posed_images(find_camera(drive)):
            truth = robot.map_from_camera((image.stamp_ns - START_NS) / 1e9)
            # The robot turns ten times faster here than in the whole drive.
            assert np.linalg.norm(image.position - truth[:3, 3]) < 1e-3
            turn = Rotation.from_matrix(truth[:3, :3].T @ image.world_from_camera[:3, :3]).magnitude()
            assert np.rad2deg(turn) < 0.1

    def test_the_whole_drive_turns_by_300_degrees_near_the_middle(self) -> None:
        robot = DemoRobot(11.0)
        poses = [robot.map_from_camera(time_s) for time_s in np.linspace(0.0, 11.0, 111)]
        turns = [
            Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude() for a, b in zip(poses, poses[1:], strict=False)
        ]
        assert np.isclose(np.rad2deg(sum(turns)), 300.0)
        assert np.rad2deg(max(turns)) < 4.0
        assert max(np.linalg.norm(pose[:2, 3]) for pose in poses) < 0.4 * 1.6
        assert all(np.allclose(pose[:3, 1], [0.0, 0.0, -1.0]) for pose in poses), "the camera is level"

    def test_a_folder_that_exists_is_not_overwritten(self, drive: Path) -> None:
        with pytest.raises(FileExistsError, match="exists already"):
            write_demo_bag(drive)

    def test_a_recording_that_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        folding = replace(SMALL, coefficients=(-3.0, 0.0, 0.0, 0.0, 0.0))
        with pytest.raises(ValueError, match="no ray"):
            write_demo_bag(tmp_path / "bag", duration_s=0.3, camera=folding)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("duration_s", "rate_hz"), [(0.0, 10.0), (1.0, 0.0), (-1.0, -10.0), (0.05, 10.0)])
    def test_a_recording_without_images_is_refused(self, tmp_path: Path, duration_s: float, rate_hz: float) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            write_demo_bag(tmp_path / "bag", duration_s=duration_s, rate_hz=rate_hz)


class TestFrames:
    def test_the_camera_is_that_of_the_driver_half_a_pixel_on(self, drive: Path) -> None:
        bag = find_camera(drive)
        assert bag == CameraBag(drive, "/camera/image_raw", "/camera/camera_info")
        frame = next(iter(read_frames(bag)))
        assert frame.camera == SMALL
        assert frame.frame_id == "camera_optical_frame"
        assert frame.image.shape == (48, 64, 3)

    def test_only_the_asked_for_stamps_come(self, drive: Path) -> None:
        bag = find_camera(drive)
        stamps = read_stamps(bag)
        wanted = {stamps[3], stamps[7]}
        chosen = list(read_frames(bag, wanted))
        every = list(read_frames(bag))
        assert [frame.index for frame in chosen] == [3, 7]
        assert all(np.array_equal(frame.image, every[frame.index].image) for frame in chosen)

    def test_a_stamp_that_was_never_recorded_is_an_error(self, drive: Path) -> None:
        with pytest.raises(BagError, match="no image .* with stamp 17 ns"):
            list(read_frames(find_camera(drive), [17]))

    def test_sqlite_and_single_files_give_the_same_as_mcap_folders(self, drive: Path, tmp_path: Path) -> None:
        types = {"/camera/image_raw": "Image", "/camera/camera_info": "CameraInfo"}
        messages = [
            (topic, kind, arrival, STORE.deserialize_cdr(raw, kind))
            for topic, arrival, raw in contents(drive)
            for kind in [f"sensor_msgs/msg/{types[topic]}" if topic in types else "tf2_msgs/msg/TFMessage"]
        ]
        twin = write_bag(tmp_path / "twin", messages, StoragePlugin.SQLITE3)
        expected = list(read_posed_images(find_camera(drive)))
        for path in (twin, twin / "twin.db3", drive / "drive.mcap"):
            found = list(read_posed_images(find_camera(path)))
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
        bag = write_bag(tmp_path / "bag", [raw_image(recorded, encoding), camera_info(16, 12)])
        (frame,) = read_frames(find_camera(bag))
        assert np.array_equal(frame.image, pixels)

    def test_grey_images_get_three_equal_channels(self, tmp_path: Path) -> None:
        grey = colours()[..., 0]
        bag = write_bag(tmp_path / "bag", [raw_image(grey, "mono8"), camera_info(16, 12)])
        (frame,) = read_frames(find_camera(bag))
        assert np.array_equal(frame.image, np.repeat(grey[..., None], 3, axis=2))

    def test_padded_rows_are_read_by_their_step(self, tmp_path: Path) -> None:
        pixels = colours(12, 15)
        padded = np.concatenate([pixels.reshape(12, 45), np.full((12, 3), 99, np.uint8)], axis=1)
        topic, kind, stamp_ns, image = raw_image(pixels)
        padded_image = replace(image, step=48, data=padded.reshape(-1))  # type: ignore[type-var]
        bag = write_bag(tmp_path / "bag", [(topic, kind, stamp_ns, padded_image), camera_info(15, 12)])
        (frame,) = read_frames(find_camera(bag))
        assert np.array_equal(frame.image, pixels)

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    @pytest.mark.parametrize("is_grey", [False, True])
    def test_compressed_images_are_decoded(self, tmp_path: Path, suffix: str, is_grey: bool) -> None:
        pixels = colours()
        if is_grey:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        source = pixels[..., 0] if is_grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(suffix, source)[1].tobytes()
        bag = write_bag(tmp_path / "bag", [compressed_image(data), camera_info(16, 12)])
        (frame,) = read_frames(find_camera(bag))
        assert np.abs(frame.image.astype(int) - pixels).mean() < (1e-9 if suffix == ".png" else 8.0)

    def test_an_image_without_an_info_of_its_stamp_takes_the_latest_before_it(self, tmp_path: Path) -> None:
        infos = [camera_info(16, 12, stamp_ns, fx=fx) for stamp_ns, fx in ((100, 50.0), (200, 60.0), (300, 70.0))]
        images = [raw_image(colours(), stamp_ns=stamp_ns) for stamp_ns in (50, 250, 300, 900)]
        bag = write_bag(tmp_path / "bag", [*infos, *images])
        assert [frame.camera.fx for frame in read_frames(find_camera(bag))] == [50.0, 60.0, 70.0, 70.0]


class TestWhatCannotBeRead:
    def test_no_recording(self, tmp_path: Path) -> None:
        with pytest.raises(BagError, match="no recording at"):
            find_camera(tmp_path / "nothing")

    def test_a_folder_that_is_no_recording(self, tmp_path: Path) -> None:
        with pytest.raises(BagError, match="metadata"):
            find_camera(tmp_path)

    def test_a_ros_1_recording_that_was_cut_short(self, tmp_path: Path) -> None:
        (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
        with pytest.raises(BagError, match="no ROS 1 recording or was cut short; .*rosbag reindex"):
            find_camera(tmp_path / "old.bag")

    @pytest.mark.parametrize("kept", [0.0, 0.0001, 0.3, 0.7, 0.999])
    @pytest.mark.parametrize("storage", list(StoragePlugin))
    def test_a_recording_cut_short(self, drive: Path, tmp_path: Path, kept: float, storage: StoragePlugin) -> None:
        bag = shutil.copytree(drive, tmp_path / "drive")
        if storage is StoragePlugin.SQLITE3:
            images = [raw_image(np.full((200, 200, 3), n, np.uint8), stamp_ns=n + 1) for n in range(20)]
            bag = write_bag(tmp_path / "sqlite", [camera_info(200, 200, 1), *images], storage)
        (data,) = [*bag.glob("*.mcap"), *bag.glob("*.db3")]
        whole = data.read_bytes()
        data.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(BagError, match="cut short"):
            list(read_frames(find_camera(bag)))

    def test_no_images(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [camera_info(16, 12)])
        with pytest.raises(BagError, match="no images; it holds /camera/camera_info"):
            find_camera(bag)

    def test_several_cameras_want_a_choice(self, tmp_path: Path) -> None:
        left, right = (raw_image(colours(), topic=f"/{side}/image_raw") for side in ("left", "right"))
        bag = write_bag(tmp_path / "bag", [left, right, camera_info(16, 12)])
        with pytest.raises(BagError, match="several image topics .*/left/image_raw, /right/image_raw"):
            find_camera(bag)
        assert find_camera(bag, "/left/image_raw").image_topic == "/left/image_raw"
        with pytest.raises(BagError, match="choose one of /left/image_raw"):
            find_camera(bag, "/middle/image_raw")

    def test_a_raw_topic_and_its_compressed_twin_are_one_camera(self, tmp_path: Path) -> None:
        data = cv2.imencode(".png", colours())[1].tobytes()
        bag = write_bag(tmp_path / "bag", [compressed_image(data), raw_image(colours()), camera_info(16, 12)])
        assert find_camera(bag).image_topic == "/camera/image_raw"

    def test_no_calibration(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours())])
        with pytest.raises(BagError, match="no camera info on /camera/camera_info"):
            find_camera(bag)

    @pytest.mark.parametrize(
        ("info", "reason"),
        [
            (camera_info(16, 12, fx=0.0), "calibrate"),
            (camera_info(16, 12, model="kannala", d=(0.1,)), "kannala"),
            (camera_info(160, 120), "160x120"),
        ],
    )
    def test_a_calibration_that_cannot_be(self, tmp_path: Path, info: Message, reason: str) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours()), info])
        with pytest.raises(BagError, match=reason):
            list(read_frames(find_camera(bag)))

    def test_a_damaged_jpeg(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [compressed_image(b"\xff\xd8 no image"), camera_info(16, 12)])
        with pytest.raises(BagError, match="1000000000 ns cannot be decoded"):
            list(read_frames(find_camera(bag)))

    def test_no_transforms_at_all(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", [raw_image(colours()), camera_info(16, 12)])
        with pytest.raises(BagError, match="no transform to frame 'map'.*record /tf"):
            list(read_posed_images(find_camera(bag)))

    def test_an_unknown_world_frame(self, drive: Path) -> None:
        with pytest.raises(BagError, match="'world'.*base_link, camera_optical_frame, map, odom"):
            list(read_posed_images(find_camera(drive), "world"))


def link(
    parent: str, child: str, stamp_ns: int, x: float = 0.0, yaw_rad: float = 0.0, **changes: object
) -> StampedTransform:
    quaternion = tuple(Rotation.from_euler("z", yaw_rad).as_quat().tolist())
    return replace(StampedTransform(parent, child, stamp_ns, (x, 0.0, 0.0), quaternion), **changes)


finite = st.floats(-10.0, 10.0)
quaternions = st.tuples(finite, finite, finite, finite).filter(lambda q: np.linalg.norm(q) > 0.1)


class TestTransforms:
    def test_even_motion_is_followed_exactly_between_stamps(self) -> None:
        tree = TransformTree.of([link("map", "base", START_NS, 0.0, 0.0), link("map", "base", START_NS + 10, 2.0, 1.0)])
        pose = tree.target_from_source("map", "base", START_NS + 3)
        assert np.allclose(pose[:3, 3], [0.6, 0.0, 0.0])
        assert np.allclose(pose[:3, :3], Rotation.from_euler("z", 0.3).as_matrix())

    @given(st.tuples(finite, finite, finite), quaternions, st.tuples(finite, finite, finite), quaternions)
    def test_looking_up_both_ways_gives_inverses(
        self,
        place: tuple[float, float, float],
        quaternion: tuple[float, float, float, float],
        other_place: tuple[float, float, float],
        other_quaternion: tuple[float, float, float, float],
    ) -> None:
        tree = TransformTree.of(
            [
                StampedTransform("map", "left", 5, place, quaternion),
                StampedTransform("map", "right", 5, other_place, other_quaternion),
                StampedTransform("left", "left_camera", 0, other_place, quaternion, is_static=True),
            ]
        )
        there, back = (
            tree.target_from_source(*pair, 5) for pair in (("left_camera", "right"), ("right", "left_camera"))
        )
        assert np.allclose(there @ back, np.eye(4), atol=1e-9)
        through_map = tree.target_from_source("right", "map", 5) @ tree.target_from_source("map", "left_camera", 5)
        assert np.allclose(back, through_map, atol=1e-9)

    def test_a_frame_is_where_it_is(self) -> None:
        tree = TransformTree.of([link("map", "base", 5, 1.0)])
        assert np.array_equal(tree.target_from_source("base", "base", 10**18), np.eye(4))

    @pytest.mark.parametrize("stamp_ns", [9, 21])
    def test_nothing_is_extrapolated(self, stamp_ns: int) -> None:
        tree = TransformTree.of([link("map", "base", 10), link("map", "base", 20)])
        with pytest.raises(TransformError, match="'map' -> 'base' was recorded from 10 to 20 ns"):
            tree.target_from_source("map", "base", stamp_ns)

    def test_links_above_both_frames_need_not_be_known_at_that_time(self) -> None:
        tree = TransformTree.of([link("map", "odom", 500), link("odom", "base", 5, 1.0), link("odom", "tag", 5, 3.0)])
        assert np.allclose(tree.target_from_source("base", "tag", 5)[:3, 3], [2.0, 0.0, 0.0])

    def test_static_transforms_hold_at_all_times_and_the_last_one_wins(self) -> None:
        samples = [link("base", "camera", stamp_ns, x, is_static=True) for stamp_ns, x in ((7, 1.0), (3, 2.0))]
        for stamp_ns in (-(10**18), 0, 10**18):
            assert TransformTree.of(samples).target_from_source("base", "camera", stamp_ns)[0, 3] == 2.0

    def test_the_order_of_arrival_does_not_matter(self) -> None:
        samples = [link("map", "base", stamp_ns, float(stamp_ns)) for stamp_ns in (30, 10, 20)]
        assert np.isclose(TransformTree.of(samples).target_from_source("map", "base", 15)[0, 3], 15.0)

    @pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (np.nan, 0.0, 0.0, 1.0)])
    def test_what_is_no_pose_is_left_out_and_reported(
        self, quaternion: tuple[float, float, float, float], caplog: pytest.LogCaptureFixture
    ) -> None:
        good = [link("map", "base", 0, 0.0), link("map", "base", 20, 2.0)]
        tree = TransformTree.of([*good, link("map", "base", 10, 99.0, quaternion=quaternion)])
        assert np.isclose(tree.target_from_source("map", "base", 10)[0, 3], 1.0)
        assert "1 transforms of 'base'" in caplog.text

    def test_separate_trees_are_named_by_their_roots(self) -> None:
        tree = TransformTree.of([link("map", "tag", 5), link("odom", "base", 5)])
        with pytest.raises(TransformError, match="their trees end in 'map' and 'odom'"):
            tree.target_from_source("tag", "base", 5)

    @pytest.mark.parametrize(
        ("extra", "target", "source", "words"),
        [
            (
                [("map", "base"), ("odom", "base")],
                "map",
                "base",
                "'base' was recorded under several parents .map, odom",
            ),
            ([("map", "base"), ("odom", "base"), ("base", "camera")], "map", "camera", "several parents"),
            ([("a", "b"), ("b", "a")], "a", "b", "loop"),
            ([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")], "a", "d", "loop"),
        ],
    )
    def test_two_parents_or_a_loop_on_the_way_are_an_error(
        self, extra: list[tuple[str, str]], target: str, source: str, words: str
    ) -> None:
        tree = TransformTree.of([link(parent, child, 5) for parent, child in extra])
        with pytest.raises(TransformError, match=words):
            tree.target_from_source(target, source, 5)

    @pytest.mark.parametrize(
        "extra",
        [
            [("map", "tag"), ("odom", "tag")],  # beside the way
            [("earth", "map"), ("utm", "map")],  # above it
            [("a", "b"), ("b", "a")],  # elsewhere
            [("map", "loop"), ("loop", "map")],  # above it, and round
            [("base", "arm"), ("camera", "arm"), ("arm", "hand")],  # below it
        ],
    )
    def test_two_parents_or_a_loop_off_the_way_matter_to_nobody(self, extra: list[tuple[str, str]]) -> None:
        way = [link("map", "base", 5, 1.0), link("base", "camera", 5, 2.0)]
        tree = TransformTree.of([*way, *(link(parent, child, 5) for parent, child in extra)])
        assert tree.target_from_source("map", "camera", 5)[0, 3] == 3.0

    def test_a_frame_with_a_leading_slash_is_the_same_frame(self, tmp_path: Path) -> None:
        transform = ros.geometry_msgs__msg__Transform(
            ros.geometry_msgs__msg__Vector3(1.0, 2.0, 3.0),
            ros.geometry_msgs__msg__Quaternion(0.0, 0.0, 0.0, 1.0),
        )
        stamped = ros.geometry_msgs__msg__TransformStamped(header(5, "/map"), "/base", transform)
        message = ros.tf2_msgs__msg__TFMessage([stamped])
        bag = write_bag(tmp_path / "bag", [("/tf", "tf2_msgs/msg/TFMessage", 5, message)])
        assert np.allclose(read_transforms(bag).target_from_source("map", "base", 5)[:3, 3], [1.0, 2.0, 3.0])


def test_the_demo_camera_has_a_lens_to_undo() -> None:
    assert isinstance(DEMO_CAMERA, Camera)
    assert DEMO_CAMERA.distortion is Distortion.PLUMB_BOB and DEMO_CAMERA.is_distorted
