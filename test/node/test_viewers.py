# SPDX-License-Identifier: Apache-2.0
"""The configurations for RViz and Foxglove are of topics that the node has, and of the displays' types."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from node_harness import Robot, active_node

pytestmark = pytest.mark.slow

IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
MARKERS, CLOUD = "visualization_msgs/msg/MarkerArray", "sensor_msgs/msg/PointCloud2"
SHOWN = {
    "/camera/image_raw": IMAGE,
    "/fsm/rendered/image": IMAGE,
    "/fsm/rendered/depth": IMAGE,
    "/fsm/rendered/confidence": IMAGE,
    "/fsm/keyframes": MARKERS,
    "/fsm/points": CLOUD,
}
"""What both of them show."""
TYPES_OF_DISPLAYS = {"Image": IMAGE, "MarkerArray": MARKERS, "PointCloud2": CLOUD}
LATE = "Transient Local"


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Names and types of all that the node says and hears, launched as fsm.launch.py does."""
    remaps = [word for name in ("image_raw", "camera_info") for word in ("-r", f"{name}:=/camera/{name}")]
    with active_node(tmp_path_factory.mktemp("viewers"), arguments=remaps) as robot:
        found = topics_of(robot)
        yield found


def topics_of(robot: Robot) -> dict[str, str]:
    own = robot.node.get_publisher_names_and_types_by_node("fsm", "/")
    own += robot.node.get_subscriber_names_and_types_by_node("fsm", "/")
    return {name: kinds[0] for name, kinds in own}


def displays(repo_root: Path) -> list[dict[str, object]]:
    content = yaml.safe_load((repo_root / "config" / "fsm.rviz").read_text())
    return content["Visualization Manager"]["Displays"]


def panels(repo_root: Path) -> dict[str, dict[str, object]]:
    return json.loads((repo_root / "config" / "fsm.foxglove.json").read_text())["configById"]


def test_rviz_shows_topics_of_the_node_in_displays_of_their_types(repo_root: Path, topics: dict[str, str]) -> None:
    found = {}
    for display in displays(repo_root):
        topic = display.get("Topic")
        if topic is not None:
            found[topic["Value"]] = TYPES_OF_DISPLAYS[display["Class"].removeprefix("rviz_default_plugins/")]
            assert (topic["Durability Policy"] == LATE) is topic["Value"].startswith("/fsm/"), "latched by the node"
    assert found == SHOWN
    assert {name: topics[name] for name in found} == found
    assert "rviz_default_plugins/TF" in {display["Class"] for display in displays(repo_root)}


def test_rvizs_fixed_frame_is_the_memorys(repo_root: Path) -> None:
    parameters = yaml.safe_load((repo_root / "config" / "fsm.yaml").read_text())
    said = next(iter(parameters.values()))["ros__parameters"]
    content = yaml.safe_load((repo_root / "config" / "fsm.rviz").read_text())
    frame = content["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame == said.get("memory.frame_id") == panels(repo_root)["3D!fsm"]["followTf"]


def test_foxglove_shows_topics_of_the_node_in_panels_of_their_types(repo_root: Path, topics: dict[str, str]) -> None:
    images, calibrations, spatial = set(), set(), set()
    for name, panel in panels(repo_root).items():
        if name.startswith("Image!"):
            images.add(panel["imageMode"]["imageTopic"])
            calibrations.add(panel["imageMode"]["calibrationTopic"])
        elif name.startswith("3D!"):
            spatial |= panel["topics"].keys()
        elif name.startswith("Plot!"):
            for path in panel["paths"]:
                topic, _, field = path["value"].partition(".")
                assert (topics[topic], field.endswith("_psnr")) == ("fsm_ros_msgs/msg/MemoryDiagnostics", True)
        else:
            assert topics[panel["topicToRender"]] == "diagnostic_msgs/msg/DiagnosticArray"
    assert images | spatial == set(SHOWN)
    assert {name: topics[name] for name in images | spatial} == SHOWN
    assert {topics[name] for name in calibrations} == {INFO}


def test_every_panel_of_foxglove_is_laid_out_once(repo_root: Path) -> None:
    def leaves(part: object) -> list[str]:
        return [part] if isinstance(part, str) else [*leaves(part["first"]), *leaves(part["second"])]

    layout = json.loads((repo_root / "config" / "fsm.foxglove.json").read_text())
    assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])


def test_the_launch_file_remaps_what_rviz_shows(repo_root: Path) -> None:
    tree = ast.parse((repo_root / "launch" / "fsm.launch.py").read_text())
    (shown,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN"
    ]
    assert {f"/{topic}" for topic in shown} == set(SHOWN) - {"/camera/image_raw"}
