# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from training_runs import plain_settings, tiny_settings

from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.training.launching import resolve
from fsm_ros.training.scenes import Family
from fsm_ros.training.settings import Arithmetic, OptimizerKind, Recording, SettingsError
from fsm_ros.training.settings_file import as_plain, load_settings, settings_from

CONFIGS = sorted((Path(__file__).parents[2] / "config" / "train").glob("*.yaml"))


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
    assert settings.rule == ElasticRule(Importance.MAS, AnchorPolicy.GLOBAL, 0.25)
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
    ({"episodes": {"max_views": 1}}, "leaves nothing to draw"),
    ({"episodes": {"max_views": 40}}, "too short"),
    ({"episodes": {"stride": [1.0, 2.0]}}, "range above 1"),
    ({"episodes": {"extent_m": [0.0, 2.0]}}, "positive range"),
    ({"episodes": {"batch_order": 1.5}}, r"must lie in \[0, 1\]"),
    ({"data": {"recorded_share": 0.5}}, "must both be given"),
    ({"data": {"scenes": {"families": {"moon": 1}}}}, "room, corridor, open, tabletop"),
    ({"rule": {"importance": "luck"}}, "rule: importance must be one of"),
    ({"model": {"dim": 30}}, "must divide dim"),
    ({"model": {"depth": 3}}, "unknown model.depth"),
    ({"report": {"log_every_s": 0}}, "must be positive"),
    ({"episodes": {"chunk_views": 4}}, "episodes.chunk_views must be a mapping"),
    ({"episodes": {"chunk_counts": {"two": 1.0}}}, "episodes.chunk_counts must be a whole number"),
    ({"episodes": {"chunk_views": {2: 0.5, 8: 0.5}, "max_views": 7}}, "leaves nothing to draw for chunks of 8"),
    ({"episodes": {"extent_m": [1.0]}}, "episodes.extent_m must be a list of two numbers"),
    ({"data": {"visits": 4.0}}, "data.visits must be a whole number"),
    ({"data": {"recordings": "somewhere"}}, "data.recordings must be a list"),
    ({"data": {"recordings": [{"frame": "odom"}], "recorded_share": 1.0}}, "unknown data.recordings.frame"),
    ({"data": {"scenes": {"photographs": "yes"}}}, "photographs must be true or false"),
    ({"optimizer": {"learning_rate": "fast"}}, "optimizer.learning_rate must be a finite number"),
    ({"optimizer": {"betas": [0.9, 1.0]}}, r"betas must lie in \[0, 1\)"),
    ({"optimizer": {"gradient_loss": -1.0}}, "must be at least 0"),
    ({"seed": -1}, "seed must be at least 0"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from(plain_settings(**change))


def test_numbers_without_a_point_are_numbers_though_yaml_takes_them_for_text() -> None:
    text = yaml.safe_dump(plain_settings()).replace("learning_rate: 0.001", "learning_rate: 6e-4")
    assert "6e-4" in text
    assert settings_from(yaml.safe_load(text)).optimizer.learning_rate == 6e-4


def test_recordings_are_paths_or_say_more() -> None:
    entries = ["one", {"path": "two", "world_frame": "odom", "image_topic": "/left/image"}]
    settings = tiny_settings(
        data={"recordings": entries, "recorded_share": 0.5, "scenes": {"photographs": False, "frames": 12}}
    )
    assert settings.data.recordings == (Recording("one"), Recording("two", "odom", "/left/image"))
    assert settings_from(as_plain(settings)) == settings


@pytest.mark.parametrize("said", [{}, {"rule": None}, {"rule": {"kind": "plastic"}}])
def test_without_a_rule_it_is_plain_lact_that_is_trained(said: dict[str, Any]) -> None:
    assert settings_from(plain_settings() | said).rule == Plastic()


def test_entries_may_be_replaced_by_name(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(plain_settings()), encoding="utf-8")
    settings = load_settings(path, {"optimizer.batch": 8, "data.scenes.frames": 14, "rule": {"strength": 0.1}})
    assert (settings.optimizer.batch, settings.data.scenes.frames) == (8, 14)
    assert settings.rule == ElasticRule(strength=0.1)
    with pytest.raises(SettingsError, match="no entry seed.of.what"):
        load_settings(path, {"seed.of.what": 1})


@pytest.mark.parametrize(("flags", "expected"), [("fpu avx512_bf16", "bf16"), ("fpu avx2", "fp32")])
def test_bf16_is_used_where_the_cpu_has_instructions_for_it(tmp_path: Path, flags: str, expected: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags : {flags}\n")
    cpu = torch.device("cpu")
    assert resolve(Arithmetic.AUTO, cpu, info) is Arithmetic(expected)
    assert resolve(Arithmetic.AUTO, cpu, tmp_path / "none") is Arithmetic.FP32
    assert resolve(Arithmetic.BF16, cpu, tmp_path / "none") is Arithmetic.BF16


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
