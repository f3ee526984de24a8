# SPDX-License-Identifier: Apache-2.0
"""Steps of another size against their equation in float64 NumPy, and what follows from it.

m <- momentum m + G                            G: the gradient at the weights
w <- w + size / k**decline Muon(m)             k: the number of the chunk, from 1
then every column as long as it was
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import (
    EVERY_STEP_RULE,
    Array,
    array_of,
    arrays_of,
    assert_matrices_close,
    assert_states_close,
    layer_case,
    muon,
    observed_state,
    random_chunks,
    random_views,
    reference_gradient,
    reference_muon,
    reference_norms_restored,
    rule_name,
    stream,
    tiny_model,
)

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.memory.rules.base import LayerMemory
from fsm_ros.memory.rules.steps import StepRule

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31 - 1)
every_step_rule = pytest.mark.parametrize("rule", EVERY_STEP_RULE, ids=rule_name)


@pytest.fixture
def model() -> FsmModel:
    return tiny_model()


class Reference:
    """The three matrices of a layer under the equations above."""

    def __init__(self, memory: LayerMemory, norms: FastWeights) -> None:
        self.weights = arrays_of(memory.weights)
        self.norms = arrays_of(norms)
        self.momentum: list[Array] = [np.zeros_like(weight) for weight in self.weights]
        self.chunks = 0

    def write(self, tokens: WriteTokens, rule: StepRule) -> None:
        self.chunks += 1
        step = rule.size / self.chunks**rule.decline
        gradient = reference_gradient(self.weights, tokens)
        self.momentum = [rule.momentum * old + new for old, new in zip(self.momentum, gradient, strict=True)]
        self.weights = [
            reference_norms_restored(weight + step * reference_muon(direction), norms)
            for weight, direction, norms in zip(self.weights, self.momentum, self.norms, strict=True)
        ]


def _assert_follows(seed: int, rule: StepRule) -> None:
    case = layer_case(seed)
    memory, reference = case.memory, Reference(case.memory, case.norms)
    for chunk in case.chunks:
        memory, _ = rule.write(memory, chunk, case.norms, muon)
        reference.write(chunk, rule)
        assert_matrices_close(memory.weights, reference.weights, atol=5e-3)
        assert memory.anchor is case.memory.anchor
        if rule.momentum > 0:
            assert_matrices_close(memory.evidence, reference.momentum, atol=2e-2)
        else:
            assert memory.evidence is None
        assert all((written == reference.chunks).all() for written in memory.importance)


@every_step_rule
def test_three_chunks_follow_the_equation(rule: StepRule) -> None:
    _assert_follows(0, rule)


@few
@given(
    seed=seeds,
    rule=st.builds(
        StepRule,
        size=st.floats(0.01, 1.0),
        decline=st.floats(0.0, 2.0),
        momentum=st.floats(0.0, 0.99),
    ),
)
def test_any_chunks_follow_the_equation(seed: int, rule: StepRule) -> None:
    _assert_follows(seed, rule)


@every_step_rule
def test_statistics_tell_what_the_last_chunk_did(rule: StepRule) -> None:
    case = layer_case(1)
    memory, reference = case.memory, Reference(case.memory, case.norms)
    for chunk in case.chunks:
        memory, found = rule.write(memory, chunk, case.norms, muon)
        reference.write(chunk, rule)
        full = _rms([reference_muon(direction) for direction in reference.momentum])
        held_back = (1 - rule.size / reference.chunks**rule.decline) * full
        assert _close(found.weight_rms, _rms(reference.weights))
        # The update is the whole step; what of it was not taken is what was pulled back.
        assert _close(found.update_rms, full)
        assert _close(found.pull_rms, held_back)
        assert _close(found.importance_mean, np.full(2, reference.chunks))
        assert _close(found.importance_max, np.full(2, reference.chunks))


def _close(found: torch.Tensor, expected: Array) -> bool:
    return np.allclose(array_of(found), expected, atol=2e-3, rtol=0)


def _rms(matrices: list[Array]) -> Array:
    """Of each scene, ``[B]``."""
    flat = np.concatenate([matrix.reshape(len(matrix), -1) for matrix in matrices], axis=1)
    rms: Array = np.sqrt((flat**2).mean(axis=1))
    return rms


@pytest.mark.slow
@few
@given(seed=seeds, chunks=st.integers(1, 4))
def test_whole_steps_are_lact(seed: int, chunks: int) -> None:
    for precision in Precision:
        model = tiny_model(precision=precision, muon_precision=MuonPrecision(precision.value))
        seen = random_chunks(seed, chunks)
        lact = stream(model, model.initial_state(), seen)
        for found, expected in zip(
            stream(model, model.initial_state(), seen, StepRule()).layers, lact.layers, strict=True
        ):
            for weight, wanted in zip(found.weights, expected.weights, strict=True):
                assert torch.equal(weight, wanted)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_first_step_knows_neither_decline_nor_momentum(model: FsmModel, momentum: float) -> None:
    chunk = random_views(2, 2)
    plain = model.observe(model.initial_state(), chunk, StepRule(0.5))
    first = model.observe(model.initial_state(), chunk, StepRule(0.5, decline=2.0, momentum=momentum))
    for found, expected in zip(first.layers, plain.layers, strict=True):
        for weight, wanted in zip(found.weights, expected.weights, strict=True):
            assert torch.equal(weight, wanted)


def test_a_smaller_step_moves_the_weights_less() -> None:
    case = layer_case(3, 1)
    memory = case.memory
    norms = memory.weights.map(lambda w: w.norm(dim=-2, keepdim=True))
    distances = []
    for size in (0.05, 0.2, 0.5):
        after, _ = StepRule(size).write(memory, case.chunks[0], norms, muon)
        distances.append(float((after.weights.w0 - memory.weights.w0).norm()))
    assert 0 < distances[0] < distances[1] < distances[2]


def test_the_steps_of_a_running_mean_shrink_with_the_count() -> None:
    case = layer_case(4, 3)
    memory = case.memory
    for number, chunk in enumerate(case.chunks, start=1):
        memory, did = StepRule(decline=1.0).write(memory, chunk, case.norms, muon)
        taken = did.update_rms - did.pull_rms
        torch.testing.assert_close(taken, did.update_rms / number, atol=1e-5, rtol=1e-4)


def test_momentum_goes_on_where_it_went() -> None:
    """A second chunk that asks for nothing is still a step, the way of the first."""
    case = layer_case(5, 2)
    silent = replace(case.chunks[1], values=torch.zeros_like(case.chunks[1].values))
    rule = StepRule(size=0.5, momentum=0.9)
    first, _ = rule.write(case.memory, case.chunks[0], case.norms, muon)
    second, _ = rule.write(first, silent, case.norms, muon)
    assert first.evidence is not None
    way = [reference_muon(direction) for direction in arrays_of(first.evidence)]
    expected = [
        reference_norms_restored(weight + 0.5 * step, norms)
        for weight, step, norms in zip(arrays_of(first.weights), way, arrays_of(case.norms), strict=True)
    ]
    assert_matrices_close(second.weights, expected, atol=5e-3)
    still, _ = replace(rule, momentum=0.0).write(replace(first, evidence=None), silent, case.norms, muon)
    assert_matrices_close(still.weights, arrays_of(first.weights), atol=1e-4)


@pytest.mark.parametrize("scenes", [1, 3])
def test_the_count_of_a_fresh_memory_begins_at_one(model: FsmModel, scenes: int) -> None:
    state = model.initial_state(scenes)
    for number, chunk in enumerate(random_chunks(6, 4, batch=scenes), start=1):
        state = model.observe(state, chunk, StepRule(decline=0.5))
        assert all((written == number).all() for layer in state.layers for written in layer.importance)


def test_momentum_is_kept_in_float32_whatever_the_model_computes_in() -> None:
    rule = StepRule(momentum=0.5)
    state = observed_state(tiny_model(precision=Precision.BF16, muon_precision=MuonPrecision.BF16), 3, rule)
    assert all(layer.evidence is not None for layer in state.layers)
    assert all(tensor.dtype == torch.float32 for tensor in state.tensors().values())


def test_turning_momentum_off_forgets_it(model: FsmModel) -> None:
    past, chunk = observed_state(model, 2, StepRule(momentum=0.5)), random_views(7, 2)
    plain = model.observe(past, chunk, StepRule())
    assert all(layer.evidence is None for layer in plain.layers)
    without = replace(past, layers=tuple(replace(layer, evidence=None) for layer in past.layers))
    assert_states_close(plain, model.observe(without, chunk, StepRule()), atol=0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 0.0, r"size must lie in \(0, 1\], got 0.0"),
        ("size", -0.5, r"size must lie in \(0, 1\], got -0.5"),
        ("size", 1.01, r"size must lie in \(0, 1\], got 1.01"),
        ("size", float("nan"), r"size must lie in \(0, 1\], got nan"),
        ("decline", -1e-9, "decline must be finite and at least 0, got -1e-09"),
        ("decline", float("inf"), "decline must be finite and at least 0, got inf"),
        ("decline", float("nan"), "decline must be finite and at least 0, got nan"),
        ("momentum", -1e-9, r"momentum must lie in \[0, 1\), got -1e-09"),
        ("momentum", 1.0, r"momentum must lie in \[0, 1\), got 1.0"),
        ("momentum", float("nan"), r"momentum must lie in \[0, 1\), got nan"),
    ],
)
def test_a_number_outside_its_range(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(StepRule(), **{name: value})
