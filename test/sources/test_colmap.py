# SPDX-License-Identifier: Apache-2.0
"""COLMAP text models: rays go where COLMAP projects, frames come by name, and errors name file, line and remedy."""

from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recordings import open_camera
from recordings_colmap import CAMERA_FROM_WORLD, CAMERAS, HEAD, POINT, image_line, listed, pointless, write
from recordings_folders import HEIGHT, WIDTH, picture
from scipy.spatial.transform import Rotation

from fsm_ros.sources.colmap import PARAMETERS, open_model
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import SourceKind, open_rig, source_kind
from fsm_ros.stream.lens import check_coefficients, undistort


def refusal(root: Path) -> str:
    with pytest.raises(SourceError) as refused:
        open_model(root)
    return str(refused.value)


class TestGeometry:
    def test_the_ray_of_the_pixel_that_shows_a_point_goes_through_the_point(self, tmp_path: Path) -> None:
        source = open_model(write(tmp_path))
        assert len(source) == 3
        for index, (rotation, move) in enumerate(CAMERA_FROM_WORLD):
            # As COLMAP projects: camera from world, and the upper left pixel's centre at (0.5, 0.5).
            x, y, z = rotation.apply(POINT) + move
            u, v = 21.0 + 36.0 * x / z, 14.0 + 38.0 * y / z
            frame = source.read(index)
            camera = frame.camera
            ray = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
            assert z > 0 and np.allclose(frame.position + z * frame.world_from_camera[:3, :3] @ ray, POINT, atol=1e-12)
            assert np.allclose(frame.position, -rotation.inv().apply(move))
            assert np.array_equal(frame.image, picture(index))

    @pytest.mark.parametrize("name", list(PARAMETERS))
    def test_every_lens_bends_as_colmap_writes_it_down(self, tmp_path: Path, name: str) -> None:
        values = {"f": 37.0, "fl_x": 36.0, "fl_y": 38.0, "cx": 21.0, "cy": 14.0, "k1": 0.08, "k2": -0.03, "k3": 0.01}
        values |= {"k4": 0.02, "k5": -0.01, "k6": 0.005, "p1": 2e-3, "p2": -1e-3}
        # COLMAP's own order, model by model (sensor/models.h).
        order = {
            "SIMPLE_PINHOLE": "f cx cy",
            "PINHOLE": "fl_x fl_y cx cy",
            "SIMPLE_RADIAL": "f cx cy k1",
            "RADIAL": "f cx cy k1 k2",
            "OPENCV": "fl_x fl_y cx cy k1 k2 p1 p2",
            "FULL_OPENCV": "fl_x fl_y cx cy k1 k2 p1 p2 k3 k4 k5 k6",
            "SIMPLE_FISHEYE": "f cx cy",
            "FISHEYE": "fl_x fl_y cx cy",
            "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
            "RADIAL_FISHEYE": "f cx cy k1 k2",
            "OPENCV_FISHEYE": "fl_x fl_y cx cy k1 k2 k3 k4",
        }[name].split()
        line = f"1 {name} {WIDTH} {HEIGHT} {' '.join(str(values[key]) for key in order)}\n"
        camera = open_model(write(tmp_path, cameras=line)).camera(0)
        check_coefficients(camera.distortion, camera.coefficients)
        fx, fy = (values["f"],) * 2 if "f" in order else (values["fl_x"], values["fl_y"])
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (fx, fy, 21.0, 14.0)
        k = {key: values[key] if key in order else 0.0 for key in values}
        u, v = 0.31, -0.22
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
        pixel = np.array([[fx * x + 21.0 - 0.5, fy * y + 14.0 - 0.5]])
        ray = undistort(camera, pixel) if camera.is_distorted else np.array([[x, y]])
        assert np.allclose(ray, [[u, v]], atol=1e-6)
        assert camera.is_distorted == ("PINHOLE" not in name)

    @pytest.mark.parametrize("name", ["FOV", "THIN_PRISM_FISHEYE", "DIVISION", "EQUIRECTANGULAR"])
    def test_a_lens_that_cannot_be_expressed(self, tmp_path: Path, name: str) -> None:
        said = refusal(write(tmp_path, cameras=f"# a comment\n1 {name} 40 30 36 38 21 14 0.9\n"))
        assert f"cameras.txt: line 2: the camera model {name} cannot be expressed" in said
        assert "colmap image_undistorter" in said

    def test_images_of_several_cameras(self, tmp_path: Path) -> None:
        cameras = "7 SIMPLE_PINHOLE 40 30 50 20 15\n3 PINHOLE 40 30 60 61 20 15\n"
        images = "\n\n".join((image_line(1, "a.png", 0, 3), image_line(2, "b.png", 1, 7), image_line(3, "c.png", 2, 3)))
        source = open_model(write(tmp_path, cameras=cameras, images=images))
        assert [source.camera(index).fx for index in range(3)] == [60.0, 50.0, 60.0]
        assert [source.read(index).camera.fx for index in range(3)] == [60.0, 50.0, 60.0]


def as_binary(root: Path) -> Path:
    """The model written as COLMAP writes it by default."""
    pycolmap = pytest.importorskip("pycolmap")
    model = root / "sparse/0"
    (model / "points3D.txt").write_text("")
    pycolmap.Reconstruction(model).write_binary(model)
    for name in ("cameras.txt", "images.txt", "points3D.txt"):
        (model / name).unlink()
    return root


class TestBinary:
    def test_it_is_read_as_the_text_is(self, tmp_path: Path) -> None:
        text = open_model(write(tmp_path / "text", images=pointless(["b.png", "a.png"])))
        root = as_binary(write(tmp_path / "binary", images=pointless(["b.png", "a.png"])))
        assert source_kind(root) is SourceKind.COLMAP
        binary = open_camera(root)
        assert len(binary) == len(text) == 2
        assert np.array_equal(binary.stamps_ns, text.stamps_ns)
        assert np.allclose(binary.world_from_camera, text.world_from_camera, atol=1e-12)
        for index in range(len(text)):
            assert binary.camera(index) == text.camera(index)
            assert np.array_equal(binary.read(index).image, text.read(index).image)

    def test_without_pycolmap_both_ways_out_are_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root = as_binary(write(tmp_path, images=pointless(["a.png"])))
        monkeypatch.setitem(sys.modules, "pycolmap", None)
        with pytest.raises(SourceError, match="needs pycolmap .*: pip install .*model_converter .*--output_type TXT"):
            open_camera(root)

    @pytest.mark.parametrize("kept", [0.0, 0.5])
    def test_one_that_was_cut_short(self, tmp_path: Path, kept: float) -> None:
        root = as_binary(write(tmp_path, images=pointless(["a.png", "b.png"])))
        for name in ("images.bin", "frames.bin"):
            file = root / "sparse/0" / name
            if file.exists():
                file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
        with pytest.raises(SourceError, match="sparse/0"):
            open_camera(root)


class TestFiles:
    @pytest.mark.parametrize("model", [".", "sparse/0", "sparse", "text"])
    def test_a_model_is_found_in_its_folder_and_its_images_beside_it(self, tmp_path: Path, model: str) -> None:
        root = write(tmp_path / "church", model=model)
        assert source_kind(root) is source_kind(root / model) is SourceKind.COLMAP
        for path in (root, root / model):
            source = open_model(path)
            assert (source.name, len(source)) == ("church", 3)

    def test_images_elsewhere_are_named(self, tmp_path: Path) -> None:
        root = write(tmp_path / "church")
        (root / "images").rename(tmp_path / "photos")
        assert "copy them there, or name their folder" in refusal(root)
        source = open_model(root, image_folder=tmp_path / "photos")
        assert source.name == "church" and np.array_equal(source.read(1).image, picture(1))

    def test_frames_come_in_the_natural_order_of_their_names(self, tmp_path: Path) -> None:
        names = ["left/10.png", "left/9.png", "my photo 2.png", "left/100.png"]
        source = open_model(write(tmp_path, names), frame_rate_hz=2.0)
        assert [int(source.read(index).image[0, 0, 2]) for index in range(4)] == [40, 0, 120, 80]
        assert source.stamps_ns.tolist() == [0, 5 * 10**8, 10**9, 15 * 10**8]
        assert open_model(tmp_path).stamps_ns[3] == 10**8

    def test_it_is_opened_like_every_other_recording(self, tmp_path: Path) -> None:
        root = write(tmp_path / "church")
        source = open_camera(root, frame_rate_hz=4.0)
        assert source.stamps_ns.tolist() == [0, 25 * 10**7, 5 * 10**8]
        copy = pickle.loads(pickle.dumps(source))
        assert np.array_equal(copy.read(2).image, source.read(2).image)
        rig = open_rig(root)
        assert (rig.cameras, rig.world_frame, len(rig.frames)) == (("camera",), "", 3)
        assert rig.told == "church: 3 images (40x30) with poses, as a COLMAP model has them"
        for ask in (source.read, source.camera):
            with pytest.raises(IndexError, match="has frames 0 to 2, and no frame 3"):
                ask(3)

    def test_transforms_json_goes_before_a_model(self, tmp_path: Path) -> None:
        root = write(tmp_path)
        (root / "transforms.json").write_text("{}")
        assert source_kind(root) is SourceKind.FOLDER

    def test_several_models_are_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        root = write(tmp_path)
        (root / "sparse" / "1").mkdir()
        (root / "sparse" / "1" / "images.txt").write_text("")
        with caplog.at_level(logging.WARNING):
            open_model(root)
        assert "has 2 models: taking sparse/0" in caplog.text

    def test_a_rotation_written_with_few_digits_is_still_one(self, tmp_path: Path) -> None:
        images = "1 0.7071 0.7071 0 0 0 0 0 1 a.png\n"
        pose = open_model(write(tmp_path, ["a.png"], images=images)).world_from_camera[0]
        assert np.allclose(pose[:3, :3], Rotation.from_euler("x", -90, degrees=True).as_matrix())


A, B = image_line(1, "a.png"), image_line(2, "b.png")
BAD_IMAGES = {
    "a line that was cut short": (A[:30], "line 1: an image has an ID, QW, .*cut short"),
    "no number": (A.replace(" 1 a.png", " x a.png"), "line 1: expected a whole number, got 'x'"),
    "no quaternion": ("1 2 0 0 0 0 0 0 1 a.png", "line 1: the quaternion has length 2"),
    "a pose that is not finite": ("1 1 0 0 0 nan 0 0 1 a.png", "line 1: all numbers must be finite"),
    "a word for a number": ("# x\n1 1 0 0 zero 0 0 0 1 a.png", "line 2: could not convert string to float: 'zero'"),
    "an absent line of points": (f"{A}\n{B}\n", "line 2 should list the points .* may be empty but not absent"),
    "the same image twice": (f"{A}\n\n{A}\n\n", "line 3: a.png has a pose already .*line 1"),
    "an unknown camera": (image_line(1, "a.png", camera=9), "line 1: there is no camera 9 in .*cameras.txt .it has 1"),
    "an absent image": (image_line(1, "z.png"), "line 1: there is no image at .*z.png: copy the images along"),
    "fewer than it says": (
        listed(["a.png", "b.png"]).rsplit("\n", 3)[0] + "\n",
        "1 entries, but .* there are 2: it was",
    ),
    "no images": (HEAD, "has no images"),
}
BAD_CAMERAS = {
    "a line that was cut short": ("1 PINHOLE 40", "line 1: a camera has an ID, MODEL, WIDTH, HEIGHT and PARAMS"),
    "too few parameters": ("1 OPENCV 40 30 36 38 21 14", "line 1: OPENCV has 8 parameters, got 4"),
    "too many parameters": ("1 PINHOLE 40 30 36 38 21 14 0.1", "line 1: PINHOLE has 4 parameters, got 5"),
    "no focal length": ("1 PINHOLE 40 30 0 38 21 14", "line 1: focal lengths must be positive"),
    "a size that is none": ("1 PINHOLE 40.5 30 36 38 21 14", "line 1: expected a whole number, got '40.5'"),
    "the same camera twice": (CAMERAS + CAMERAS, "line 8: there are two cameras 1"),
}


class TestWhatIsLeftOut:
    def test_absent_images_are_left_out_and_counted(self, tmp_path: Path) -> None:
        images = image_line(1, "a.png") + "\n\n" + image_line(2, "gone.png") + "\n\n" + image_line(3, "b.png") + "\n\n"
        source = open_model(write(tmp_path, ["a.png", "b.png"], images=images), frame_rate_hz=10.0)
        assert len(source) == 2
        (note,) = source.notes
        assert note.startswith("left out 1 of 3 images: 1 without an image file (the first: ") and "gone.png" in note

    def test_a_camera_that_nobody_uses_may_be_of_any_model(self, tmp_path: Path) -> None:
        cameras = CAMERAS + "7 DIVISION 40 30 36 38 21 14 0.1\n"
        source = open_model(write(tmp_path, ["a.png"], images=image_line(1, "a.png") + "\n\n", cameras=cameras))
        assert len(source) == 1 and source.notes == ()


class TestErrors:
    @pytest.mark.parametrize(("text", "reason"), list(BAD_IMAGES.values()), ids=list(BAD_IMAGES))
    def test_images_that_cannot_be_used(self, tmp_path: Path, text: str, reason: str) -> None:
        with pytest.raises(SourceError, match=reason) as refused:
            open_model(write(tmp_path, ["a.png", "b.png"], images=text))
        assert str(tmp_path / "sparse/0/images.txt") in str(refused.value)

    @pytest.mark.parametrize(("text", "reason"), list(BAD_CAMERAS.values()), ids=list(BAD_CAMERAS))
    def test_cameras_that_cannot_be_used(self, tmp_path: Path, text: str, reason: str) -> None:
        with pytest.raises(SourceError, match=reason) as refused:
            open_model(write(tmp_path, cameras=text))
        assert str(tmp_path / "sparse/0/cameras.txt") in str(refused.value)

    def test_half_of_a_binary_model(self, tmp_path: Path) -> None:
        root = as_binary(write(tmp_path))
        (root / "sparse/0/cameras.bin").unlink()
        assert "sparse/0 cannot be read" in refusal(root)

    def test_half_a_model_and_none(self, tmp_path: Path) -> None:
        root = write(tmp_path / "half")
        (root / "sparse/0/cameras.txt").unlink()
        assert "has no cameras.txt: copy it along" in refusal(root)
        assert "holds no COLMAP model: give a folder with cameras.txt and images.txt" in refusal(tmp_path)

    def test_images_of_another_size(self, tmp_path: Path) -> None:
        root = write(tmp_path)
        Image.fromarray(picture(0, 80, 60)).save(root / "images" / "b.png")
        source = open_model(root)
        with pytest.raises(SourceError, match="b.png has 80x60 pixels, but its camera in .*cameras.txt 40x30"):
            source.read(1)

    @pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
    def test_a_frame_rate_that_is_none(self, tmp_path: Path, rate_hz: float) -> None:
        with pytest.raises(ValueError, match="frame_rate_hz must be positive"):
            open_model(write(tmp_path), frame_rate_hz=rate_hz)
