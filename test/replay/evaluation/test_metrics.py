# SPDX-License-Identifier: Apache-2.0
"""Metrics of an evaluation agree with independent implementations, and what cannot be measured is told."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.signal import convolve2d
from skimage import data
from skimage.filters import gaussian
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr

from fsm_ros.replay.evaluation import lpips
from fsm_ros.replay.evaluation.metrics import ImageMetrics
from fsm_ros.replay.evaluation.results import Metric
from fsm_ros.training import similarity
from fsm_ros.training.similarity import BETAS, scale_count

Image = NDArray[np.uint8]


def natural(height: int, width: int) -> Image:
    return np.ascontiguousarray(data.astronaut()[60 : 60 + height, 120 : 120 + width])


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def spoilt(image: Image, seed: int = 0) -> Image:
    """Noisy, darker and shifted by a pixel: wrong in structure, contrast and luminance."""
    rng = np.random.default_rng(seed)
    return np.clip(0.8 * np.roll(image, 1, axis=1) + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def blurred(image: Image) -> Image:
    return np.round(gaussian(image, 2.0, channel_axis=2, preserve_range=True)).astype(np.uint8)


PAIRS = {
    "natural, spoilt": (natural(96, 128), spoilt(natural(96, 128))),
    "natural, blurred": (natural(128, 80), blurred(natural(128, 80))),
    "natural, small": (natural(64, 64), spoilt(natural(64, 64))),
    "natural, odd": (natural(97, 75), spoilt(natural(97, 75))),
    "noise": (noise(64, 72), noise(64, 72, seed=1)),
    "noise on nature": (natural(90, 90), noise(90, 90)),
    "five scales": (natural(180, 200), spoilt(natural(180, 200))),
    "negative": (natural(64, 64), 255 - natural(64, 64)),
}
pairs = pytest.mark.parametrize(("truth", "image"), PAIRS.values(), ids=PAIRS)


def measured(image: Image, truth: Image) -> dict[Metric, float]:
    return ImageMetrics(*truth.shape[:2]).measure(image, truth)


# --- PSNR and SSIM ------------------------------------------------------------------------------------------------


@pairs
def test_psnr_is_that_of_scikit_image_and_of_torchmetrics(truth: Image, image: Image) -> None:
    found = measured(image, truth)[Metric.PSNR]
    assert found == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=255), abs=1e-9)
    tensors = [torch.from_numpy(array).double() / 255 for array in (image, truth)]
    assert found == pytest.approx(float(torch_psnr(*tensors, data_range=1.0)), abs=1e-5)


def ssim_of_scikit_image(truth: Image, image: Image) -> float:
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(truth, image, channel_axis=2, data_range=255, **window))


@pairs
def test_ssim_is_that_of_scikit_image(truth: Image, image: Image) -> None:
    assert measured(image, truth)[Metric.SSIM] == pytest.approx(ssim_of_scikit_image(truth, image), abs=1e-4)


def test_equal_images_are_as_alike_as_can_be() -> None:
    for image in (natural(180, 180), noise(64, 64), np.full((64, 64, 3), 200, np.uint8)):
        found = measured(image, image)
        assert found[Metric.PSNR] == pytest.approx(100.0)
        assert found[Metric.SSIM] == pytest.approx(1.0, abs=1e-6)
        assert found[Metric.MS_SSIM] == pytest.approx(1.0, abs=1e-6)


def test_an_image_is_compared_wherever_it_lies_in_memory() -> None:
    truth, image = natural(64, 80), spoilt(natural(64, 80))
    strided = np.asfortranarray(np.flip(np.flip(image, axis=0).copy(), axis=0))
    assert measured(strided, truth) == measured(image, truth)


# --- MS-SSIM ------------------------------------------------------------------------------------------------------


def gaussian_window() -> NDArray[np.float64]:
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    line /= line.sum()
    return np.outer(line, line)


def ms_ssim(truth: Image, image: Image, betas: Sequence[float]) -> float:
    """Wang et al. 2003, as scikit-image defines SSIM: only windows within the image; channels averaged."""
    x, y = truth.astype(np.float64), image.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    window, product = gaussian_window(), 1.0
    for scale, beta in enumerate(betas):
        similarity, contrast = [], []
        for channel in range(3):
            a, b = x[..., channel], y[..., channel]
            mean_a, mean_b, mean_aa, mean_bb, mean_ab = (
                convolve2d(array, window, mode="valid") for array in (a, b, a * a, b * b, a * b)
            )
            covariance = mean_ab - mean_a * mean_b
            variances = mean_aa - mean_a**2 + mean_bb - mean_b**2
            contrast.append((2 * covariance + c2) / (variances + c2))
            similarity.append(contrast[-1] * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1))
        last = scale == len(betas) - 1
        product *= max(float(np.mean(similarity if last else contrast)), 0.0) ** beta
        rows, columns = x.shape[0] // 2, x.shape[1] // 2
        x, y = (array[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3).mean(axis=(1, 3)) for array in (x, y))
    return product


def test_the_independent_ssim_is_that_of_scikit_image() -> None:
    truth, image = PAIRS["natural, odd"]
    assert ms_ssim(truth, image, [1.0]) == pytest.approx(ssim_of_scikit_image(truth, image), abs=1e-9)


@pytest.mark.slow
@pairs
def test_ms_ssim_is_that_of_an_independent_implementation(truth: Image, image: Image) -> None:
    count = scale_count(*truth.shape[:2])
    betas = [beta / sum(BETAS[:count]) for beta in BETAS[:count]]
    assert measured(image, truth)[Metric.MS_SSIM] == pytest.approx(ms_ssim(truth, image, betas), abs=1e-4)


def test_many_images_at_once_are_each_as_alike_as_alone() -> None:
    truths, images = zip(*(PAIRS[name] for name in ("natural, small", "negative")), strict=True)
    tensors = [torch.from_numpy(np.stack(many)).permute(0, 3, 1, 2) / 255.0 for many in (images, truths)]
    ssim, ms_ssim = similarity.ssim(*tensors), similarity.ms_ssim(*tensors)
    for place, (image, truth) in enumerate(zip(images, truths, strict=True)):
        alone = measured(image, truth)
        assert float(ssim[place]) == pytest.approx(alone[Metric.SSIM], abs=1e-6)
        assert float(ms_ssim[place]) == pytest.approx(alone[Metric.MS_SSIM], abs=1e-6)


def test_what_the_window_does_not_fit_into_is_not_alike_and_not_different() -> None:
    small = torch.rand(2, 3, 10, 40)
    assert bool(similarity.ssim(small, small).isnan().all()) and bool(similarity.ms_ssim(small, small).isnan().all())


@pytest.mark.parametrize(
    ("shortest", "scales"),
    [(500, 5), (176, 5), (175, 4), (88, 4), (87, 3), (64, 3), (44, 3), (43, 2), (22, 2), (21, 0)],
)
def test_small_views_have_fewer_scales_and_that_is_told(shortest: int, scales: int) -> None:
    assert scale_count(shortest, 1000) == scale_count(1000, shortest) == scales
    metrics = ImageMetrics(shortest, shortest + 9)
    notes = [note for note in metrics.notes if note.startswith("MS-SSIM")]
    if scales:
        assert f"at {scales} scales" in metrics.told[Metric.MS_SSIM]
    else:
        assert Metric.MS_SSIM not in metrics.told
    if scales == 5:
        assert notes == []
    else:
        (note,) = notes
        assert f"{shortest + 9}x{shortest} pixels" in note
        assert ("not measured" in note) == (scales == 0)


def test_the_exponents_are_those_of_the_paper_and_sum_to_one() -> None:
    assert "0.0448, 0.2856, 0.3001, 0.2363, 0.1333" in ImageMetrics(176, 176).told[Metric.MS_SSIM]
    assert "0.1356, 0.8644" in ImageMetrics(30, 30).told[Metric.MS_SSIM]


@pytest.mark.parametrize("size", [(11, 11), (22, 40), (44, 44), (88, 300), (176, 176)])
def test_the_smallest_size_of_each_kind_can_be_measured(size: tuple[int, int]) -> None:
    metrics = ImageMetrics(*size)
    found = metrics.measure(spoilt(natural(*size)), natural(*size))
    assert found.keys() == metrics.told.keys()
    assert all(np.isfinite(value) for value in found.values())


def test_views_smaller_than_the_window_have_psnr_alone() -> None:
    metrics = ImageMetrics(10, 40)
    assert set(metrics.measure(natural(10, 40), natural(10, 40))) == set(metrics.told) == {Metric.PSNR}
    assert [note.split(" is not")[0] for note in metrics.notes] == ["SSIM", "MS-SSIM", "LPIPS"]


# --- LPIPS --------------------------------------------------------------------------------------------------------

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


def alexnet_state(seed: int = 0) -> dict[str, Tensor]:
    """Convolutions of AlexNet as torchvision names them, at random, strong enough for every layer to matter."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for number, shape in SHAPES.items():
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"features.{number}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        state[f"features.{number}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({**alexnet_state(), "classifier.6.bias": torch.zeros(1000)}, path)
    return path


def convolved(
    maps: NDArray[np.float64], kernels: NDArray[np.float64], stride: int, padding: int
) -> NDArray[np.float64]:
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[2:], axis=(1, 2))
    return np.einsum("ihwkl,oikl->ohw", windows[:, ::stride, ::stride], kernels, optimize=True)


def pooled(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))


def lpips_in_numpy(image: Image, truth: Image, state: dict[str, Tensor]) -> float:
    """Zhang et al. 2018, equation 1, with the linear heads of torchmetrics."""
    package = importlib.util.find_spec("torchmetrics")
    assert package is not None and package.origin is not None
    heads = torch.load(Path(package.origin).parent / "functional/image/lpips_models/alex.pth", map_location="cpu")
    layers: list[list[NDArray[np.float64]]] = []
    for picture in (image, truth):
        maps = picture.transpose(2, 0, 1) / 127.5 - 1.0
        maps = (maps - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[
            :, None, None
        ]
        layers.append([])
        for number, (stride, padding) in zip(SHAPES, [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)], strict=True):
            if number in (3, 6):
                maps = pooled(maps)
            maps = convolved(maps, state[f"features.{number}.weight"].double().numpy(), stride, padding)
            maps = np.maximum(maps + state[f"features.{number}.bias"].double().numpy()[:, None, None], 0.0)
            layers[-1].append(maps / np.sqrt((maps**2).sum(axis=0) + 1e-8))
    total = 0.0
    for number, (a, b) in enumerate(zip(*layers, strict=True)):
        head = heads[f"lin{number}.model.1.weight"].double().numpy().reshape(-1, 1, 1)
        total += float((head * (a - b) ** 2).sum(axis=0).mean())
    return total


@pytest.mark.parametrize("name", ["natural, spoilt", "natural, small", "natural, odd", "noise"])
def test_lpips_is_that_of_an_independent_implementation(name: str, weights: Path) -> None:
    truth, image = PAIRS[name]
    metrics = ImageMetrics(*truth.shape[:2], lpips_weights=weights)
    found = metrics.measure(image, truth)[Metric.LPIPS]
    assert found == pytest.approx(lpips_in_numpy(image, truth, alexnet_state()), rel=1e-4)
    assert found > 0.01
    assert metrics.measure(image, truth)[Metric.LPIPS] == found, "the same every time"


def test_lpips_of_equal_images_is_nothing_and_grows_with_what_is_wrong(weights: Path) -> None:
    truth = natural(64, 64)
    metrics = ImageMetrics(64, 64, lpips_weights=weights)
    mixed = [((1 - share) * truth + share * noise(64, 64)).astype(np.uint8) for share in (0.0, 0.1, 0.3, 1.0)]
    found = [metrics.measure(image, truth)[Metric.LPIPS] for image in mixed]
    assert found[0] == 0.0
    assert found == sorted(found) and found[1] > 0


def test_weights_are_read_from_safetensors_too(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "alexnet.safetensors"
    save_file(alexnet_state(), path)
    truth, image = PAIRS["natural, small"]
    a, b = (ImageMetrics(64, 64, lpips_weights=file).measure(image, truth) for file in (weights, path))
    assert a == b


def test_other_weights_are_another_metric_and_the_file_is_told(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(alexnet_state(seed=1), path)
    truth, image = PAIRS["natural, small"]
    a, b = (ImageMetrics(64, 64, lpips_weights=file) for file in (weights, path))
    assert a.measure(image, truth)[Metric.LPIPS] != b.measure(image, truth)[Metric.LPIPS]
    assert "alexnet.pth" in a.told[Metric.LPIPS] and "other.pth" in b.told[Metric.LPIPS]
    assert a.told[Metric.LPIPS].replace("alexnet.pth", "other.pth") != b.told[Metric.LPIPS], "their digests differ"


def test_without_weights_lpips_is_absent_and_that_is_told() -> None:
    metrics = ImageMetrics(64, 64)
    assert Metric.LPIPS not in {**metrics.told, **metrics.measure(natural(64, 64), natural(64, 64))}
    assert "LPIPS is not measured: no file with its weights was given" in metrics.notes


@pytest.mark.parametrize(
    ("size", "possible"), [((31, 31), True), ((31, 90), True), ((30, 90), False), ((90, 30), False)]
)
def test_views_too_small_for_alexnet_have_no_lpips(size: tuple[int, int], possible: bool, weights: Path) -> None:
    metrics = ImageMetrics(*size, lpips_weights=weights)
    found = metrics.measure(spoilt(natural(*size)), natural(*size))
    assert (Metric.LPIPS in found) == (Metric.LPIPS in metrics.told) == possible
    assert any("LPIPS is not measured" in note and "31x31" in note for note in metrics.notes) == (not possible)


def test_nothing_random_is_touched(weights: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    ImageMetrics(64, 64, lpips_weights=weights).measure(noise(64, 64), natural(64, 64))
    assert torch.equal(torch.get_rng_state(), before)


# --- errors -------------------------------------------------------------------------------------------------------


def damaged(**changed: Tensor | None) -> dict[str, Tensor]:
    state = alexnet_state()
    for name, value in changed.items():
        key = "features." + name.replace("_", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no file"),
        (b"", "cannot be read"),
        (b"no weights at all", "cannot be read"),
        ({}, "is no state dict of AlexNet: features.0.weight"),
        ({"state_dict": alexnet_state()}, "is no state dict of AlexNet"),
        ([1, 2], "holds a list"),
        (torch.nn.Linear(2, 2), "cannot be read"),
        (damaged(**{"10_bias": None}), "features.10.bias should be .256,., and is nothing"),
        (damaged(**{"3_weight": torch.zeros(192, 64, 3, 3)}), "and is .192, 64, 3, 3."),
        (damaged(**{"0_bias": torch.zeros(64, dtype=torch.int64)}), "int64"),
        (damaged(**{"0_bias": torch.full((64,), torch.nan)}), "features.0.bias is not finite"),
    ],
    ids=["absent", "empty", "text", "nothing", "nested", "list", "module", "missing", "shape", "type", "nan"],
)
def test_a_file_that_is_not_alexnet_is_refused_with_a_remedy(content: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=words) as refused:
        ImageMetrics(64, 64, lpips_weights=path)
    assert str(path) in str(refused.value) and "alexnet-owt-7be5be79.pth" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_refused_too(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        ImageMetrics(64, 64, lpips_weights=path)
    with pytest.raises(ValueError, match="there is no file"):
        ImageMetrics(64, 64, lpips_weights=tmp_path)


@pytest.mark.parametrize(
    ("image", "truth", "words"),
    [
        (noise(64, 63), noise(64, 64), "the image must be uint8 .64, 64, 3., got uint8 .64, 63, 3."),
        (noise(64, 64), noise(32, 64), "the truth must be"),
        (noise(64, 64).astype(np.float32), noise(64, 64), "got float32"),
        (noise(64, 64)[..., :1], noise(64, 64), "got uint8 .64, 64, 1."),
    ],
)
def test_images_of_another_size_or_type_are_not_compared(image: Image, truth: Image, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageMetrics(64, 64).measure(image, truth)


@pytest.mark.parametrize("size", [(0, 64), (64, -1)])
def test_a_size_is_positive(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive size"):
        ImageMetrics(*size)


def test_without_torchmetrics_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    with pytest.raises(ImportError, match=r"needs torchmetrics .*pip install 'fsm_ros\[evaluate\]'"):
        ImageMetrics(64, 64)


def test_without_torchmetrics_there_are_no_heads(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr(lpips, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"LPIPS needs torchmetrics.*pip install 'fsm_ros\[evaluate\]'"):
        ImageMetrics(64, 64, lpips_weights=weights)


class BreaksLikeForeignTorchvision(importlib.abc.MetaPathFinder):
    """What importing torchmetrics does where torchvision was built for another PyTorch."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "torchmetrics.functional.image":
            raise RuntimeError("operator torchvision::nms does not exist")


def test_a_torchvision_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchmetrics.functional.image")
    monkeypatch.setattr(sys, "meta_path", [BreaksLikeForeignTorchvision(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"torchvision::nms does not exist.*pip uninstall torchvision"):
        ImageMetrics(64, 64)
