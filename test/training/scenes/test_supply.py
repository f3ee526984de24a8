# SPDX-License-Identifier: Apache-2.0
"""The supply of scenes: seeded, independent of the batch, and held apart."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from training_scenes import CPU, SIZE, of, source

from fsm_ros.training.scenes import Clips, Family, SceneSettings, SceneSource, Split
from fsm_ros.training.scenes.__main__ import main
from fsm_ros.training.scenes.bank import photograph_names, texture_bank, texture_families
from fsm_ros.training.scenes.patterns import Pattern, draw_pattern
from fsm_ros.training.scenes.photographs import load_photographs

FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)


@FAMILIES
def test_clips_are_what_they_say(family: Family) -> None:
    clips = of(family).clips([0, 1, 2], 24, SIZE)
    assert clips.images.shape == (3, 6, 3, 24, SIZE)
    assert clips.images.dtype == torch.float32
    assert clips.images.min() >= 0.0 and clips.images.max() <= 1.0
    assert torch.isfinite(clips.images).all()
    assert clips.world_from_camera.shape == (3, 6, 4, 4) and clips.world_from_camera.dtype == np.float64
    assert clips.fxfycxcy.shape == (3, 6, 4) and clips.fxfycxcy.dtype == np.float64
    assert clips.stamps_ns.shape == (3, 6) and clips.stamps_ns.dtype == np.int64
    assert clips.families == [family] * 3
    assert clips.difficulty.shape == (3,)


@FAMILIES
def test_a_clip_shows_something(family: Family) -> None:
    images = of(family, sensor=0.0).clips(range(6), SIZE, SIZE).images
    assert (images.std(dim=(3, 4)).mean(dim=2).amax(dim=1) > 0.03).all(), "every clip has contrast"
    assert images.flatten(1).unique(dim=0).shape[0] == 6, "clips differ"


def assert_equal(one: Clips, other: Clips, rows: list[int]) -> None:
    for mine, its in enumerate(rows):
        torch.testing.assert_close(one.images[mine], other.images[its], atol=1e-6, rtol=0.0)
        np.testing.assert_array_equal(one.world_from_camera[mine], other.world_from_camera[its])
        np.testing.assert_array_equal(one.fxfycxcy[mine], other.fxfycxcy[its])
        np.testing.assert_array_equal(one.stamps_ns[mine], other.stamps_ns[its])
        assert one.families[mine] is other.families[its]
        assert one.difficulty[mine] == other.difficulty[its]


def test_a_clip_does_not_depend_on_the_others() -> None:
    together = source().clips([3, 0, 7, 12, 5], SIZE, SIZE)
    assert_equal(source().clips([7, 3, 3], SIZE, SIZE), together, [2, 0, 0])


def test_scenes_may_be_drawn_elsewhere() -> None:
    sent = pickle.loads(pickle.dumps(source().draw([7, 3])))
    assert_equal(source().clips([7, 3], SIZE, SIZE, drawn=sent), source().clips([7, 3], SIZE, SIZE), [0, 1])
    with pytest.raises(ValueError, match="3 clips need as many drawn scenes"):
        source().clips([7, 3, 1], SIZE, SIZE, drawn=sent)


def test_another_seed_is_another_supply() -> None:
    one, other = (source(seed=seed, sensor=0.0).clips([0], SIZE, SIZE) for seed in (1, 2))
    assert not torch.equal(one.images, other.images)
    assert not np.array_equal(one.world_from_camera, other.world_from_camera)


def test_the_worlds_of_clips_render_their_clean_frames() -> None:
    supply = source(sensor=0.0)
    clips = supply.clips([4, 9], SIZE, SIZE)
    ways = supply.trajectories([4, 9])
    images = supply.worlds([4, 9]).render(
        torch.tensor([1, 0]),
        torch.from_numpy(np.stack([ways[1].world_from_camera[2], ways[0].world_from_camera[5]])),
        torch.from_numpy(clips.fxfycxcy[[1, 0], 0]),
        torch.tensor([clips.stamps_ns[1, 2] * 1e-9, clips.stamps_ns[0, 5] * 1e-9], dtype=torch.float64),
        SIZE,
        SIZE,
    )
    torch.testing.assert_close(images, torch.stack([clips.images[1, 2], clips.images[0, 5]]), atol=1e-6, rtol=0.0)


def test_the_sensor_adds_noise_and_exposure_in_proportion() -> None:
    clean, weak, strong = (source(sensor=sensor).clips([2], SIZE, SIZE).images for sensor in (0.0, 0.5, 1.0))
    assert 0.0 < (weak - clean).abs().mean() < (strong - clean).abs().mean() < 0.4


@pytest.mark.slow
def test_threads_leave_the_process_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        serial = source().clips([0], SIZE, SIZE).images
        source(frames=60).clips(range(3), 64, 64)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        torch.testing.assert_close(source().clips([0], SIZE, SIZE).images, serial, atol=1e-6, rtol=0.0)
        torch.set_num_threads(2)
        with torch.inference_mode():
            images = source(frames=60).clips(range(3), 64, 64).images
        assert images.is_inference()
    finally:
        torch.set_num_threads(before)


def test_held_out_textures_and_photographs_are_never_trained_on() -> None:
    for split in (Split.CHOOSE, Split.REPORT):
        assert split.is_held_out
        assert not set(texture_families(split)) & set(texture_families(Split.TRAIN))
        assert not set(photograph_names(split)) & set(photograph_names(Split.TRAIN))
        assert texture_families(split) and photograph_names(split)
    stereo_pair = {"motorcycle_left.png", "motorcycle_right.png"}
    assert len(stereo_pair & {*photograph_names(Split.TRAIN), *photograph_names(Split.REPORT)}) < 2


def test_no_two_splits_share_a_texture() -> None:
    stride = sum(4**level for level in range(9))
    tiles = {
        split: {texture.tobytes() for texture in texture_bank(split, False).texels.reshape(-1, stride)}
        for split in Split
    }
    assert all(len(tiles[split]) > 30 for split in Split)
    assert not tiles[Split.TRAIN] & (tiles[Split.CHOOSE] | tiles[Split.REPORT])
    assert not tiles[Split.CHOOSE] & tiles[Split.REPORT]


@pytest.mark.slow
def test_seeds_never_collide() -> None:
    states = [
        tuple(source(split, seed=seed).seed_sequence(index, stream).generate_state(4))
        for split in Split
        for seed in (0, 1)
        for index in range(100)
        for stream in (0, 1)
    ]
    assert len(set(states)) == len(states)


def test_splits_show_different_images_and_go_different_ways() -> None:
    clips = {split: source(split, sensor=0.0).clips(range(4), 16, 16) for split in Split}
    frames = torch.cat([clip.images.flatten(0, 1).flatten(1) for clip in clips.values()])
    assert frames.unique(dim=0).shape[0] == frames.shape[0]
    starts = np.concatenate([clip.world_from_camera[:, 0].reshape(4, -1) for clip in clips.values()])
    assert len(np.unique(starts, axis=0)) == len(starts)


@pytest.mark.parametrize("pattern", list(Pattern), ids=lambda pattern: pattern.value)
def test_a_pattern_has_contrast_and_tiles_without_a_seam(pattern: Pattern) -> None:
    tile = draw_pattern(pattern, np.random.default_rng(3), 128)
    assert tile.shape == (128, 128, 3) and tile.min() >= 0.0 and tile.max() <= 1.0
    assert tile.std(axis=(0, 1)).min() > 0.02
    for axis in (0, 1):
        steps = np.abs(np.diff(np.concatenate([tile, tile.take([0], axis=axis)], axis=axis), axis=axis)).mean(
            axis=(1 - axis, 2)
        )
        assert steps[-1] <= 2.0 * np.sort(steps)[-3] + 0.02, "the seam is no sharper than what lies inside"


def test_without_scikit_image_photographs_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    with pytest.raises(ImportError, match=r"pip install scikit-image.*photographs: false"):
        load_photographs(("astronaut.png",), 16)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed")
def test_photographs_become_square_tiles() -> None:
    for split in Split:
        tiles = load_photographs(photograph_names(split), 32)
        assert len(tiles) >= len(photograph_names(split))
        assert all(tile.shape == (32, 32, 3) and tile.dtype == np.uint8 and tile.std() > 3 for tile in tiles)
    clips = SceneSource(0, Split.TRAIN, SceneSettings(frames=3), CPU).clips([0], 16, 16)
    assert torch.isfinite(clips.images).all()


def test_the_contact_sheet_is_written(tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    sheet = tmp_path / "sheet.png"
    main(["--out", str(sheet), "--split", "choose", "--count", "2", "--views", "3", "--size", "16", "--no-photographs"])
    with Image.open(sheet) as picture:
        assert picture.size == (48, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"difficulty": (0.5, 0.2)}, "difficulty"),
        ({"difficulty": (0.0, 1.1)}, "difficulty"),
        ({"frames": 1}, "frames"),
        ({"sensor": -1.0}, "sensor"),
        ({"sensor": float("nan")}, "sensor"),
        ({"families": ()}, "at least one"),
        ({"families": ((Family.ROOM, -1.0),)}, "not negative"),
        ({"families": ((Family.ROOM, 1.0), (Family.ROOM, 1.0))}, "once"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneSettings(**settings)  # type: ignore[arg-type]


def test_unknown_settings_families_and_splits_are_refused() -> None:
    with pytest.raises(TypeError):
        SceneSettings(colour=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="families must be"):
        SceneSettings(families=(("attic", 1.0),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attic"):
        SceneSource(0, "attic", SceneSettings(photographs=False), CPU)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed"):
        source(seed=-1)
    with pytest.raises(ValueError, match="numbered from 0"):
        source().clips([-1], 8, 8)
