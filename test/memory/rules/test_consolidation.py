# SPDX-License-Identifier: Apache-2.0
"""Consolidation against its equations in float64 NumPy, and what follows from them.

evidence <- retention evidence + G        G: the gradient at the anchor;  G / |G| of each matrix of each head  (equal)
w        <- anchor + Muon(evidence),  then every column as long as it was
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import (
    EVERY_CONSOLIDATION,
    ONE_LAYER,
    Array,
    array_of,
    arrays_of,
    assert_matrices_close,
    assert_states_close,
    largest_difference,
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
from fsm_ros.memory.rules.base import LayerMemory, WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.memory.state import MemoryState

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31 - 1)
every_share = pytest.mark.parametrize("share", ChunkShare)
every_consolidation = pytest.mark.parametrize("rule", EVERY_CONSOLIDATION, ids=rule_name)
BY_TOKENS = Consolidation(ChunkShare.BY_TOKENS)


@pytest.fixture
def model() -> FsmModel:
    return tiny_model()


@pytest.fixture
def shallow() -> FsmModel:
    """A model of one layer: nothing is read before it is written."""
    return tiny_model(config=ONE_LAYER)


class Reference:
    """The three matrices of a layer under the equations above."""

    def __init__(self, memory: LayerMemory, norms: FastWeights) -> None:
        self.anchor = arrays_of(memory.weights)
        self.weights = self.anchor
        self.norms = arrays_of(norms)
        self.evidence: list[Array] = [np.zeros_like(anchor) for anchor in self.anchor]

    def write(self, tokens: WriteTokens, rule: Consolidation) -> None:
        asked = reference_gradient(self.anchor, tokens)
        if rule.share is ChunkShare.EQUAL:
            asked = [g / np.sqrt((g**2).sum(axis=(-2, -1), keepdims=True)) for g in asked]
        self.evidence = [rule.retention * old + new for old, new in zip(self.evidence, asked, strict=True)]
        self.weights = [
            reference_norms_restored(anchor + reference_muon(evidence), norms)
            for anchor, evidence, norms in zip(self.anchor, self.evidence, self.norms, strict=True)
        ]


def _assert_follows(seed: int, rule: Consolidation) -> None:
    case = layer_case(seed)
    memory, reference = case.memory, Reference(case.memory, case.norms)
    for chunk in case.chunks:
        memory, _ = rule.write(memory, chunk, case.norms, muon)
        reference.write(chunk, rule)
        assert memory.evidence is not None
        assert_matrices_close(memory.evidence, reference.evidence, atol=1e-4)
        assert_matrices_close(memory.weights, reference.weights, atol=2e-3)
        assert_matrices_close(memory.anchor, reference.anchor, atol=0)
        assert memory.importance is case.memory.importance


@every_consolidation
def test_three_chunks_follow_the_equations(rule: Consolidation) -> None:
    _assert_follows(0, rule)


@few
@given(seed=seeds, rule=st.builds(Consolidation, st.sampled_from(ChunkShare), st.floats(0.0, 1.0)))
def test_any_chunks_follow_the_equations(seed: int, rule: Consolidation) -> None:
    _assert_follows(seed, rule)


@every_consolidation
def test_statistics_tell_what_the_last_chunk_did(rule: Consolidation) -> None:
    case = layer_case(1)
    reference = Reference(case.memory, case.norms)
    memory = case.memory
    for chunk in case.chunks:
        before = reference.weights
        memory, found = rule.write(memory, chunk, case.norms, muon)
        reference.write(chunk, rule)
        apart = list(zip(reference.weights, reference.anchor, strict=True))
        pulled = list(zip(before, reference.anchor, strict=True))
        for value, expected in (
            (found.weight_rms, _rms(reference.weights)),
            (found.anchor_distance, _rms([weight - anchor for weight, anchor in apart])),
            (found.update_rms, _rms([reference_muon(evidence) for evidence in reference.evidence])),
            # All that was written before, as it is written anew.
            (found.pull_rms, _rms([weight - anchor for weight, anchor in pulled])),
        ):
            np.testing.assert_allclose(array_of(value), expected, atol=1e-3, rtol=0)


def _rms(matrices: list[Array]) -> Array:
    """Of each scene, ``[B]``."""
    flat = np.concatenate([matrix.reshape(len(matrix), -1) for matrix in matrices], axis=1)
    rms: Array = np.sqrt((flat**2).mean(axis=1))
    return rms


# --- what a chunk counts -----------------------------------------------------------------------------------


@few
@given(seed=seeds)
def test_the_first_chunk_is_written_as_by_lact(seed: int) -> None:
    model, chunk = tiny_model(), random_views(seed, 2)
    lact = model.observe(model.initial_state(), chunk)
    for share, atol in ((ChunkShare.BY_TOKENS, 0.0), (ChunkShare.EQUAL, 2e-3)):
        first = model.observe(model.initial_state(), chunk, Consolidation(share))
        assert_states_close(_without_evidence(first), lact, atol)


def _without_evidence(state: MemoryState) -> MemoryState:
    return replace(state, layers=tuple(replace(layer, evidence=None) for layer in state.layers))


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_equal_chunks_count_the_same_however_much_their_tokens_ask_for(factor: float) -> None:
    case = layer_case(2, 2)
    first, second = case.chunks
    eta0, eta1, eta2 = (factor * eta for eta in second.step_sizes)
    loud = replace(second, step_sizes=(eta0, eta1, eta2))
    for share in ChunkShare:
        memory, _ = Consolidation(share).write(case.memory, first, case.norms, muon)
        expected, _ = Consolidation(share).write(memory, second, case.norms, muon)
        found, _ = Consolidation(share).write(memory, loud, case.norms, muon)
        difference = max(
            float((mine - theirs).abs().max()) for mine, theirs in zip(found.weights, expected.weights, strict=True)
        )
        assert (difference < 2e-3) == (share is ChunkShare.EQUAL)


def test_a_chunk_that_asks_for_nothing_changes_nothing() -> None:
    case = layer_case(3, 2)
    silent = replace(case.chunks[1], values=torch.zeros_like(case.chunks[1].values))
    for share in ChunkShare:
        rule = Consolidation(share)
        nothing, _ = rule.write(case.memory, silent, case.norms, muon)
        assert nothing.evidence is not None
        assert not any(evidence.any() for evidence in nothing.evidence)
        before, _ = rule.write(case.memory, case.chunks[0], case.norms, muon)
        after, _ = rule.write(before, silent, case.norms, muon)
        assert_matrices_close(after.weights, arrays_of(before.weights), atol=0)


# --- streaming order is batch order ------------------------------------------------------------------------


@few
@given(seed=seeds, order=st.permutations(range(4)))
def test_in_one_layer_a_stream_equals_one_large_chunk_in_any_order(seed: int, order: list[int]) -> None:
    shallow, views = tiny_model(config=ONE_LAYER), random_views(seed, 8)
    chunks = [views[2 * i : 2 * i + 2] for i in range(4)]
    at_once = shallow.observe(shallow.initial_state(), views, BY_TOKENS)
    streamed = stream(shallow, shallow.initial_state(), [chunks[i] for i in order], BY_TOKENS)
    assert (streamed.chunks_observed, streamed.views_observed) == (4, 8)
    assert_states_close(streamed, at_once, atol=5e-3)
    # LaCT's own setting: one large chunk.
    assert_states_close(_without_evidence(at_once), shallow.observe(shallow.initial_state(), views), atol=0)


@few
@given(seed=seeds, order=st.permutations(range(4)))
def test_in_one_layer_the_order_of_equal_chunks_does_not_matter(seed: int, order: list[int]) -> None:
    shallow, chunks = tiny_model(config=ONE_LAYER), random_chunks(seed, 4)
    expected = stream(shallow, shallow.initial_state(), chunks, Consolidation())
    found = stream(shallow, shallow.initial_state(), [chunks[i] for i in order], Consolidation())
    assert_states_close(found, expected, atol=5e-3)


def test_the_order_of_chunks_matters_to_every_other_rule(shallow: FsmModel) -> None:
    chunks = random_chunks(4, 4)
    others: list[WriteRule] = [Plastic(), ElasticRule(), StepRule(decline=1.0), Consolidation(retention=0.7)]
    for rule in others:
        there = stream(shallow, shallow.initial_state(), chunks, rule)
        back = stream(shallow, shallow.initial_state(), chunks[::-1], rule)
        assert largest_difference(there, back) > 0.1


# --- what is kept ------------------------------------------------------------------------------------------


@few
@given(seed=seeds, share=st.sampled_from(ChunkShare), chunks=st.integers(1, 4))
def test_without_retention_only_the_newest_chunk_is_remembered(seed: int, share: ChunkShare, chunks: int) -> None:
    model, seen = tiny_model(), random_chunks(seed, chunks)
    forgetful = Consolidation(share, retention=0.0)
    state = stream(model, model.initial_state(), seen, forgetful)
    newest = model.observe(model.initial_state(), seen[-1], forgetful)
    assert_states_close(state, newest, atol=0)


@every_share
def test_the_longer_ago_the_less_a_chunk_counts_where_evidence_fades(shallow: FsmModel, share: ChunkShare) -> None:
    chunks = random_chunks(5, 3)
    alone = [_evidence(shallow.observe(shallow.initial_state(), chunk, Consolidation(share))) for chunk in chunks]
    faded = _evidence(stream(shallow, shallow.initial_state(), chunks, Consolidation(share, 0.5)))
    for whole, first, second, third in zip(faded, *alone, strict=True):
        torch.testing.assert_close(whole, 0.25 * first + 0.5 * second + third, atol=1e-5, rtol=1e-4)


def _evidence(state: MemoryState, layer: int = 0) -> FastWeights:
    evidence = state.layers[layer].evidence
    assert evidence is not None
    return evidence


@every_consolidation
def test_the_anchor_stays_what_the_memory_began_with(model: FsmModel, rule: Consolidation) -> None:
    initial = model.initial_state()
    for before, after in zip(initial.layers, stream(model, initial, random_chunks(6, 4), rule).layers, strict=True):
        for old, new in zip(before.weights, after.anchor, strict=True):
            assert new is old
        assert after.importance is before.importance


@pytest.mark.parametrize(
    "other",
    [Plastic(), ElasticRule(anchor=AnchorPolicy.GLOBAL), ElasticRule(), StepRule(size=0.5)],
    ids=rule_name,
)
@every_share
def test_weights_of_another_rule_become_the_anchor(model: FsmModel, other: WriteRule, share: ChunkShare) -> None:
    """What they hold stays: evidence is asked of them, and written on top of them."""
    rule = Consolidation(share)
    past = observed_state(model, 3, other)
    chunks = random_chunks(7, 2)
    state = stream(model, past, chunks, rule)
    for before, after in zip(past.layers, state.layers, strict=True):
        assert before.evidence is None
        assert after.anchor is before.weights
    again = stream(model, past.reanchored(), chunks, rule)
    for mine, theirs in zip(state.layers, again.layers, strict=True):
        assert mine.evidence is not None
        assert theirs.evidence is not None
        for one, same in zip((*mine.weights, *mine.evidence), (*theirs.weights, *theirs.evidence), strict=True):
            assert torch.equal(one, same)
    forgotten = stream(model, model.initial_state(), chunks, rule)
    assert largest_difference(state, forgotten) > 0.1


@pytest.mark.parametrize("other", [Plastic(), ElasticRule(), StepRule()], ids=rule_name)
def test_another_rule_keeps_no_evidence(model: FsmModel, other: WriteRule) -> None:
    state = model.observe(observed_state(model, 2, Consolidation()), random_views(8, 2), other)
    assert all(layer.evidence is None for layer in state.layers)


# --- adding up two memories --------------------------------------------------------------------------------


def _merged(model: FsmModel, rule: Consolidation, one: MemoryState, other: MemoryState) -> LayerMemory | None:
    layer = model.memory_layers[0]
    return rule.merge(one.layers[0], other.layers[0], layer.norms(), layer.muon(torch.float32))


@few
@given(seed=seeds, share=st.sampled_from(ChunkShare), mine=st.integers(1, 3), theirs=st.integers(1, 3))
def test_in_one_layer_merging_is_having_been_written_both(seed: int, share: ChunkShare, mine: int, theirs: int) -> None:
    shallow, rule = tiny_model(config=ONE_LAYER), Consolidation(share)
    initial, chunks = shallow.initial_state(), random_chunks(seed, mine + theirs)
    one, other = stream(shallow, initial, chunks[:mine], rule), stream(shallow, initial, chunks[mine:], rule)
    both = stream(shallow, initial, chunks, rule)
    merged = _merged(shallow, rule, one, other)
    assert merged is not None
    assert_states_close(replace(both, layers=(merged,)), both, atol=5e-3)
    # Neither is the one or the other.
    assert largest_difference(both, one) > 0.01
    assert largest_difference(both, other) > 0.01


def test_merging_leaves_both_as_they_were_and_does_not_mind_which_is_first(shallow: FsmModel) -> None:
    initial, rule = shallow.initial_state(), Consolidation()
    one, other = (shallow.observe(initial, chunk, rule) for chunk in random_chunks(9, 2))
    copies = one.map(torch.clone), other.map(torch.clone)
    there, back = _merged(shallow, rule, one, other), _merged(shallow, rule, other, one)
    assert one.equals(copies[0])
    assert other.equals(copies[1])
    assert there is not None
    assert back is not None
    assert replace(one, layers=(there,)).equals(replace(one, layers=(back,)))


def test_memories_that_did_not_begin_alike_or_have_no_evidence_cannot_be_added_up(shallow: FsmModel) -> None:
    initial, rule = shallow.initial_state(), Consolidation()
    first, second = random_chunks(10, 2)
    one, other = shallow.observe(initial, first, rule), shallow.observe(initial, second, rule)
    assert _merged(shallow, rule, one, other) is not None
    plastic = shallow.observe(initial, second)
    elsewhere = shallow.observe(observed_state(shallow, 1), second, rule)
    for stranger in (initial, plastic, elsewhere, one.reanchored()):
        assert _merged(shallow, rule, one, stranger) is None
        assert _merged(shallow, rule, stranger, one) is None
    # An anchor that is equal is the same anchor, whichever tensor holds it.
    assert _merged(shallow, rule, one, other.map(torch.clone)) is not None
    nudged = other.map(torch.clone)
    nudged.layers[0].anchor.w2[0, 3, 7, 15] += 1e-6
    assert _merged(shallow, rule, one, nudged) is None


# --- arithmetic --------------------------------------------------------------------------------------------


@every_share
def test_evidence_is_summed_in_float32_whatever_the_model_computes_in(share: ChunkShare) -> None:
    model = tiny_model(precision=Precision.BF16, muon_precision=MuonPrecision.BF16)
    state = observed_state(model, 3, Consolidation(share))
    assert all(tensor.dtype == torch.float32 for tensor in state.tensors().values())
    exact = observed_state(tiny_model(), 3, Consolidation(share))
    for found, expected in zip(_evidence(state), _evidence(exact), strict=True):
        assert 0 < (found - expected).norm() < 0.1 * expected.norm()


def test_without_a_rule_a_chunk_is_written_plainly() -> None:
    case = layer_case(11, 2)
    memory, _ = Plastic().write(case.memory, case.chunks[0], case.norms, muon)
    first, _ = BY_TOKENS.write(case.memory, case.chunks[0], case.norms, muon)
    for found, expected in zip(first.weights, memory.weights, strict=True):
        assert torch.equal(found, expected)
    assert memory.evidence is None
    assert memory.anchor is case.memory.anchor


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retention", [-1e-9, 1.01, float("nan"), float("inf")])
def test_a_retention_outside_its_range(retention: float) -> None:
    with pytest.raises(ValueError, match=f"retention must be from 0 to 1, got {retention}"):
        Consolidation(retention=retention)


def test_an_unknown_share() -> None:
    with pytest.raises(ValueError, match="share must be of type ChunkShare, got 'equal'"):
        Consolidation("equal")  # type: ignore[arg-type]
