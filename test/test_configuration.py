# SPDX-License-Identifier: Apache-2.0
"""Parameters without a node: the same names, the same checks, from files and from command lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.configuration.files import parse_assignment, read_parameter_file
from fsm_ros.configuration.settings import Settings
from fsm_ros.configuration.table import BY_NAME, PARAMETERS, settings_from, values_of
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.keyframes import KeyframePolicy


def test_the_defaults_are_those_of_the_parts() -> None:
    settings = settings_from({})
    assert settings == Settings()
    assert settings.memory == MemorySettings()
    assert settings.input.intake.keyframes == KeyframePolicy()
    assert settings.memory.rule == Consolidation()


def test_changes_replace_defaults_and_nothing_else() -> None:
    settings = settings_from({"memory.rule": "plastic", "memory.extent": 3})
    assert settings.memory == MemorySettings(rule=Plastic(), extent_m=3.0)
    assert isinstance(settings.memory.extent_m, float)
    assert type(settings_from({"memory.submaps": 3.0}).memory.atlas.submaps) is int
    values = values_of(settings)
    changed = {parameter.name for parameter in PARAMETERS if values[parameter.name] != parameter.value}
    assert changed == {"memory.rule", "memory.extent"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory.rule": "elastic", "elastic.strength": 2.0, "elastic.anchor": "global"},
        {"memory.rule": "plastic", "memory.submaps": 1, "cameras": ["left", "right"]},
        {"input.transport": "raw", "keyframes.translation": 0.5, "recall.width": 64, "autostart": False},
    ],
)
def test_settings_come_back_from_their_values(changes: dict[str, object]) -> None:
    settings = settings_from(changes)
    values = values_of(settings)
    assert changes.items() <= values.items()
    assert settings_from(values) == settings


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: KeyframePolicy(translation_m=-1.0), r"translation \(translation_m\) must be from 0 to 1000 m"),
        (lambda: KeyframePolicy(translation_m="far"), r"keyframes.translation \(translation_m\) must be of type float"),
        (lambda: MemorySettings(width=True), "memory.width must be of type int, got True"),
        (lambda: MemorySettings(mode="windowed"), r"memory.mode must be of type MemoryMode, got 'windowed'"),
    ],
)
def test_settings_that_are_made_in_python_are_checked_alike(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
    assert KeyframePolicy(translation_m=1) == KeyframePolicy(translation_m=1.0), "a whole number may stand for a float"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"memory.rul": "plastic"}, "did you mean memory.rule"),
        ({"qqq": 1}, "config/fsm.yaml"),
        ({"memory.rule": "off"}, "one of consolidation, elastic, plastic"),
        ({"memory.submaps": 1.5}, "of type int"),
        ({"memory.submaps": True}, "of type int"),
        ({"memory.submaps": 0}, "from 1 to 64"),
        ({"memory.extent": -1.0}, "from 0 to"),
        ({"memory.extent": math.nan}, "from 0 to"),
        ({"memory.measure_prediction": 1}, "of type bool"),
        ({"cameras": "front"}, "list of str"),
        ({"cameras": [1]}, "list of str"),
        ({"memory.anchor_sharing": "shared"}, "batch order"),
    ],
)
def test_what_the_node_would_refuse_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        settings_from(changes)


def test_the_file_with_all_parameters_says_the_defaults(repo_root: Path) -> None:
    changes = read_parameter_file(repo_root / "config/fsm.yaml")
    assert changes.keys() == BY_NAME.keys()
    assert settings_from(changes) == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "/**:\n  ros__parameters:\n    memory.rule: plastic\n",
        "fsm:\n  ros__parameters:\n    memory: {rule: plastic}\n",
        "memory.rule: plastic\n",
        "memory:\n  rule: plastic\n",
        "other:\n  ros__parameters: {x: 1}\n/fsm:\n  ros__parameters: {memory.rule: plastic}\n",
        "/**:\n  ros__parameters: {use_sim_time: true, qos_overrides: {/tf: {depth: 1}}, memory.rule: plastic}\n",
    ],
)
def test_a_parameter_file_may_have_any_of_the_forms_that_people_write(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert read_parameter_file(path) == {"memory.rule": "plastic"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must hold parameters"),
        ("- a\n- b\n", "must hold parameters"),
        ("a: [", "no YAML"),
        ("other:\n  ros__parameters: {x: 1}\n", "nothing for this node"),
        ("/**:\n  ros__parameters: 3\n", "by name"),
    ],
)
def test_a_parameter_file_that_says_nothing_is_named(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        read_parameter_file(path)
    assert str(path) in str(caught.value)


def test_a_parameter_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_parameter_file(tmp_path / "none.yaml")


@given(st.integers() | st.booleans() | st.text("abc", min_size=1) | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
def test_an_assignment_has_a_value_as_yaml_says(value: object) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert parse_assignment(f"memory.x={text}") == ("memory.x", value)


@pytest.mark.parametrize("text", ["memory.x", "=3", " =3", "memory.x=[1"])
def test_what_is_no_assignment_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=VALUE|no YAML"):
        parse_assignment(text)
