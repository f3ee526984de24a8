# SPDX-License-Identifier: Apache-2.0
"""The table of parameters: what is declared, what config/fsm.yaml says, and which changes are allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS")
from rcl_interfaces.msg import ParameterType  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from fsm_ros.configuration.settings import Reliability, Settings  # noqa: E402
from fsm_ros.configuration.table import BY_NAME, PARAMETERS, settings_from, values_of  # noqa: E402
from fsm_ros.memory.checkpoint import stated_config  # noqa: E402
from fsm_ros.memory.configuration import AtlasSettings  # noqa: E402
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation  # noqa: E402
from fsm_ros.memory.rules.elastic import (  # noqa: E402
    AnchorPolicy,
    AnchorSharing,
    ElasticRule,
    Importance,
    ImportanceScale,
    ImportanceTiming,
)
from fsm_ros.memory.rules.plastic import Plastic  # noqa: E402
from fsm_ros.node.parameters import ParameterError, UnknownParameterError, declare, on_change, read, values  # noqa: E402
from fsm_ros.parameter import Parameter as Declared  # noqa: E402
from fsm_ros.spatial.settings import MemoryMode, MemorySettings  # noqa: E402
from fsm_ros.tools.parameter_docs import as_markdown, as_yaml  # noqa: E402

DEFAULTS = values_of(Settings())
NUMBERS = [spec for spec in PARAMETERS if isinstance(spec.value, int | float) and not isinstance(spec.value, bool)]
COUNTS_AND_SHARES = {
    *(
        "model.threads",
        "memory.window_chunks",
        "viewer.port",
        "memory.extent_margin",
        "memory.reservoir",
        "memory.retention_views",
    ),
    *("memory.seed", "memory.submaps", "memory.submap_distance", "consolidation.retention"),
    *("recall.keyframes", "recall.photographs", "points.min_confidence"),
    *("elastic.strength", "elastic.importance_decay", "elastic.anchor_decay"),
}
"""Numbers that have no unit."""


def by_name(spec: Declared) -> str:
    return spec.name


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


def a_node(context: Context, *arguments: str) -> Node:
    return Node("fsm", context=context, cli_args=["--ros-args", *arguments], use_global_arguments=False)


@pytest.fixture
def node(context: Context) -> Iterator[Node]:
    node = a_node(context)
    declare(node)
    yield node
    node.destroy_node()


# --- the table --------------------------------------------------------------------------------------------------------


def test_no_name_is_used_twice() -> None:
    assert len(BY_NAME) == len(PARAMETERS)


@pytest.mark.parametrize("spec", PARAMETERS, ids=by_name)
def test_every_parameter_says_what_it_does_and_has_a_default_that_is_allowed(spec: Declared) -> None:
    assert spec.description.rstrip().endswith((".", "].", ")")), "a sentence"
    if spec.choices:
        assert spec.value in spec.choices
    if isinstance(spec.value, str | bool | list):
        assert spec.low is None and spec.high is None and not spec.unit
    else:
        assert spec.low is not None and spec.high is not None, "a number has a range"
        assert spec.low <= spec.value <= spec.high
        assert bool(spec.unit) != (spec.name in COUNTS_AND_SHARES), "a number has a unit, or is known to have none"


def test_what_may_change_at_run_time_is_the_rule_and_its_numbers() -> None:
    assert {spec.name for spec in PARAMETERS if spec.at_run_time} == {
        name for name in BY_NAME if name.startswith(("elastic.", "consolidation.")) or name == "memory.rule"
    }


@pytest.mark.parametrize("spec", PARAMETERS, ids=by_name)
def test_what_belongs_to_one_rule_says_so(spec: Declared) -> None:
    rule, _, _ = spec.name.partition(".")
    if rule in BY_NAME["memory.rule"].choices:
        assert spec.description.startswith(f"With memory.rule {rule}")


def test_defaults_are_those_of_the_parts() -> None:
    assert settings_from(DEFAULTS) == Settings()
    assert settings_from({"memory.rule": "elastic"}).memory.rule == ElasticRule(), "as published"


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_written_from_the_table(repo_root: Path) -> None:
    assert (repo_root / "config" / "fsm.yaml").read_text() == as_yaml(), (
        "write it anew: python -m fsm_ros.tools.parameter_docs yaml > config/fsm.yaml"
    )


def test_the_file_gives_a_node_exactly_the_declared_defaults(context: Context, repo_root: Path) -> None:
    node = a_node(context, "--params-file", str(repo_root / "config" / "fsm.yaml"))
    try:
        # What came from the file, before anything is declared: nothing more, nothing less, nothing of another type.
        overrides = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
        assert overrides == DEFAULTS
        assert {name: type(value) for name, value in overrides.items()} == {
            name: type(value) for name, value in DEFAULTS.items()
        }
        declare(node)
        assert values(node) == DEFAULTS
        assert read(node, Settings()) == Settings()
    finally:
        node.destroy_node()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["memory.extnt"], ["there is no parameter memory.extnt, it does nothing: did you mean memory.extent?"]),
        (["extent"], ["there is no parameter extent, it does nothing: did you mean memory.extent?"]),
        (
            ["memory.places"],
            ["there is no parameter memory.places any more, it does nothing: it is memory.submaps now"],
        ),
        (
            ["memory.hight", "chunk.view", "zz", "robot.radius.of"],
            [
                "there is no parameter chunk.view, it does nothing: did you mean chunk.views?",
                "there is no parameter memory.hight, it does nothing: did you mean memory.height?",
                "not parameters of this node, they do nothing here: robot.radius.of, zz",
            ],
        ),
        (["use_sim_time", "qos_overrides./tf.subscription.depth", "memory.seed"], []),
    ],
    ids=lambda said: said[0] if said else "none",
)
def test_a_name_that_nobody_declares_is_told_with_the_one_that_is_meant(
    names: list[str], told: list[str], context: Context, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """ROS passes over such names: the memory would be another than the file says, and nobody would know."""
    path = tmp_path / "mine.yaml"
    value = {"use_sim_time": "true"}
    path.write_text(
        "\n".join(["/**:", "  ros__parameters:", *(f"    {name}: {value.get(name, '1')}" for name in names)])
    )
    node = a_node(context, "--params-file", str(path))
    try:
        declare(node)
    finally:
        node.destroy_node()
    assert [line.partition("[fsm]: ")[2] for line in capfd.readouterr().err.splitlines()] == told


@pytest.mark.parametrize("spec", PARAMETERS, ids=by_name)
def test_the_file_explains_every_parameter(spec: Declared) -> None:
    lines = as_yaml().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f"    {spec.name}: "))
    comments = []
    while lines[place - 1].startswith("    # "):
        place -= 1
        comments.append(lines[place])
    text = "\n".join(comments)
    assert spec.description in text and spec.unit in text
    assert all(choice in text for choice in spec.choices)
    assert ("at run time too" in text) == spec.at_run_time


def test_the_reference_is_written_from_the_table(repo_root: Path) -> None:
    assert (repo_root / "docs/parameters.md").read_text() == as_markdown(), (
        "write it anew: python -m fsm_ros.tools.parameter_docs markdown > docs/parameters.md"
    )


# --- on a node --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PARAMETERS, ids=by_name)
def test_a_node_describes_every_parameter_with_its_unit_and_range(spec: Declared, node: Node) -> None:
    descriptor = node.describe_parameter(spec.name)
    assert spec.description in descriptor.description
    assert not spec.unit or f"[{spec.unit}]" in descriptor.description
    assert all(choice in descriptor.additional_constraints for choice in spec.choices)
    assert ("fixed while the node is configured" in descriptor.additional_constraints) != spec.at_run_time
    expected = {
        bool: ParameterType.PARAMETER_BOOL,
        int: ParameterType.PARAMETER_INTEGER,
        float: ParameterType.PARAMETER_DOUBLE,
        str: ParameterType.PARAMETER_STRING,
        list: ParameterType.PARAMETER_STRING_ARRAY,
    }
    assert descriptor.type == expected[type(spec.value)]
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
    assert [(r.from_value, r.to_value) for r in ranges] == ([] if spec.low is None else [(spec.low, spec.high)])


@pytest.mark.parametrize("spec", NUMBERS, ids=by_name)
def test_a_node_refuses_numbers_outside_of_the_range(spec: Declared, node: Node) -> None:
    assert spec.low is not None and spec.high is not None
    kind = type(spec.value)
    wrong = [kind(spec.low - 1), kind(spec.high + 1)]
    if kind is float:
        wrong += [float("nan"), float("inf")]
    for value in wrong:
        (result,) = node.set_parameters([Parameter(spec.name, value=value)])
        assert not result.successful, value
    for value in (kind(spec.low), kind(spec.high)):
        (result,) = node.set_parameters([Parameter(spec.name, value=value)])
        assert result.successful, value


@pytest.mark.parametrize(
    ("name", "written", "told"),
    [
        ("memory.horizon", "-3.0", "memory.horizon must be from 0.1 to 86400 s, got -3.0"),
        ("memory.extent", "-3", "memory.extent must be from 0 to 10000 m, got -3.0"),
        ("memory.extent", ".nan", "memory.extent must be from 0 to 10000 m, got nan"),
        ("memory.extent", "far", "memory.extent must be of type float, got 'far': it may be from 0 to 10000 m"),
        ("memory.extent", "true", "memory.extent must be of type float, got True: it may be from 0 to 10000 m"),
        ("memory.submaps", "1.5", "memory.submaps must be of type int, got 1.5: it may be from 1 to 64"),
        ("memory.submaps", "0.0", "memory.submaps must be from 1 to 64, got 0"),
        ("memory.rule", "off", "memory.rule must be one of consolidation, elastic, plastic, got False"),
        ("memory.mode", "sideways", "memory.mode must be one of streaming, windowed, got 'sideways'"),
        ("memory.frame_id", "5", "memory.frame_id must be of type str, got 5"),
        ("autostart", "1", "autostart must be of type bool, got 1"),
        ("cameras", "front", "cameras must be of type list of str, got 'front'"),
    ],
)
def test_a_value_that_a_parameter_may_not_have_is_refused_at_the_start_in_one_line(
    name: str, written: str, told: str, context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    {name}: {written}\n")
    node = a_node(context, "--params-file", str(path))
    try:
        with pytest.raises(ParameterError) as caught:
            declare(node)
    finally:
        node.destroy_node()
    assert str(caught.value) == told


def test_all_that_is_wrong_is_told_at_once(context: Context) -> None:
    node = a_node(context, "-p", "memory.extent:=far", "-p", "memory.submaps:=0")
    try:
        with pytest.raises(ParameterError, match=r"^memory.extent .*; memory.submaps .*$"):
            declare(node)
    finally:
        node.destroy_node()


@pytest.mark.parametrize("spec", NUMBERS, ids=by_name)
def test_a_number_may_be_written_as_an_integer_or_as_a_float(spec: Declared, context: Context) -> None:
    """In files and on the command line, and when it is set: `memory.extent: 5`, `memory.submaps: 4.0`."""
    assert spec.low is not None and spec.high is not None
    kind, other = (int, float) if isinstance(spec.value, int) else (float, int)
    number = kind(max(math.ceil(spec.low), min(int(spec.high), 4)))
    node = a_node(context, "-p", f"{spec.name}:={other(number)}")
    try:
        declare(node)
        assert_same_number(node, spec.name, number)
        (result,) = node.set_parameters([Parameter(spec.name, value=other(spec.value))])
        assert result.successful or spec.value != int(spec.value), result.reason
        assert node.set_parameters([Parameter(spec.name, value=other(number))])[0].successful
        assert_same_number(node, spec.name, number)
        assert not node.set_parameters([Parameter(spec.name, value=other(int(spec.high) + 1))])[0].successful
        assert_same_number(node, spec.name, number)
    finally:
        node.destroy_node()


def assert_same_number(node: Node, name: str, number: float) -> None:
    """Of the declared type, too."""
    found = node.get_parameter(name).value
    assert (type(found), found) == (type(number), number)


def test_a_name_that_nobody_declares_is_not_set(node: Node) -> None:
    for name, told in (("memory.extnt", "did you mean memory.extent?"), ("zz", "config/fsm.yaml lists all")):
        with pytest.raises(UnknownParameterError, match=f"there is no parameter {name}: {told}"):
            node.set_parameters_atomically([Parameter(name, value=5.0)])


def test_several_cameras_are_a_list(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text('/**:\n  ros__parameters:\n    cameras: ["left", "right"]\n')
    node = a_node(context, "--params-file", str(path))
    try:
        declare(node)
        assert read(node, Settings()).input.cameras == ("left", "right")
    finally:
        node.destroy_node()


# --- settings ---------------------------------------------------------------------------------------------------------


def memory(**changes: object) -> MemorySettings:
    """The memory's settings with some parameters changed; dots are written as two underscores."""
    return settings_from({name.replace("__", "."): value for name, value in changes.items()}).memory


def test_words_become_members_of_their_enumerations() -> None:
    settings = memory(memory__mode="windowed", memory__rule="elastic", memory__anchor_sharing="shared")
    assert (settings.mode, settings.sharing) == (MemoryMode.WINDOWED, AnchorSharing.SHARED)
    assert settings_from({"input.reliability": "reliable"}).input.reliability is Reliability.RELIABLE


def test_the_rule_is_the_one_that_is_asked_for_with_its_own_numbers() -> None:
    numbers = {
        "elastic.importance": "ewc",
        "elastic.anchor": "global",
        "elastic.strength": 2.5,
        "elastic.importance_decay": 0.25,
        "elastic.anchor_decay": 0.75,
        "elastic.timing": "before",
        "elastic.scale": "per_head",
        "consolidation.share": "by_tokens",
        "consolidation.retention": 0.9,
    }
    expected = ElasticRule(
        Importance.EWC, AnchorPolicy.GLOBAL, 2.5, 0.25, 0.75, ImportanceTiming.BEFORE, ImportanceScale.PER_HEAD
    )
    assert memory(memory__rule="elastic", **numbers).rule == expected
    assert memory(memory__rule="consolidation", **numbers).rule == Consolidation(ChunkShare.BY_TOKENS, 0.9)
    assert memory(memory__rule="plastic", **numbers).rule == Plastic()


def test_submaps_are_counted_and_kept_apart_as_asked() -> None:
    assert memory(memory__submaps=3, memory__submap_distance=0.5).atlas == AtlasSettings(submaps=3, apart=0.5)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("memory.mode", "sideways"),
        ("memory.rule", "off"),
        ("elastic.anchor", "rock"),
        ("elastic.importance", "off"),
        ("elastic.timing", "never"),
        ("elastic.scale", "large"),
        ("consolidation.share", "Equal"),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(name: str, word: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be one of .*, got '{word}'"):
        settings_from({name: word})


@pytest.mark.parametrize("rule", BY_NAME["memory.rule"].choices)
def test_an_unknown_word_is_refused_whichever_rule_is_in_force(rule: str) -> None:
    for name in ("elastic.anchor", "consolidation.share"):
        with pytest.raises(ValueError, match=name):
            settings_from({"memory.rule": rule, name: "rock"})


# --- changes ----------------------------------------------------------------------------------------------------------


def verdict(configured: bool, **changes: Any) -> tuple[bool, str]:  # noqa: ANN401
    check = on_change(lambda: DEFAULTS, lambda: configured)
    result = check([Parameter(name.replace("__", "."), value=value) for name, value in changes.items()])
    return result.successful, result.reason


def test_a_configured_node_lets_the_rule_change_and_nothing_else() -> None:
    assert verdict(True, elastic__strength=3.0) == (True, "")
    for rule in BY_NAME["memory.rule"].choices:
        assert verdict(True, memory__rule=rule) == (True, "")
    for spec in PARAMETERS:
        allowed, reason = verdict(True, **{spec.name: spec.value})
        assert allowed == spec.at_run_time
        if not allowed:
            assert spec.name in reason and "clean it up" in reason


@pytest.mark.parametrize("name", ["model.checkpoint", "recall.checkpoint", "storage_dir"])
def test_what_names_files_stays_as_it_was_configured(name: str) -> None:
    allowed, reason = verdict(True, **{name: "/somewhere/else"})
    assert not allowed and name in reason


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"memory.width": 60}, "60x64 pixels cannot be cut into patches of 8"),
        ({"memory.height": 60}, "64x60 pixels cannot be cut into patches of 8"),
        ({"memory.height": 72}, ""),
        # What these weights state is not known before they are loaded: configure tells.
        ({"memory.height": 60, "model.checkpoint": "/no/such/weights.safetensors"}, ""),
        ({"memory.height": 60, "model.checkpoint": "hf://who/what/weights.safetensors"}, ""),
    ],
    ids=str,
)
def test_a_size_that_is_no_multiple_of_the_patch_is_refused_when_it_is_set(
    changes: dict[str, object], told: str
) -> None:
    allowed, reason = verdict(False, **changes)
    assert allowed == (not told) and told in reason


def test_the_patch_is_told_where_the_size_is_described(node: Node) -> None:
    config = stated_config("shipped")
    assert config is not None
    for name in ("memory.width", "memory.height"):
        assert (
            f"multiple of the weights' patch, which is {config.patch_size}" in node.describe_parameter(name).description
        )


def test_a_node_that_is_not_configured_lets_everything_change() -> None:
    for spec in PARAMETERS:
        assert verdict(False, **{spec.name: spec.value}) == (True, "")


def test_all_changes_of_a_request_are_allowed_or_none() -> None:
    allowed, reason = verdict(True, elastic__strength=3.0, memory__width=32)
    assert not allowed and "memory.width" in reason and "elastic.strength" not in reason


def test_parameters_of_others_are_none_of_its_business() -> None:
    assert verdict(True, use_sim_time=True) == (True, "")


@pytest.mark.parametrize("configured", [False, True], ids=["unconfigured", "configured"])
def test_an_unknown_word_is_refused_with_the_choices(configured: bool) -> None:
    allowed, reason = verdict(configured, elastic__anchor="rock")
    assert not allowed
    assert reason == "elastic.anchor must be one of global, streaming, streaming_ema, got 'rock'"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory.anchor_sharing": "shared"}, "windowed"),
        ({"memory.anchor_sharing": "shared", "memory.mode": "windowed"}, "memory rule to elastic"),
        ({"memory.submaps": 0}, "from 1 to 64"),
        ({"memory.submap_distance": float("nan")}, "distance"),
        ({"consolidation.retention": 1.5}, "retention"),
        ({"elastic.strength": -1.0}, "strength"),
        ({"elastic.strength": float("nan")}, "strength"),
        ({"elastic.anchor_decay": 1.5}, "anchor_decay"),
        ({"memory.extent": float("nan")}, "extent"),
        ({"memory.horizon": 0.0}, "horizon"),
        ({"keyframes.interval": float("inf")}, "interval"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_with_its_cause(changes: dict[str, object], words: str) -> None:
    allowed, reason = verdict(False, **changes)
    assert not allowed
    assert words in reason


def test_changes_that_only_go_together_are_allowed_together() -> None:
    released = {"memory.anchor_sharing": "shared", "memory.mode": "windowed", "memory.rule": "elastic"}
    assert verdict(False, **released) == (True, "")


def test_the_check_works_on_a_node(node: Node) -> None:
    configured = False
    node.add_on_set_parameters_callback(on_change(lambda: values(node), lambda: configured))
    assert node.set_parameters([Parameter("memory.width", value=32)])[0].successful
    configured = True
    assert not node.set_parameters([Parameter("memory.width", value=64)])[0].successful
    assert node.set_parameters([Parameter("elastic.strength", value=3.0)])[0].successful
    found = values(node)
    assert (found["memory.width"], found["elastic.strength"]) == (32, 3.0)
