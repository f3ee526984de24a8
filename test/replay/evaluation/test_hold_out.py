# SPDX-License-Identifier: Apache-2.0
"""Hold-outs and settings: what is kept from the memory, and what is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.configuration.settings import Settings
from fsm_ros.memory.rules.elastic import ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.replay.evaluation.evaluate_bag import Options
from fsm_ros.replay.evaluation.hold_out import choose, parse_hold_out
from fsm_ros.replay.evaluation.settings import CONFIGURED, NAMED, settings_of
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.spatial.settings import MemoryMode

FRONT, SIDE = "rig/front", "rig/side"
S = 10**9


def frames(count: int, cameras: tuple[str, ...] = (FRONT,), *, posed: bool = True) -> list[RecordedFrame]:
    """Two images a second of each camera, one camera after the other."""
    pose = np.eye(4) if posed else None
    return [
        RecordedFrame(camera, index, 5 * S + index * S // 2 + offset, 5 * S + index * S // 2, pose)
        for index in range(count)
        for offset, camera in enumerate(cameras)
    ]


def test_every_nth_is_counted_for_each_camera_and_ends_a_row_of_n() -> None:
    recorded = frames(9, (FRONT, SIDE))
    chosen = choose("every:4", recorded, (FRONT, SIDE))
    assert sorted((recorded[place].camera, recorded[place].index) for place in chosen) == [
        (FRONT, 3),
        (FRONT, 7),
        (SIDE, 3),
        (SIDE, 7),
    ]


def test_what_comes_again_in_a_loop_is_withheld_whenever_it_was_the_first_time() -> None:
    """Else the memory is shown in the second round what it is asked for of the first."""
    stamps_ns = [10, 20, 30, 40, 50] * 2
    looped = [RecordedFrame("a", i, i, stamp_ns, np.eye(4)) for i, stamp_ns in enumerate(stamps_ns)]
    withheld = choose("every:3", looped, ["a"])
    assert withheld == {2, 7}
    assert {stamps_ns[place] for place in withheld}.isdisjoint(
        stamp_ns for place, stamp_ns in enumerate(stamps_ns) if place not in withheld
    )


def test_a_block_is_a_stretch_of_time_without_its_end() -> None:
    recorded = frames(10)
    chosen = choose("block:1-2.5", recorded, (FRONT,))
    assert [(recorded[place].stamp_ns - 5 * S) / S for place in sorted(chosen)] == [1.0, 1.5, 2.0]


@pytest.mark.parametrize("name", [SIDE, "side"])
def test_a_camera_is_withheld_by_its_name_or_the_end_of_it(name: str) -> None:
    recorded = frames(3, (FRONT, SIDE))
    assert {recorded[place].camera for place in choose(f"camera:{name}", recorded, (FRONT, SIDE))} == {SIDE}


def test_several_hold_outs_add_up() -> None:
    recorded = frames(20)
    both = choose("every:8, block:0-1", recorded, (FRONT,))
    assert both == choose("every:8", recorded, (FRONT,)) | choose("block:0-1", recorded, (FRONT,))


@given(st.integers(2, 30), st.integers(1, 200))
def test_what_is_withheld_and_what_is_left_are_all_there_is(n: int, count: int) -> None:
    recorded = frames(count)
    if count < n:
        with pytest.raises(ValueError, match="nothing could be measured"):
            choose(f"every:{n}", recorded, (FRONT,))
        return
    chosen = choose(f"every:{n}", recorded, (FRONT,))
    assert len(chosen) == count // n
    assert chosen < set(range(count))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("every:1", "leaves no image"),
        ("every:0", "a hold-out is"),
        ("every:x", "a hold-out is"),
        ("every", "a hold-out is"),
        ("block:3-1", "START before END"),
        ("block:-1-2", "a hold-out is"),
        ("block:a-b", "a hold-out is"),
        ("block:1-inf", "a hold-out is"),
        ("camera:", "a hold-out is"),
        ("", "a hold-out is"),
        ("every:30", "nothing could be measured; use a smaller N$"),
        ("block:100-200", "nothing could be measured; use a block within that time$"),
        ("block:0-100", "leaves no image with a pose for the memory to observe: use a shorter block$"),
        ("camera:front", "use another camera too, --camera NAME or --camera all$"),
        ("camera:rear", "no camera rear to hold out: the cameras here are rig/front"),
    ],
)
def test_a_hold_out_that_leaves_nothing_or_means_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        choose(text, frames(10), (FRONT,))


def test_views_without_a_pose_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="none with a pose"):
        choose("every:2", frames(10, posed=False), (FRONT,))


def test_a_hold_out_may_be_checked_before_there_is_a_recording() -> None:
    parse_hold_out("every:8")
    with pytest.raises(ValueError, match="every:N"):
        parse_hold_out("each:8")


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_name_has_words_and_settings_that_the_node_would_take() -> None:
    assert all(f"{name} (" in (Options.__doc__ or "") for name in NAMED)
    for setting in settings_of(list(NAMED), {}):
        assert isinstance(setting.parameters, Settings)


def test_rules_are_compared_in_one_submap_and_the_windowed_mode_as_it_is() -> None:
    compared = settings_of(["elastic", "plastic", "windowed", CONFIGURED], {})
    elastic, plastic, windowed, configured = (setting.parameters for setting in compared)
    assert (elastic.memory.rule, plastic.memory.rule) == (ElasticRule(), Plastic())
    assert elastic.memory.atlas.submaps == plastic.memory.atlas.submaps == 1
    assert windowed.memory.mode is MemoryMode.WINDOWED
    assert configured == Settings()


def test_shared_parameters_hold_for_all_and_a_settings_own_go_before(tmp_path: Path) -> None:
    own = tmp_path / "slow.yaml"
    own.write_text("/**:\n  ros__parameters:\n    chunk.views: 8\n    memory.rule: elastic\n")
    plastic, slow, named = settings_of(
        ["plastic", str(own), f"other={own}"], {"memory.rule": "consolidation", "memory.extent": 2.0}
    )
    assert (plastic.name, slow.name, named.name) == ("plastic", "slow", "other")
    assert [s.parameters.memory.extent_m for s in (plastic, slow, named)] == [2.0] * 3
    assert [s.parameters.memory.rule for s in (plastic, slow, named)] == [Plastic(), ElasticRule(), ElasticRule()]
    assert slow.parameters.memory.chunk_views == 8


@pytest.mark.parametrize(
    ("compare", "base", "told"),
    [
        (["lact"], {}, "take one of configured, consolidation"),
        (["plastic", "plastic"], {}, "compared with itself"),
        (["none.yaml"], {}, "cannot be read"),
        (["a b=none.yaml"], {}, "letters, digits"),
        (["plastic"], {"memory.width": 60}, None),
        (["plastic"], {"memory.with": 64}, "setting plastic: .*did you mean memory.width"),
    ],
)
def test_settings_that_cannot_be_are_named(compare: list[str], base: dict[str, object], told: str | None) -> None:
    if told is None:  # what depends on the weights is said when they are there
        settings_of(compare, base)
        return
    with pytest.raises(ValueError, match=told):
        settings_of(compare, base)
