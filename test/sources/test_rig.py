# SPDX-License-Identifier: Apache-2.0
"""A recording as a live node would meet it: all images of all cameras in the order of arrival, with or without pose."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import colours, compressed_image, transform, write_bag
from recordings_folders import a_folder
from recordings_rig import (
    LATENCY_NS,
    SECOND,
    a_rig,
    compressed_twin,
    image_of,
    info_of,
    motion,
    mount,
    one_camera,
)
from recordings_ros1 import write_ros1_bag
from recordings_videos import a_scene
from rosbags.rosbag2 import StoragePlugin

from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.bags.poses import LONGEST_GAP_PERIODS, LONGEST_GAP_S, BagPoses
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import open_rig
from fsm_ros.sources.rig import Rig
from fsm_ros.stream.transforms import StampedTransform


def check_reads(rig: Rig) -> None:
    """Every frame reads as what was recorded: front shows 0, 1, 2, ..., left 10, 11, 12, ..."""
    number = {"rig/front": 0, "rig/left": 1}
    for frame in rig.frames:
        posed = rig.read(frame)
        assert np.array_equal(posed.image, colours() + np.uint8(10 * number[frame.camera] + frame.index))
        assert posed.camera.fx == 50.0 + number[frame.camera]
        assert (posed.source, posed.stamp_ns) == (frame.camera, frame.stamp_ns)
        assert np.isclose(posed.position[0], frame.stamp_ns / 1e9 + 0.5 * number[frame.camera])


class TestFrames:
    def test_one_camera_is_told_in_one_line(self, tmp_path: Path) -> None:
        rig = open_rig(write_bag(tmp_path / "office", one_camera()))
        assert rig.told == (
            "office: 4 images on /camera/image_raw (16x12, camera), calibration on /camera/camera_info, poses in map"
        )
        assert (rig.name, rig.cameras, rig.world_frame, rig.gaps()) == ("office", ("camera",), "map", ())
        assert [frame.index for frame in rig.frames] == [0, 1, 2, 3]
        assert [frame.arrival_ns - frame.stamp_ns for frame in rig.frames] == [LATENCY_NS] * 4

    def test_several_cameras_come_in_the_order_of_arrival(self, tmp_path: Path) -> None:
        rig = open_rig(write_bag(tmp_path / "robot", a_rig()), cameras=["all"])
        assert rig.cameras == ("rig/front", "rig/left")
        assert [frame.camera for frame in rig.frames] == ["rig/front", "rig/left"] * 4
        assert [frame.index for frame in rig.frames] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert rig.told.startswith("robot: 2 cameras, poses in map; rig/front: 4 images on /rig/front/image_raw (16x12")
        assert "\n" not in rig.told and "calibration on /rig/left/camera_info" in rig.told
        check_reads(rig)

    def test_ros_1_and_sqlite_give_the_same_rig(self, tmp_path: Path) -> None:
        for bag in (
            write_ros1_bag(tmp_path / "old.bag", a_rig()),
            write_bag(tmp_path / "new", a_rig(), StoragePlugin.SQLITE3),
        ):
            check_reads(open_rig(bag, cameras=["all"]))

    def test_late_images_come_when_they_arrive_whatever_their_stamps(self, tmp_path: Path) -> None:
        images = [
            image_of("camera", n, stamp_ns, arrival_ns=3 * SECOND + n)
            for n, stamp_ns in enumerate((2 * SECOND, SECOND, 3 * SECOND))
        ]
        rig = open_rig(write_bag(tmp_path / "bag", [info_of("camera"), *motion(child="camera"), *images]))
        assert [frame.stamp_ns // SECOND for frame in rig.frames] == [2, 1, 3]
        assert rig.start_ns == SECOND
        assert [int(rig.read(frame).image[0, 0, 0]) for frame in rig.frames] == [0, 1, 2]

    def test_images_of_all_cameras_that_arrive_together_stay_apart(self, tmp_path: Path) -> None:
        images = [image_of(f"rig/{name}", 10 * k + n, 5, arrival_ns=7) for n in range(3) for k, name in enumerate("ab")]
        known = [info_of("rig/a"), info_of("rig/b"), mount("map", "a"), mount("map", "b")]
        rig = open_rig(write_bag(tmp_path / "bag", [*known, *images]), cameras=["all"])
        for frame in rig.frames:
            expected = colours() + np.uint8(10 * "ab".index(frame.camera[-1]) + frame.index)
            assert np.array_equal(rig.read(frame).image, expected)

    def test_it_reads_on_after_closing_and_pickling(self, tmp_path: Path) -> None:
        rig = open_rig(write_bag(tmp_path / "bag", a_rig()), cameras=["all"])
        check_reads(rig)
        copy = pickle.loads(pickle.dumps(rig))
        check_reads(copy)
        rig.close()
        rig.close()
        check_reads(rig)

    def test_raw_images_are_preferred_to_compressed_ones_unless_those_are_named(self, tmp_path: Path) -> None:
        twins = [compressed_twin(message) for message in one_camera() if message[0] == "/camera/image_raw"]
        rig = open_rig(write_bag(tmp_path / "both", [*one_camera(), *twins]))
        assert "on /camera/image_raw (" in rig.told and len(rig.frames) == 4
        named = open_rig(tmp_path / "both", cameras=["/camera/image_raw/compressed"])
        assert named.told.replace("/compressed", "").replace("both", "") == rig.told.replace("both", "")
        for one, other in zip(rig.frames, named.frames, strict=True):
            assert np.array_equal(rig.read(one).image, named.read(other).image)
            assert (one.stamp_ns, one.arrival_ns, one.index) == (other.stamp_ns, other.arrival_ns, other.index)

    def test_rectified_images_have_the_pinhole_of_p_and_no_lens(self, tmp_path: Path) -> None:
        projection = np.array([40.0, 0.0, 6.5, 0.0, 0.0, 41.0, 5.5, 0.0, 0.0, 0.0, 1.0, 0.0])
        messages = [
            (topic, kind, at_ns, replace(message, d=np.full(5, 0.1), p=projection) if "CameraInfo" in kind else message)
            for topic, kind, at_ns, message in one_camera()
        ]
        bag = write_bag(tmp_path / "office", messages)
        distorted, rectified = (open_rig(bag, rectified=wanted) for wanted in (False, True))
        assert distorted.read(distorted.frames[0]).camera.is_distorted
        camera = rectified.read(rectified.frames[0]).camera
        assert not camera.is_distorted
        assert camera.fxfycxcy.tolist() == [40.0, 41.0, 7.0, 6.0]

    def test_rectified_images_without_a_p_are_refused_with_the_remedy(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "office", one_camera())  # its P is zero
        with pytest.raises(BagError, match="no projection matrix P"):
            open_rig(bag, rectified=True)


class TestCameras:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("asked", "got"),
        [
            (["rig/left"], ("rig/left",)),
            (["left"], ("rig/left",)),
            (["/rig/left"], ("rig/left",)),
            (["/rig/left/image_raw"], ("rig/left",)),
            (["left", "/rig/front/image_raw"], ("rig/left", "rig/front")),
            (["left", "rig/left"], ("rig/left",)),
            (["all"], ("rig/front", "rig/left")),
        ],
    )
    def test_they_are_named_by_topic_name_or_its_last_part(
        self, tmp_path: Path, asked: list[str], got: tuple[str, ...]
    ) -> None:
        rig = open_rig(write_bag(tmp_path / "bag", a_rig()), cameras=asked)
        assert rig.cameras == got
        assert {frame.camera for frame in rig.frames} == set(got)
        check_reads(rig)

    def test_several_without_a_choice(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", a_rig())
        with pytest.raises(SourceError, match="rig/front, rig/left: choose one, several or 'all'$") as no:
            open_rig(bag)
        assert no.value.argument == "cameras"

    def test_one_that_does_not_exist_and_one_that_is_meant_by_two(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", a_rig(("rig/front", "rig/left", "arm/left")))
        with pytest.raises(
            SourceError, match="no camera /rig/back/image_raw: choose from arm/left, rig/front, rig/left"
        ):
            open_rig(bag, cameras=["/rig/back/image_raw"])
        with pytest.raises(SourceError, match="several cameras left: choose one of arm/left, rig/left"):
            open_rig(bag, cameras=["left"])

    def test_two_topics_of_one_camera(self, tmp_path: Path) -> None:
        twins = [compressed_twin(message) for message in one_camera() if message[0] == "/camera/image_raw"]
        bag = write_bag(tmp_path / "bag", [*one_camera(), *twins])
        with pytest.raises(SourceError, match="are the same camera, camera: choose one of the two"):
            open_rig(bag, cameras=["/camera/image_raw", "/camera/image_raw/compressed"])

    def test_topics_of_one_namespace_are_called_by_their_whole_names(self, tmp_path: Path) -> None:
        rectified = [
            (topic.replace("image_raw", "image_rect"), *rest)
            for topic, *rest in one_camera()
            if topic == "/camera/image_raw"
        ]
        bag = write_bag(tmp_path / "bag", [*one_camera(), *rectified])  # type: ignore[list-item]
        with pytest.raises(SourceError, match="camera/image_raw, camera/image_rect: choose"):
            open_rig(bag)
        assert open_rig(bag, cameras=["image_rect"]).cameras == ("camera/image_rect",)
        assert open_rig(bag, cameras=["/camera/image_raw"]).cameras == ("camera/image_raw",)

    def test_one_without_a_namespace_is_called_camera(self, tmp_path: Path) -> None:
        messages = [(topic.replace("/camera/", "/"), *rest) for topic, *rest in one_camera()]
        rig = open_rig(write_bag(tmp_path / "bag", messages))  # type: ignore[arg-type]
        assert rig.cameras == ("camera",) and "/image_raw (16x12" in rig.told and "on /camera_info" in rig.told

    def test_depth_beside_colour_is_no_camera(self, tmp_path: Path) -> None:
        twins = [compressed_twin(message) for message in one_camera() if message[0] == "/camera/image_raw"]
        depth = [("/camera/depth/image_raw/compressedDepth", *rest) for _, *rest in twins]
        assert open_rig(write_bag(tmp_path / "bag", [*one_camera(), *depth])).cameras == ("camera",)  # type: ignore[list-item]

    @pytest.mark.parametrize(
        ("colour", "depths", "found"),
        [
            ("camera", ["camera/depth/image_rect_raw"], "camera/depth/image_rect_raw"),
            ("camera/color", ["camera/depth/image_rect_raw"], "camera/depth/image_rect_raw"),
            (
                "camera/color",
                ["camera/depth/image_rect_raw", "camera/aligned_depth_to_color/image_raw"],
                "camera/aligned_depth_to_color/image_raw",
            ),
            ("front", ["side/depth/image_rect_raw"], None),
        ],
        ids=["below it", "beside it", "registered to it", "of another"],
    )
    def test_a_depth_camera_is_found_by_its_namespace(
        self, tmp_path: Path, colour: str, depths: list[str], found: str | None
    ) -> None:
        def called(topic: str) -> str:
            return topic.replace("/camera/", f"/{colour}/")

        messages = [(called(topic), *rest) for topic, *rest in one_camera()]
        images = [message for message in one_camera() if message[0] == "/camera/image_raw"]
        messages += [(f"/{depth}", *rest) for depth in depths for _, *rest in images]
        rig = open_rig(write_bag(tmp_path / "bag", messages))  # type: ignore[arg-type]
        (camera,) = rig.recorded.values()
        assert rig.cameras == (colour,)
        told = "" if camera.depth is None else camera.depth.told
        assert told == ("" if found is None else f"4 depth images on /{found}")

    def test_none_takes_the_calibration_of_another(self, tmp_path: Path) -> None:
        without = [message for message in a_rig() if message[0] != "/rig/left/camera_info"]
        bag = write_bag(tmp_path / "bag", without)
        assert open_rig(bag, cameras=["front"]).cameras == ("rig/front",)
        with pytest.raises(SourceError, match="no camera info on /rig/left/camera_info .it has /rig/front/camera_info"):
            open_rig(bag, cameras=["left"])
        nobodys = [info_of("calibration"), *(message for message in without if "camera_info" not in message[0])]
        bag = write_bag(tmp_path / "nobodys", nobodys)
        assert "calibration on /calibration/camera_info" in open_rig(bag, cameras=["left"]).told
        with pytest.raises(
            SourceError, match="the calibration /calibration/camera_info for both rig/front and rig/left"
        ):
            open_rig(bag, cameras=["all"])


class TestWorldFrames:
    @pytest.mark.parametrize(
        ("above", "chosen"), [("map", "map"), ("odom", "odom"), ("world", "world"), ("mocap", "mocap")]
    )
    def test_the_usual_one_or_the_root_is_chosen(self, tmp_path: Path, above: str, chosen: str) -> None:
        messages = [info_of("camera"), *motion(above, "base"), mount("base", "camera"), mount("elsewhere", "map2")]
        rig = open_rig(write_bag(tmp_path / "bag", [*messages, image_of("camera", 0, SECOND)]))
        assert rig.world_frame == chosen and f"poses in {chosen}" in rig.told

    def test_map_is_passed_over_where_nothing_links_it_to_the_camera(self, tmp_path: Path) -> None:
        messages = [info_of("camera"), *motion("odom", "camera"), mount("map", "landmark")]
        bag = write_bag(tmp_path / "bag", [*messages, image_of("camera", 0, SECOND)])
        assert open_rig(bag).world_frame == "odom"
        with pytest.raises(SourceError, match="no pose in 'map' for any of its 1 images: no transform connects"):
            open_rig(bag, world_frame="map")

    def test_any_frame_may_be_asked_for_if_there_is_one(self, tmp_path: Path) -> None:
        messages = [info_of("camera"), mount("map", "odom", x=7.0), *motion("odom", "camera")]
        bag = write_bag(tmp_path / "bag", [*messages, image_of("camera", 0, 2 * SECOND)])
        for world, x in (("map", 9.0), ("odom", 2.0), (None, 9.0)):
            rig = open_rig(bag, world_frame=world)
            assert np.isclose(rig.read(rig.frames[0]).position[0], x)
        with pytest.raises(SourceError, match="no frame 'earth': choose one of its frames .camera, map, odom.$") as no:
            open_rig(bag, world_frame="earth")
        assert no.value.argument == "world_frame"


class TestGaps:
    def test_before_and_after_the_transforms(self, tmp_path: Path) -> None:
        rig = open_rig(write_bag(tmp_path / "bag", one_camera(7, first_s=1.5, last_s=4.5)))
        assert [frame.world_from_camera is not None for frame in rig.frames] == [False] * 2 + [True] * 3 + [False] * 2
        assert rig.posed == rig.frames[2:5]
        before, after = rig.gaps()
        assert (before.camera, before.first_s, before.last_s, before.count) == ("camera", 0.0, 1.0, 2)
        assert before.cause == (
            "no transform 'map' -> 'camera' was recorded before 1.500 s: start recording /tf before the camera"
        )
        assert (after.first_s, after.last_s, after.count) == (5.0, 6.0, 2)
        assert "after 4.500 s: record /tf for as long as the camera" in after.cause

    def test_a_stretch_without_transforms_is_not_interpolated_across(self, tmp_path: Path) -> None:
        messages = [
            info_of("camera"),
            *motion(child="camera", last_s=1.0),
            *motion(child="camera", first_s=5.0, last_s=9),
        ]
        messages += [image_of("camera", n, n * SECOND) for n in range(9)]
        rig = open_rig(write_bag(tmp_path / "bag", messages))
        (gap,) = rig.gaps()
        assert (gap.first_s, gap.last_s, gap.count) == (2.0, 4.0, 3)
        assert "between 1.000 s and 5.000 s: record /tf without a pause" in gap.cause
        assert [frame.index for frame in rig.frames if frame.world_from_camera is None] == [2, 3, 4]
        with pytest.raises(SourceError, match="image 3 of camera in bag has no pose: .*without a pause"):
            rig.read(rig.frames[3])

    def test_transforms_that_come_slowly_throughout_are_interpolated(self, tmp_path: Path) -> None:
        rig = open_rig(write_bag(tmp_path / "bag", one_camera(9, last_s=10.0, step_s=2.0)))
        assert rig.gaps() == () and np.isclose(rig.read(rig.frames[3]).position[0], 3.0)

    @given(st.lists(st.integers(0, 100), min_size=1, max_size=12, unique=True), st.integers(-5, 105))
    def test_a_pose_is_one_between_two_transforms_that_are_close(self, tenths: list[int], moment: int) -> None:
        """Whatever was recorded: the stretch that is told is the one between the transforms beside the moment."""
        stamps_ns, moment_ns = [n * SECOND // 10 for n in sorted(tenths)], moment * SECOND // 10
        said = [StampedTransform("map", "camera", at, (at / 1e9, 0, 0), (0, 0, 0, 1)) for at in stamps_ns]
        gap = BagPoses(said).gap("map", "camera", moment_ns)
        before = max((at for at in stamps_ns if at <= moment_ns), default=None)
        after = min((at for at in stamps_ns if at >= moment_ns), default=None)
        periods = np.diff(stamps_ns) if len(stamps_ns) > 1 else [0]
        longest_ns = max(LONGEST_GAP_S * 1e9, LONGEST_GAP_PERIODS * float(np.median(periods)))
        if before is not None and after is not None and after - before <= longest_ns:
            assert gap is None
        else:
            assert gap is not None and (gap.since_ns, gap.until_ns) == (before, after)

    def test_one_camera_may_have_none_at_all(self, tmp_path: Path) -> None:
        messages = [message for message in a_rig() if not (message[0] == "/tf_static" and "left" in repr(message[3]))]
        rig = open_rig(write_bag(tmp_path / "bag", messages), cameras=["all"])
        (gap,) = rig.gaps()
        assert (gap.camera, gap.count) == ("rig/left", 4) and "no transform to frame 'left'" in gap.cause
        assert len(rig.frames) == 8

    def test_no_pose_for_any_image(self, tmp_path: Path) -> None:
        late = write_bag(tmp_path / "late", one_camera(first_s=20.0, last_s=21.0))
        with pytest.raises(
            SourceError, match="no pose in 'map' for any of its 4 images: no transform .* before 20.000 s"
        ):
            open_rig(late)
        still = [message for message in one_camera() if message[0] != "/tf"]
        with pytest.raises(
            SourceError, match="no transform to the frame of its images, camera .*record /tf and /tf_static"
        ):
            open_rig(write_bag(tmp_path / "still", still))


class TestWhatCannotBeRead:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["bag.mcap", ""], ids=["file", "folder"])
    def test_an_mcap_cut_anywhere_is_an_error_and_never_fewer_images(self, tmp_path: Path, name: str) -> None:
        bag = write_bag(tmp_path / "bag", [*one_camera(30), *(transform("map", "x", n) for n in range(300))])
        assert len(open_rig(bag / name).frames) == 30
        data = bag / "bag.mcap"
        whole = data.read_bytes()
        cuts = {
            0,
            1,
            8,
            100,
            *np.linspace(200, len(whole), 40, endpoint=False).astype(int),
            *range(len(whole) - 60, len(whole)),
        }
        for cut in sorted(cuts):
            data.write_bytes(whole[:cut])
            with pytest.raises(
                BagError, match="it is no rosbag2 recording or was cut short; copy it again, or repair it"
            ):
                open_rig(bag / name)

    def test_a_sqlite_file_cut_anywhere_is_an_error_and_never_fewer_images(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", one_camera(30), StoragePlugin.SQLITE3)
        data = bag / "bag.db3"
        whole = data.read_bytes()
        for cut in (
            *np.linspace(0, len(whole), 20, endpoint=False).astype(int),
            *(len(whole) - n for n in (4096, 900, 1)),
        ):
            data.write_bytes(whole[:cut])
            with pytest.raises(BagError, match="cut short"):
                open_rig(bag)

    def test_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(
            SourceError, match="no images; it holds /camera/camera_info .*record the camera's image topic"
        ):
            open_rig(write_bag(tmp_path / "bag", [info_of("camera"), *motion()]))

    def test_no_calibration_or_one_that_cannot_be(self, tmp_path: Path) -> None:
        without = [message for message in one_camera() if message[0] != "/camera/camera_info"]
        with pytest.raises(
            SourceError, match="no camera info on /camera/camera_info .*record the calibration together"
        ):
            open_rig(write_bag(tmp_path / "without", without))
        with pytest.raises(SourceError, match="calibrate"):
            open_rig(write_bag(tmp_path / "zero", [*without, info_of("camera", fx=0.0)]))
        topic, kind, stamp_ns, info = info_of("camera")
        other = replace(info, width=160, height=120)  # type: ignore[type-var]
        with pytest.raises(SourceError, match="16x12 pixels, but its camera_info promises 160x120"):
            open_rig(write_bag(tmp_path / "other", [*without, (topic, kind, stamp_ns, other)]))

    def test_a_damaged_image_is_an_error_when_it_is_read(self, tmp_path: Path) -> None:
        broken = compressed_image(b"\xff\xd8 no image", SECOND)
        rig = open_rig(write_bag(tmp_path / "bag", [info_of("camera"), *motion(child="camera"), broken]))
        with pytest.raises(SourceError, match="cannot be decoded"):
            rig.read(rig.frames[0])

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="there is nothing at"):
            open_rig(tmp_path / "gone")


class TestOtherRecordings:
    def test_a_folder_is_a_rig_of_one_camera(self, tmp_path: Path) -> None:
        rig = open_rig(a_folder(tmp_path))
        assert (rig.cameras, rig.world_frame, rig.gaps(), len(rig.frames)) == (("camera",), "", (), 6)
        assert rig.told == "folder: 6 images (40x30) with poses, as transforms.json has them"
        for index, frame in enumerate(rig.frames):
            assert frame.arrival_ns == frame.stamp_ns == index * SECOND // 10
            posed = rig.read(frame)
            assert posed.source == "camera" and int(posed.image[0, 0, 2]) == 40 * index % 256

    def test_a_scene_of_a_video_too(self, tmp_path: Path) -> None:
        rig = open_rig(a_scene(tmp_path), frame_rate_hz=10.0, cameras=["all"])
        assert [frame.stamp_ns for frame in rig.frames] == [n * SECOND // 10 for n in (0, 1, 3, 4, 6, 8)]
        copy = pickle.loads(pickle.dumps(rig))
        assert np.array_equal(copy.read(copy.frames[3]).image, rig.read(rig.frames[3]).image)

    def test_a_list_of_scenes_is_too_many(self, tmp_path: Path) -> None:
        scene = a_scene(tmp_path)
        (scene.parent / "all.json").write_text(json.dumps([scene.name, scene.name]))
        with pytest.raises(SourceError, match="has 2 scenes, and one is wanted: give the file of one of them"):
            open_rig(scene.parent / "all.json")

    def test_there_are_no_other_cameras_and_frames(self, tmp_path: Path) -> None:
        folder = a_folder(tmp_path)
        with pytest.raises(SourceError, match="no camera left: name none"):
            open_rig(folder, cameras=["left"])
        with pytest.raises(SourceError, match="no frame 'map': name none"):
            open_rig(folder, world_frame="map")
        with pytest.raises(SourceError, match="leave input.rectified out"):
            open_rig(folder, rectified=True)
