# SPDX-License-Identifier: Apache-2.0
"""Folders with transforms.json: rays go where the file means, frames come in time, and errors name the frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recordings_folders import HEIGHT, INTRINSICS, POINT, POSES, WIDTH, frame_of, picture, write
from scipy.spatial.transform import Rotation

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.folders import open_folder
from fsm_ros.sources.lenses import LENS_MODELS
from fsm_ros.sources.opening import open_rig
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.lens import check_coefficients, undistort


def refusal(folder: Path) -> str:
    with pytest.raises(SourceError) as refused:
        open_folder(folder)
    assert str(folder / "transforms.json") in str(refused.value), "the file is named"
    return str(refused.value)


class TestGeometry:
    def test_the_ray_of_the_pixel_that_shows_a_point_goes_through_the_point(self, tmp_path: Path) -> None:
        frames = [frame_of(index) for index in range(3)]
        seen = []
        (tmp_path / "images").mkdir()
        for index, pose in enumerate(POSES):
            x, y, z = (np.linalg.inv(pose) @ [*POINT, 1.0])[:3]
            # OpenGL looks along -z, with y up; rows count downwards; the first pixel's centre is (0.5, 0.5).
            u, v = 21.0 + 36.0 * x / -z, 14.0 - 38.0 * y / -z
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            image[int(v), int(u)] = 255
            Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
            seen.append((u, v))
        source = open_folder(write(tmp_path, frames))
        assert len(source) == 3
        for index, (u, v) in enumerate(seen):
            frame = source.read(index)
            camera = frame.camera
            ((row, column),) = np.argwhere(frame.image[..., 0] == 255)
            towards = frame.world_from_camera[:3, :3].T @ (POINT - frame.position)
            shown = camera.fxfycxcy[:2] * towards[:2] / towards[2] + camera.fxfycxcy[2:]
            assert towards[2] > 0, "in front of the camera"
            assert np.allclose(shown, (u, v), atol=1e-9)
            assert np.abs(shown - (column + 0.5, row + 0.5)).max() <= 0.5
            assert np.array_equal(frame.world_from_camera, source.world_from_camera[index])

    def test_what_nerfstudio_did_to_the_world_is_left_as_it_is(self, tmp_path: Path) -> None:
        turned = Rotation.from_euler("x", 90, degrees=True).as_matrix()
        plain = open_folder(write(tmp_path / "plain", [frame_of(0)]))
        applied = {**INTRINSICS, "applied_transform": np.eye(4)[:3].tolist(), "applied_scale": 3.0}
        applied["applied_transform"] = np.concatenate([turned, [[1.0], [2.0], [3.0]]], axis=1).tolist()
        told = open_folder(write(tmp_path / "told", [frame_of(0)], applied))
        assert np.array_equal(told.world_from_camera, plain.world_from_camera)

    @pytest.mark.parametrize(
        ("name", "keys"), [(name, keys) for name, (_, keys) in LENS_MODELS.items()], ids=list(LENS_MODELS)
    )
    def test_every_lens_bends_as_colmap_writes_it_down(self, tmp_path: Path, name: str, keys: tuple[str, ...]) -> None:
        values = {"k1": 0.08, "k2": -0.03, "k3": 0.01, "k4": 0.02, "k5": -0.01, "k6": 0.005, "p1": 2e-3, "p2": -1e-3}
        top = {**INTRINSICS, "camera_model": name, **{key: values[key] for key in keys}}
        camera = open_folder(write(tmp_path, [frame_of(0)], top)).camera(0)
        check_coefficients(camera.distortion, camera.coefficients)
        u, v = 0.31, -0.22
        k = {key: values[key] if key in keys else 0.0 for key in values}
        r2 = u * u + v * v
        if "FISHEYE" in name:
            theta = np.arctan(np.sqrt(r2))
            bent = theta * (1 + sum(k[f"k{n}"] * theta ** (2 * n) for n in (1, 2, 3, 4))) / np.sqrt(r2)
            x, y = u * bent, v * bent
        else:
            bent = (1 + k["k1"] * r2 + k["k2"] * r2**2 + k["k3"] * r2**3) / (
                1 + k["k4"] * r2 + k["k5"] * r2**2 + k["k6"] * r2**3
            )
            x = u * bent + 2 * k["p1"] * u * v + k["p2"] * (r2 + 2 * u * u)
            y = v * bent + 2 * k["p2"] * u * v + k["p1"] * (r2 + 2 * v * v)
        # `undistort` takes pixel centres at integers.
        pixel = np.array([[36.0 * x + 21.0 - 0.5, 38.0 * y + 14.0 - 0.5]])
        ray = undistort(camera, pixel) if camera.is_distorted else np.array([[x, y]])
        assert np.allclose(ray, [[u, v]], atol=1e-6)
        assert camera.is_distorted == bool(keys)

    def test_an_ideal_fisheye_is_no_pinhole(self, tmp_path: Path) -> None:
        top = {**INTRINSICS, "camera_model": "OPENCV_FISHEYE", "k1": 0.0, "k2": 0.0, "p1": 1e-5, "p2": -1e-7}
        camera = open_folder(write(tmp_path, [frame_of(0)], top)).camera(0)
        theta = 0.5
        pixel = np.array([[21.0 + 36.0 * theta - 0.5, 14.0 - 0.5]])
        assert camera.is_distorted
        assert np.allclose(undistort(camera, pixel), [[np.tan(theta), 0.0]], atol=1e-6)

    def test_without_a_model_the_coefficients_are_those_of_opencv(self, tmp_path: Path) -> None:
        bent = open_folder(write(tmp_path / "a", [frame_of(0)], {**INTRINSICS, "k1": 0.1, "p1": 0.01})).camera(0)
        assert (bent.distortion, bent.coefficients) == (Distortion.PLUMB_BOB, (0.1, 0.0, 0.01, 0.0, 0.0))
        fisheye = {**INTRINSICS, "is_fisheye": True, "k1": 0.1}
        round_ = open_folder(write(tmp_path / "b", [frame_of(0)], fisheye)).camera(0)
        assert (round_.distortion, round_.coefficients) == (Distortion.EQUIDISTANT, (0.1, 0.0, 0.0, 0.0))
        straight = open_folder(write(tmp_path / "c", [frame_of(0)], {**INTRINSICS, "k1": 0.0, "k4": 0.0})).camera(0)
        assert (straight.distortion, straight.coefficients) == (Distortion.NONE, ())


class TestIntrinsics:
    def test_an_opening_angle_is_enough_and_the_size_is_that_of_the_image(self, tmp_path: Path) -> None:
        camera = open_folder(write(tmp_path, [frame_of(0)], {"camera_angle_x": np.pi / 2})).camera(0)
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)
        assert camera.fxfycxcy.tolist() == pytest.approx([20.0, 20.0, 20.0, 15.0])

    def test_both_opening_angles(self, tmp_path: Path) -> None:
        angles = {"camera_angle_x": np.pi / 2, "camera_angle_y": np.pi / 3}
        camera = open_folder(write(tmp_path, [frame_of(0)], angles)).camera(0)
        assert (camera.fx, camera.fy) == pytest.approx((20.0, 15.0 * np.sqrt(3)))

    def test_focal_lengths_go_before_angles_and_one_stands_for_both(self, tmp_path: Path) -> None:
        top = {"fl_y": 50.0, "camera_angle_y": 1.0, "w": float(WIDTH), "h": float(HEIGHT)}
        assert open_folder(write(tmp_path, [frame_of(0)], top)).camera(0).fxfycxcy.tolist() == [50, 50, 20, 15]

    def test_frames_may_have_cameras_and_sizes_of_their_own(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        Image.fromarray(picture(0, 20, 10)).save(tmp_path / "images" / "0.png")
        own = {"fl_x": 15.0, "fl_y": 16.0, "cx": 9.0, "cy": 5.5, "w": 20, "h": 10, "k1": 0.02}
        source = open_folder(write(tmp_path, [frame_of(0, **own), frame_of(1)]))
        assert source.camera(0) == Camera(20, 10, 15.0, 16.0, 9.0, 5.5, Distortion.PLUMB_BOB, (0.02, 0, 0, 0, 0))
        assert source.camera(1) == Camera(WIDTH, HEIGHT, 36.0, 38.0, 21.0, 14.0)
        assert [source.read(index).image.shape for index in (0, 1)] == [(10, 20, 3), (HEIGHT, WIDTH, 3)]


class TestTime:
    def test_without_times_the_order_of_the_file_counts(self, tmp_path: Path) -> None:
        source = open_folder(write(tmp_path, [frame_of(2), frame_of(0), frame_of(1)]), frame_rate_hz=10.0)
        assert source.stamps_ns.tolist() == [0, 10**8, 2 * 10**8]
        assert np.array_equal(source.world_from_camera[1][:3, 3], POSES[0][:3, 3])

    def test_frames_are_sorted_by_their_seconds(self, tmp_path: Path) -> None:
        frames = [frame_of(0, timestamp=12.5, time=0.0), frame_of(1, timestamp=11, time=1.0)]
        source = open_folder(write(tmp_path, frames))
        assert source.stamps_ns.tolist() == [11 * 10**9, 12_500_000_000]
        assert np.array_equal(source.world_from_camera[0][:3, 3], POSES[1][:3, 3])
        assert source.read(0).stamp_ns == 11 * 10**9
        assert np.array_equal(source.read(0).image, picture(1)), "the image moves with its pose"

    def test_time_from_0_to_1_lasts_as_long_as_the_frames_or_as_told(self, tmp_path: Path) -> None:
        folder = write(tmp_path, [frame_of(n, time=time) for n, time in enumerate((1.0, 0.0, 0.5, 0.5))])
        assert open_folder(folder, frame_rate_hz=4.0).stamps_ns.tolist() == [0, 25 * 10**7, 25 * 10**7, 5 * 10**8]
        source = open_folder(folder, duration_s=8.0)
        assert source.stamps_ns.tolist() == [0, 4 * 10**9, 4 * 10**9, 8 * 10**9]
        assert [source.read(index).image[0, 0, 2] for index in range(4)] == [40, 80, 120, 0], "equal times keep order"

    @pytest.mark.parametrize(
        ("times", "reason"),
        [
            ([{"time": 0.0}, {}], "frame 1 has no 'time', but 1 others do"),
            ([{}, {"timestamp": 1.0}], "frame 0 has no 'timestamp'"),
            ([{"time": 0.0}, {"time": 30.0}], "frame 1: 'time' runs from 0 to 1, got 30.0: if it is in seconds"),
            ([{"timestamp": 0.0}, {"timestamp": 17e17}], "frame 1: 'timestamp' is in seconds.*divide nanoseconds"),
            ([{"time": "noon"}, {"time": 1.0}], "frame 0: 'time' must be a finite number, got 'noon'"),
        ],
    )
    def test_times_that_cannot_be(self, tmp_path: Path, times: list[dict[str, Any]], reason: str) -> None:
        folder = write(tmp_path, [frame_of(n, **time) for n, time in enumerate(times)])
        with pytest.raises(SourceError, match=reason):
            open_folder(folder)

    @pytest.mark.parametrize("argument", [{"frame_rate_hz": 0.0}, {"duration_s": -1.0}, {"frame_rate_hz": np.inf}])
    def test_a_clock_that_does_not_run(self, tmp_path: Path, argument: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="must be positive"):
            open_folder(write(tmp_path, [frame_of(0)]), **argument)


class TestImages:
    @pytest.mark.parametrize("extension", [".png", ".jpg", ".jpeg"])
    def test_a_missing_extension_is_found(self, tmp_path: Path, extension: str) -> None:
        (tmp_path / "train").mkdir()
        Image.fromarray(picture()).save(tmp_path / "train" / f"r_0.5{extension}")
        source = open_folder(write(tmp_path, [{**frame_of(0), "file_path": "./train\\r_0.5"}]))
        assert source.read(0).image.shape == (HEIGHT, WIDTH, 3)

    def test_what_is_transparent_lies_over_white(self, tmp_path: Path) -> None:
        rgba = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        rgba[0, 0] = (200, 100, 0, 0)
        rgba[0, 1] = (200, 100, 0, 51)
        (tmp_path / "images").mkdir()
        Image.fromarray(rgba).save(tmp_path / "images" / "0.png")
        image = open_folder(write(tmp_path, [frame_of(0)])).read(0).image
        assert image[0, :2].tolist() == [[255, 255, 255], [244, 224, 204]]
        assert np.array_equal(image[1:], picture()[1:])

    def test_grey_images_get_three_channels(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        Image.fromarray(picture()[..., 0]).save(tmp_path / "images" / "0.png")
        image = open_folder(write(tmp_path, [frame_of(0)])).read(0).image
        assert np.array_equal(image, np.repeat(picture()[..., :1], 3, axis=2))

    def test_masks_and_depth_are_said_to_be_ignored(self, tmp_path: Path) -> None:
        folder = write(tmp_path, [frame_of(0, mask_path="masks/0.png", depth_file_path="depths/0.png"), frame_of(1)])
        assert open_folder(folder).notes == ("depth_file_path and mask_path are not read; the images are used whole",)

    def test_an_image_of_another_size_than_the_file_says(self, tmp_path: Path) -> None:
        source = open_folder(write(tmp_path, [frame_of(0)], {**INTRINSICS, "w": 80, "h": 40}))
        with pytest.raises(SourceError, match=r"images/0.png has 40x30 pixels, but .*transforms.json says .*80x40"):
            source.read(0)

    def test_damaged_images(self, tmp_path: Path) -> None:
        source = open_folder(write(tmp_path, [frame_of(0), frame_of(1), frame_of(2)]))
        whole = (tmp_path / "images" / "0.png").read_bytes()
        (tmp_path / "images" / "0.png").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "images" / "1.png").write_bytes(b"no image")
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(tmp_path / "images" / "2.png")
        for index, reason in enumerate(("cannot be decoded", "is no image", "only 8 bits a channel")):
            with pytest.raises(SourceError, match=f"images/{index}.png .*{reason}"):
                source.read(index)


class TestWhatIsLeftOut:
    """One bad item never refuses the rest."""

    def test_images_that_are_absent_or_have_no_pose_are_left_out_and_counted(self, tmp_path: Path) -> None:
        lost = np.full((4, 4), np.nan).tolist()
        frames = [
            frame_of(0),
            frame_of(1),
            frame_of(2),
            frame_of(3, transform_matrix=None),
            frame_of(4, transform_matrix=lost),
            frame_of(5),
            frame_of(6),
        ]
        write(tmp_path, frames)
        for index in (1, 6):
            (tmp_path / "images" / f"{index}.png").unlink()
        (tmp_path / "images" / "5.png").write_bytes(b"no image")
        source = open_folder(tmp_path, frame_rate_hz=10.0)
        assert source.stamps_ns.tolist() == [0, 200_000_000], "as if the others were there"
        assert [int(source.read(index).image[0, 0, 2]) for index in range(2)] == [0, 80]
        (note,) = source.notes
        assert note.startswith("left out 5 of 7 images: 2 without an image file (the first: ")
        assert "2 without a pose" in note and "1 with a file that is no image" in note
        assert note in open_rig(tmp_path).told

    def test_a_whole_folder_has_no_notes(self, tmp_path: Path) -> None:
        assert open_folder(write(tmp_path, [frame_of(0)])).notes == ()

    @pytest.mark.parametrize("place", ["0.png", "images_4/0.png", "images/0.png"])
    def test_a_photo_is_found_beside_the_file_and_in_folders_of_images(self, tmp_path: Path, place: str) -> None:
        write(tmp_path, [frame_of(9)])
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(1)).save(tmp_path / place)
        frames = [frame_of(0, file_path="frames/left/0")]
        (tmp_path / "transforms.json").write_text(json.dumps({**INTRINSICS, "frames": frames}))
        assert int(open_folder(tmp_path).read(0).image[0, 0, 2]) == 40

    @pytest.mark.parametrize(("width", "height"), [(20, 15), (80, 60), (27, 20), (4, 3)])
    def test_photos_of_another_size_by_one_factor_have_their_intrinsics_scaled_and_told(
        self, tmp_path: Path, width: int, height: int
    ) -> None:
        write(tmp_path, [frame_of(0)])
        Image.fromarray(picture(0, width, height)).save(tmp_path / "images" / "0.png")
        source = open_folder(tmp_path)
        x, y = width / WIDTH, height / HEIGHT
        assert source.read(0).camera == Camera(width, height, 36.0 * x, 38.0 * y, 21.0 * x, 14.0 * y)
        assert source.notes == (f"intrinsics of 1 images scaled from 40x30 to {width}x{height}, as the files are",)

    @pytest.mark.parametrize("key", ["K", "intrinsic_matrix"])
    @pytest.mark.parametrize("in_frame", [False, True])
    def test_intrinsics_may_be_a_matrix(self, tmp_path: Path, key: str, in_frame: bool) -> None:
        matrix = {key: [[36.0, 0.0, 21.0], [0.0, 38.0, 14.0], [0.0, 0.0, 1.0]]}
        size = {"w": WIDTH, "h": HEIGHT}
        frame = frame_of(0, **matrix) if in_frame else frame_of(0)
        source = open_folder(write(tmp_path, [frame], size if in_frame else {**size, **matrix}))
        assert source.camera(0) == Camera(WIDTH, HEIGHT, 36.0, 38.0, 21.0, 14.0)

    def test_a_matrix_that_is_none_is_refused(self, tmp_path: Path) -> None:
        assert "K must be 3x3 numbers" in refusal(write(tmp_path, [frame_of(0, K=[1.0, 2.0])], {"w": 40, "h": 30}))


class TestWhatCannotBeRead:
    def test_no_file_and_no_json(self, tmp_path: Path) -> None:
        assert "cannot be read" in refusal(tmp_path)
        (tmp_path / "transforms.json").write_text('{"frames": [\n{"file_path": ')
        assert "is no JSON (line 2" in refusal(tmp_path)
        (tmp_path / "transforms.json").write_bytes(b"\xff\xfe\x00")
        assert "no UTF-8 text" in refusal(tmp_path)
        for content in ("[]", "3"):
            (tmp_path / "transforms.json").write_text(content)
            assert "must be a JSON object with 'frames'" in refusal(tmp_path)
        for content in ("{}", '{"frames": []}', '{"frames": [1]}', '{"frames": {}}'):
            (tmp_path / "transforms.json").write_text(content)
            assert "'frames' must be a list of at least one JSON object" in refusal(tmp_path)

    def test_where_no_image_is_there_the_first_is_named_with_its_frame(self, tmp_path: Path) -> None:
        write(tmp_path, [frame_of(0), frame_of(1)])
        for index in range(2):
            (tmp_path / "images" / f"{index}.png").unlink()
        assert f"frame 0 (images/0.png): there is no image at {tmp_path}/images/0.png" in refusal(tmp_path)

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            ({"file_path": ""}, "frame 1: 'file_path' must be a text"),
            ({"transform_matrix": (2.0 * POSES[0]).tolist()}, "frame 1 (images/1.png): transform_matrix is no rigid"),
            ({"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "its rotation is scaled by 2."),
            ({"transform_matrix": np.diag([1.0, 1, -1, 1]).tolist()}, "it mirrors"),
            ({"fl_x": "wide"}, "frame 1 (images/1.png): 'fl_x' must be a finite number"),
            ({"fl_x": -3.0}, "frame 1 (images/1.png): focal lengths must be positive"),
            ({"w": 40.5}, "'w' must be a whole number"),
            ({"camera_model": "EQUIRECTANGULAR"}, "unknown camera_model 'EQUIRECTANGULAR', known are SIMPLE_PINHOLE"),
            ({"camera_model": "PINHOLE", "k1": 0.1}, "camera_model PINHOLE has no k1, but they are not zero"),
            ({"camera_model": "OPENCV", "k4": 0.1}, "camera_model OPENCV has no k4"),
            ({"equirectangular": True}, "the lens model 'equirectangular' is not known here"),
        ],
    )
    def test_a_frame_that_cannot_be_used_is_named(self, tmp_path: Path, frame: dict[str, Any], reason: str) -> None:
        assert reason in refusal(write(tmp_path, [frame_of(0), frame_of(1, **frame)]))

    def test_a_frame_without_pose(self, tmp_path: Path) -> None:
        folder = write(tmp_path, [{"file_path": "images/0.png"}])
        assert "frame 0 (images/0.png): there is no 'transform_matrix'" in refusal(folder)

    def test_no_intrinsics(self, tmp_path: Path) -> None:
        assert "frame 0 (images/0.png): there are no intrinsics" in refusal(write(tmp_path, [frame_of(0)], {}))
        assert "in radians, not in degrees" in refusal(write(tmp_path, [frame_of(0)], {"camera_angle_x": 70.0}))
