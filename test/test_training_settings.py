from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from training_runs import plain_settings, tiny_settings

from fsm_ros.memory.elastic import AnchorPolicy, Importance
from fsm_ros.training.scenes import Family
from fsm_ros.training.settings import (
    OptimizerKind,
    SettingsError,
    as_plain,
    load_settings,
    settings_from,
)

CONFIGS = sorted((Path(__file__).parents[1] / "config" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_in_the_project_is_understood_and_comes_back_from_plain_values(path: Path) -> None:
    settings = load_settings(path)
    assert settings_from(yaml.safe_load(yaml.safe_dump(as_plain(settings), sort_keys=False))) == settings


def test_there_are_configurations() -> None:
    assert {"cpu", "shipped", "tiny"} <= {path.stem for path in CONFIGS}


def test_values_are_what_they_say() -> None:
    settings = tiny_settings(
        rule={"importance": "mas", "anchor": "global", "strength": 0.25},
        optimizer={"kind": "muon", "batch": 8},
        data={"scenes": {"families": {"room": 2, "open": 1}, "frames": 12}},
    )
    assert settings.rule is not None
    assert (settings.rule.importance, settings.rule.anchor) == (Importance.MAS, AnchorPolicy.GLOBAL)
    assert settings.rule.strength == 0.25
    assert settings.optimizer.kind is OptimizerKind.MUON
    assert settings.data.scenes.families == ((Family.ROOM, 2.0), (Family.OPEN, 1.0))
    assert settings.data.scenes.difficulty == (0.0, 1.0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"optimiser": {}}, "unknown optimiser"),
    ({"optimizer": {"kind": "sgd"}}, r"optimizer.kind must be one of \['adamw', 'muon'\]"),
    ({"optimizer": {"batch": 6, "accumulate": 4}}, "must divide"),
    ({"optimizer": {"learning_rate": 0.0}}, "must be positive"),
    ({"precision": "fp8"}, "precision must be one of"),
    ({"parallelism": "fsdp", "optimizer": {"kind": "muon"}}, "use adamw"),
    ({"episodes": {"size": 20}}, "not a multiple of model.patch_size 8"),
    ({"episodes": {"chunk_views": {0: 1.0}}}, "positive whole numbers"),
    ({"episodes": {"chunk_counts": {2: 0.0}}}, "positive whole numbers"),
    ({"episodes": {"max_views": 1}}, "leaves no chunk"),
    ({"episodes": {"max_views": 40}}, "too short"),
    ({"episodes": {"stride": [1.0, 2.0]}}, "range above 1"),
    ({"episodes": {"extent_m": [0.0, 2.0]}}, "positive range"),
    ({"episodes": {"batch_order": 1.5}}, r"must lie in \[0, 1\]"),
    ({"data": {"recorded_share": 0.5}}, "must both be given"),
    ({"data": {"scenes": {"families": {"moon": 1}}}}, "room, corridor, open, tabletop"),
    ({"rule": {"importance": "luck"}}, "rule.importance must be one of"),
    ({"model": {"dim": 30}}, "must divide dim"),
    ({"model": {"depth": 3}}, "unknown model.depth"),
    ({"report": {"log_every_s": 0}}, "must be positive"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from(plain_settings(**change))


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("model: [1, 2", encoding="utf-8")
    with pytest.raises(SettingsError, match="broken.yaml"):
        load_settings(path)
    path.write_text("- 1", encoding="utf-8")
    with pytest.raises(SettingsError, match="at least an entry 'model'"):
        load_settings(path)
    with pytest.raises(SettingsError, match="nowhere.yaml"):
        load_settings(tmp_path / "nowhere.yaml")
