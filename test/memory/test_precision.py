# SPDX-License-Identifier: Apache-2.0
"""What runs in which precision, on CPUs and on CUDA."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_memory import blocks_of, observed_state, random_views, stream, tiny_model

from fsm_ros.memory.camera import pluecker_map
from fsm_ros.memory.fast_weights import newton_schulz
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.memory.rules.elastic import ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.views import Views


def _chunk(seed: int, device: str) -> Views:
    """Two views on a device."""
    views = random_views(seed, 2)
    there = replace(
        views.cameras,
        fxfycxcy=views.cameras.fxfycxcy.to(device),
        memory_from_camera=views.cameras.memory_from_camera.to(device),
    )
    return Views(views.images.to(device), there, views.times.to(device))


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]


@pytest.mark.parametrize("device", DEVICES)
def test_newton_schulz_runs_in_the_precision_asked_for_whatever_autocast_says(device: str) -> None:
    matrix = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0)).to(device)
    expected = {dtype: newton_schulz(matrix, 5, dtype) for dtype in (torch.float32, torch.bfloat16)}
    assert (expected[torch.float32] - expected[torch.bfloat16]).abs().max() > 1e-3
    with torch.autocast(device, torch.bfloat16):
        for dtype, result in expected.items():
            found = newton_schulz(matrix, 5, dtype)
            assert found.dtype == dtype
            assert torch.equal(found, result)


@pytest.mark.parametrize("device", DEVICES)
def test_rays_and_step_sizes_stay_float32_under_autocast(device: str) -> None:
    cameras = _chunk(0, device).cameras
    memory = blocks_of(tiny_model().to(device))[0].memory
    tokens = torch.randn(1, 2, 6, 32, generator=torch.Generator().manual_seed(0)).to(device)
    rays, step_sizes = pluecker_map(cameras), memory.write_tokens(tokens).step_sizes
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(pluecker_map(cameras), rays)
        for found, expected in zip(memory.write_tokens(tokens).step_sizes, step_sizes, strict=True):
            assert torch.equal(found, expected)


def test_the_precision_is_the_models_own_whatever_surrounds_it() -> None:
    plain, half = tiny_model(), tiny_model(precision=Precision.BF16)
    views = random_views(1, 2)
    state = observed_state(plain, 2, ElasticRule())
    image = plain.render(state, views.cameras, views.times)
    rounded = half.render(state, views.cameras, views.times)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - image).abs().max() < 0.05
    with torch.autocast("cpu", torch.bfloat16):
        assert observed_state(plain, 2, ElasticRule()).equals(state)
        assert torch.equal(plain.render(state, views.cameras, views.times), image)


def test_the_muon_precision_is_that_of_newton_schulz_only() -> None:
    exact, release = tiny_model(), tiny_model(muon_precision=MuonPrecision.BF16)
    one, other = observed_state(exact, 1), observed_state(release, 1)
    assert all(tensor.dtype == torch.float32 for tensor in other.tensors().values())
    assert 1e-3 < (one.layers[0].weights.w0 - other.layers[0].weights.w0).abs().max() < 0.5


@needs_cuda
@pytest.mark.parametrize("rule", [Plastic(), ElasticRule()], ids=["lact", "elastic"])
@pytest.mark.parametrize("muon", MuonPrecision)
def test_bf16_on_cuda_is_finite_and_near_float32(muon: MuonPrecision, rule: ElasticRule | Plastic) -> None:
    exact = tiny_model().to("cuda")
    quick = tiny_model(precision=Precision.BF16, muon_precision=muon).to("cuda")
    chunks = [_chunk(seed, "cuda") for seed in range(3)]
    wanted = _chunk(7, "cuda")
    state = stream(quick, quick.initial_state(), chunks, rule)
    expected = stream(exact, exact.initial_state(), chunks, rule)
    image = quick.render(state, wanted.cameras, wanted.times)
    assert state.is_finite()
    assert all(tensor.dtype == torch.float32 for tensor in state.tensors().values())
    assert image.dtype == torch.float32
    assert image.isfinite().all()
    # Newton-Schulz amplifies what bfloat16 rounds: only the size of the difference means anything.
    difference = image - exact.render(expected, wanted.cameras, wanted.times)
    assert 0 < difference.square().mean().sqrt() < 0.1
    # On one and the same memory there is no such amplification.
    same = quick.render(expected, wanted.cameras, wanted.times) - exact.render(expected, wanted.cameras, wanted.times)
    assert 0 < same.square().mean().sqrt() < 0.02


@needs_cuda
def test_float32_on_cuda_is_that_of_the_cpu() -> None:
    found, wanted = {}, {}
    for device in ("cpu", "cuda"):
        model, views = tiny_model().to(device), _chunk(7, device)
        chunks = [_chunk(seed, device) for seed in range(2)]
        state = stream(model, model.initial_state(), chunks, ElasticRule())
        wanted[device] = model.render(state, views.cameras, views.times).cpu()
        found[device] = state.to("cpu").tensors()
    for name, tensor in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][name], tensor, atol=5e-3, rtol=0)
    torch.testing.assert_close(wanted["cuda"], wanted["cpu"], atol=5e-3, rtol=0)
