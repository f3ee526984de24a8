# SPDX-License-Identifier: Apache-2.0
"""The study of write rules: what it measures is what it says, and it can be cut off and taken up."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_memory import tiny_model

from fsm_ros.memory.atlas import Atlas, observe, render
from fsm_ros.memory.configuration import AtlasSettings, ModelConfig
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.stream.rigid import distance_m, turn_rad
from fsm_ros.training.evaluation import psnr
from fsm_ros.training.scenes import Split
from study.arms import (
    CONSOLIDATION_PLACES,
    EVERY_ARM,
    PLASTIC,
    PUBLISHED,
    Arm,
    Order,
    smaller_step,
)
from study.comparison import ProbeTable, difference, figure, mean_of
from study.measure import (
    EXACT_DB,
    SceneScores,
    measure,
    measure_cost,
    nearest_view_scores,
)
from study.plots import Line, plot_chunks, plot_gap, plot_shortcut
from study.probes import ProbeKind, ProbeSettings
from study.report import arms_table, curves_table, differences_table
from study.results import ArmResult, ResultStore, StudyError
from study.streams import Stream, StreamSettings, streams

CONFIG = ModelConfig(patch_size=8, dim=32, num_layers=2, attention_head_dim=16, fast_head_dim=16)
SETTINGS = StreamSettings(
    count=2,
    chunk_counts=(1, 2, 4),
    chunk_views=2,
    views=4,
    probe_chunks=4,
    probes=ProbeSettings(off_path=5, other_time=4),
    size=16,
    difficulty=(0.2, 0.6),
)
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "elastic.py"


@pytest.fixture(scope="module")
def model() -> FsmModel:
    return tiny_model(config=CONFIG)


@pytest.fixture(scope="module")
def found() -> list[Stream]:
    return list(streams(SETTINGS, torch.device("cpu")))


def test_a_stream_observes_every_fourth_frame_and_asks_for_what_lies_between(found: list[Stream]) -> None:
    for stream in found:
        assert len(stream.chunks) == 4
        seen = torch.cat([chunk.times for chunk in stream.chunks], dim=1)[0]
        assert (seen.diff() > 0).all()
        for count, wanted in stream.wanted.items():
            upto = seen[: 2 * count]
            between = wanted.held_out.times[0]
            assert not np.isin(between.numpy(), seen.numpy()).any()
            assert (between > upto[0]).all()
            assert (between < upto[-1]).all()
            assert np.isin(wanted.observed.times[0].numpy(), upto.numpy()).all()
            assert torch.equal(wanted.first.images, stream.chunks[0].images)
            assert torch.equal(wanted.newest.images, stream.chunks[count - 1].images)


def test_streams_are_the_same_whenever_they_are_traced(found: list[Stream]) -> None:
    again = list(streams(SETTINGS, torch.device("cpu"), batch=1))
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one.probe_views.images, other.probe_views.images)
        assert torch.equal(one.chunks[3].images, other.chunks[3].images)


@pytest.mark.slow
def test_splits_have_streams_of_their_own(found: list[Stream]) -> None:
    told = next(iter(streams(replace(SETTINGS, split=Split.REPORT, count=1), torch.device("cpu"))))
    assert not torch.equal(told.chunks[0].images, found[0].chunks[0].images)


def test_probes_say_how_far_they_are_from_what_was_observed(found: list[Stream]) -> None:
    for stream in found:
        seen = torch.cat([chunk.cameras.memory_from_camera for chunk in stream.chunks], dim=1)[0].double().numpy()
        views = stream.probe_views.cameras.memory_from_camera[0].double().numpy()
        for probe, pose in zip(stream.probes, views, strict=True):
            nearest = seen[probe.nearest]
            # Memory units are extents; angles have no unit.
            assert probe.metres == pytest.approx(SETTINGS.extent_m * distance_m(nearest, pose), abs=1e-4)
            assert probe.radians == pytest.approx(turn_rad(nearest, pose), abs=1e-3)
            if probe.kind is ProbeKind.OTHER_TIME:
                assert probe.metres == probe.radians == 0.0
        kinds = [probe.kind for probe in stream.probes]
        assert (kinds.count(ProbeKind.OFF_PATH), kinds.count(ProbeKind.OTHER_TIME)) == (5, 4)
        moved = [probe.metres for probe in stream.probes if probe.kind is ProbeKind.OFF_PATH]
        assert max(moved) > 0.0


def test_scores_are_those_of_the_memory_after_so_many_chunks(model: FsmModel, found: list[Stream]) -> None:
    arm = CONSOLIDATION_PLACES
    scores = measure(model, arm, found[0], SETTINGS)
    atlas = Atlas(model.initial_state())
    for chunk in found[0].chunks[:2]:
        atlas = observe(model, atlas, chunk, arm.rule, arm.atlas)
    wanted = found[0].wanted[2]
    for name in ("held_out", "observed", "first", "newest"):
        views = getattr(wanted, name)
        expected = psnr(render(model, atlas, views.cameras, views.times), views.images).mean()
        assert getattr(scores, name)[1] == pytest.approx(float(expected), abs=1e-4)
    assert scores.places[1] == len(atlas.submaps)
    assert len(scores.probes) == len(found[0].probes)


def test_orders_differ_after_more_than_one_chunk(model: FsmModel, found: list[Stream]) -> None:
    scores = {order: measure(model, replace(PLASTIC, order=order), found[0], SETTINGS).held_out for order in Order}
    after_one = [values[0] for values in scores.values()]
    assert after_one == pytest.approx([after_one[0]] * 3, abs=1e-3)
    assert len({round(values[2], 4) for values in scores.values()}) == 3


def test_the_nearest_view_is_what_was_observed_closest(found: list[Stream]) -> None:
    stream = found[0]
    count = SETTINGS.chunk_counts[-1]
    poses = torch.cat([chunk.cameras.memory_from_camera for chunk in stream.chunks], dim=1)[0].double().numpy()
    images = torch.cat([chunk.images for chunk in stream.chunks], dim=1)[0]
    asked = stream.wanted[count].held_out.cameras.memory_from_camera[0].double().numpy()
    for pose, answer in zip(asked, stream.nearest_held_out[count][0], strict=True):
        distances = [SETTINGS.extent_m * distance_m(seen, pose) + turn_rad(seen, pose) for seen in poses]
        assert torch.equal(answer, images[int(np.argmin(distances))])
    scores = nearest_view_scores(stream, SETTINGS)
    truth = stream.wanted[count].held_out.images
    assert scores.held_out[-1] == pytest.approx(float(psnr(stream.nearest_held_out[count], truth).mean()), abs=1e-4)
    same = replace(stream, nearest_probes=stream.probe_views.images)
    assert set(nearest_view_scores(same, SETTINGS).probes) == {EXACT_DB}


def test_every_arm_has_a_name_of_its_own_and_can_be_told_in_plain_values() -> None:
    assert len(PUBLISHED) == 9
    plain = [json.dumps(arm.as_plain(), sort_keys=True) for arm in EVERY_ARM.values()]
    assert len(set(plain)) == len(EVERY_ARM)
    assert smaller_step(0.5).title == "smaller step (x0.5)"


def _result(values: list[float], probes: list[list[float]] | None = None, name: str = "plastic") -> ArmResult:
    scenes = tuple(
        SceneScores(i, [v], [v + 1.0], [v], [v], [[0.1, 0.2]], [1], probes[i] if probes else [])
        for i, v in enumerate(values)
    )
    return ArmResult(replace(PLASTIC, name=name, title=name).as_plain(), "start", "abc", (4,), scenes)


def test_differences_are_paired_and_seeds_are_not_taken_for_scenes() -> None:
    one = [_result([20.0, 24.0]), _result([21.0, 25.0])]
    other = [_result([19.0, 22.0]), _result([19.0, 24.0])]
    found = difference(one, other, "held_out", 4)
    assert found.value == pytest.approx(1.5)
    assert found.seeds == pytest.approx((1.5, 1.5))
    # Scenes differ by 1.5 and 1.5 once seeds are averaged.
    assert found.error == pytest.approx(0.0)
    assert mean_of(figure(one, "gap", 4)).value == pytest.approx(1.0)
    spread = mean_of(np.array([[1.0, 2.0, 6.0]]))
    assert spread.error == pytest.approx(np.std([1.0, 2.0, 6.0], ddof=1) / np.sqrt(3))


def test_other_scenes_or_seeds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same scenes"):
        difference([_result([20.0])], [_result([20.0, 21.0])], "held_out", 4)
    with pytest.raises(ValueError, match="as many seeds"):
        difference([_result([20.0])], [_result([20.0]), _result([20.0])], "held_out", 4)


def test_curves_put_probes_into_their_bins() -> None:
    kind = np.array([["off_path"] * 3 + ["other_time"]] * 2)
    numbers = np.array([[0.05, 0.06, 0.4, 0.0]] * 2)
    table = ProbeTable(kind, numbers, numbers, np.array([[0.0, 0.0, 0.0, 3.0]] * 2))
    curves = table.curves([_result([1.0, 1.0], [[20.0, 22.0, 10.0, 15.0], [20.0, 22.0, 12.0, 17.0]])])
    (near, far) = curves["metres"]
    # Both scenes have the same mean there: however many probes differ inside of them, nothing differs between them.
    assert near == (pytest.approx(0.055), pytest.approx(21.0), pytest.approx(0.0, abs=1e-9), 4)
    # One probe a scene: the error of two scenes.
    assert far == (pytest.approx(0.4), pytest.approx(11.0), pytest.approx(1.0), 2)
    (seconds,) = curves["seconds"]
    assert seconds.value == pytest.approx(16.0)
    better = [_result([1.0, 1.0], [[21.0, 23.0, 10.5, 15.0], [21.0, 23.0, 12.5, 17.0]])]
    worse = [_result([1.0, 1.0], [[20.0, 22.0, 10.0, 15.0], [20.0, 22.0, 12.0, 17.0]])]
    gained = table.curves(better, worse)["metres"]
    assert [each.value for each in gained] == pytest.approx([1.0, 0.5])
    assert [each.error for each in gained] == pytest.approx([0.0, 0.0], abs=1e-9)
    kept = ProbeTable.from_plain(json.loads(json.dumps(table.as_plain())))
    for name in ("kind", "metres", "radians", "seconds"):
        assert np.array_equal(getattr(kept, name), getattr(table, name))


def test_results_come_back_as_they_were_kept(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, SETTINGS)
    arm = replace(PLASTIC, title="plastic")
    assert not store.has("start", "abc", arm)
    store.save(_result([20.0, 21.0]))
    assert ResultStore(tmp_path, SETTINGS).load("start", "plastic") == _result([20.0, 21.0])
    assert store.has("start", "abc", arm)
    # What was kept before plain LaCT was a rule is of the same arm.
    path = tmp_path / "start__plastic.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(kept | {"arm": kept["arm"] | {"rule": None}}), encoding="utf-8")
    assert store.has("start", "abc", arm)
    for fingerprint, other in (("def", arm), ("abc", replace(arm, rule=CONSOLIDATION_PLACES.rule))):
        with pytest.raises(StudyError, match="another rule or of other weights"):
            store.has("start", fingerprint, other)
    with pytest.raises(StudyError, match="other settings"):
        ResultStore(tmp_path, replace(SETTINGS, count=3))
    with pytest.raises(StudyError, match="run to its end"):
        store.load("start", "ewc_global")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match="damaged"):
        store.load("start", "plastic")


@pytest.mark.slow
def test_tables_and_plots_are_made_of_results(tmp_path: Path) -> None:
    chosen, plastic = [_result([22.0, 24.0], [[20.0], [21.0]])], [_result([20.0, 21.0], [[18.0], [19.0]])]
    assert "| plastic | 20.50 | 20.50 | 20.50 | 1.00 | 0.150 | x1.00 |" in arms_table(plastic, (4,), {"plastic": 2.0})
    assert "| first chunk's views | plastic | +2.50 ± 0.50 (+2.50) |" in differences_table(
        chosen, {"plastic": plastic}, (4,)
    )
    near = np.array([[0.05], [0.05]])
    probes = ProbeTable(np.array([["off_path"], ["off_path"]]), near, near, near)
    assert "20.50 ± 0.50" in curves_table({"chosen": chosen}, probes)
    lines = [Line("plastic", plastic), Line("chosen", chosen)]
    plot_chunks(tmp_path / "chunks.png", lines, plastic[0])
    plot_gap(tmp_path / "gap.png", lines)
    everything = ProbeTable(np.array([["off_path", "other_time"]] * 2), *[np.array([[0.05, 0.6]] * 2)] * 3)
    two = [_result([22.0, 24.0], [[20.0, 19.0], [21.0, 18.0]])]
    plot_shortcut(tmp_path / "shortcut.png", [Line("chosen", two)], two[0], everything)
    for name in ("chunks", "gap", "shortcut"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_the_cost_is_of_all_chunks(model: FsmModel, found: list[Stream], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("study.measure.time.perf_counter", lambda: float(next(clock)))
    cost = measure_cost(model, [PLASTIC, CONSOLIDATION_PLACES], found[0])
    # Two looks at the clock for each chunk and arm, one tick apart.
    assert cost == {"plastic": 4.0, "consolidation_places": 4.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_counts": (4, 2)}, "ascending"),
        ({"probe_chunks": 3}, "not one of"),
        ({"count": 0}, "needs scenes"),
        ({"chunk_views": 1}, "at least two observed views"),
    ],
)
def test_streams_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


@pytest.mark.slow
def test_one_command_repeats_the_study_and_takes_it_up_again(tmp_path: Path) -> None:
    """From weights to tables and plots, small; the second time nothing is measured anew."""
    command = [sys.executable, str(BENCHMARK), "--quick", "--size", "16", "--out", str(tmp_path), "--threads", "1"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    for arm in EVERY_ARM.values():
        assert f"| {arm.title} |" in text
    assert {path.name for path in tmp_path.glob("*.png")} == {"chunks.png", "gap.png", "shortcut.png"}
    again = subprocess.run([*command, "--only", "choose"], capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "tracing" not in again.stdout
    wrong = subprocess.run([*command, "--parts", "2"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "--only choose" in wrong.stderr


def test_an_arm_without_places_is_the_plain_memory(model: FsmModel, found: list[Stream]) -> None:
    scores = measure(model, Arm("one", "one", Plastic(), AtlasSettings(submaps=1)), found[0], SETTINGS)
    state = model.initial_state()
    for chunk in found[0].chunks:
        state = model.observe(state, chunk)
    views = found[0].wanted[4].held_out
    with torch.no_grad():
        expected = psnr(model.render(state, views.cameras, views.times), views.images).mean()
    assert scores.held_out[-1] == pytest.approx(float(expected), abs=1e-5)
    assert scores.places == [1, 1, 1]
