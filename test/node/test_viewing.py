# SPDX-License-Identifier: Apache-2.0
"""The node's viewer: a page on this machine, whose buttons do what the services do, and which goes with the memory."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Watched, chromium, needs_browser
from lifecycle_msgs.msg import Transition
from node_camera import Camera
from node_harness import QUICK, Robot, active_node, running_node

from fsm_ros.node.viewing import TOLD

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp("viewed")
    changes = {"viewer.enabled": True, "viewer.port": 0, "storage_dir": str(folder / "storage"), "tf.timeout": 1.0}
    with active_node(folder, changes) as robot:
        yield robot


def url(robot: Robot) -> str:
    found = re.findall(r"viewer: open (http://\S+)", robot.process.log)
    assert found
    return str(found[-1])


@needs_browser
def test_what_is_pressed_there_is_done_as_by_the_services(robot: Robot, tmp_path: Path) -> None:
    camera = Camera(robot)
    with chromium("--use-angle=swiftshader", "--enable-unsafe-swiftshader") as browser:
        visitor = Watched(browser, width=900, height=700)
        page = visitor.page
        page.goto(url(robot))
        page.get_by_text("Nothing has been observed yet.").wait_for()
        page.get_by_text("input: no image yet").wait_for()
        camera.stream(2)
        page.get_by_role("tab", name="Memory").click()
        page.locator("tr", has_text="chunks observed").get_by_text("2", exact=True).wait_for()
        file = page.locator("input[value=memory]").element_handle()
        file.fill("kitchen")
        page.get_by_role("button", name="Save").click()
        page.get_by_text(re.compile(r"saved .*kitchen")).wait_for()
        page.get_by_role("button", name="Pause").click()
        robot.wait_until(lambda: robot.status("input").message == "paused", "the pause")
        page.get_by_role("button", name="Take frames again").click()
        robot.wait_until(lambda: robot.status("input").message != "paused", "the end of the pause")
        page.get_by_role("button", name="Forget everything").click()
        page.get_by_role("button", name="Forget", exact=True).click()
        page.get_by_text("Nothing has been observed yet.").wait_for()
        robot.wait_until(lambda: robot.heard.replaced, "what the memory holds after it was forgotten")
        assert robot.heard.replaced[-1].chunks_observed == 0
        file.fill("../elsewhere")
        page.get_by_role("button", name="Load").click()
        page.get_by_text("Load: not done").wait_for()
        file.fill("kitchen")
        page.get_by_role("button", name="Load").click()
        robot.wait_until(lambda: robot.heard.replaced[-1].chunks_observed == 2, "the memory that was saved")
        assert visitor.asked_for == set() and visitor.console == []
        visitor.context.close()
    assert "viewer: saved" in robot.process.log and "viewer: reset" in robot.process.log


def test_it_tells_values_that_diagnostics_have(robot: Robot) -> None:
    for name, wanted in TOLD.items():
        keys = {value.key for value in robot.status(name).values}
        assert {key for key in wanted if not key.endswith(".")} - keys <= OF_A_CHUNK, name


OF_A_CHUNK = {"prediction_psnr", "retention_psnr", "kept", "observe_time", "chunks_observed", "submaps", "epoch"}
"""Told once a chunk was observed."""


def test_the_page_goes_with_the_memory_and_comes_again(robot: Robot) -> None:
    page = url(robot)
    assert urllib.request.urlopen(page, timeout=60).status == 200
    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert urllib.request.urlopen(page, timeout=60).status == 200
    assert robot.change_state(Transition.TRANSITION_CLEANUP)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page, timeout=60)
    assert robot.change_state(Transition.TRANSITION_CONFIGURE)
    assert urllib.request.urlopen(url(robot), timeout=60).status == 200
    assert robot.change_state(Transition.TRANSITION_ACTIVATE)


def test_a_port_that_is_taken_ends_the_node_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_node(tmp_path, {"viewer.enabled": True, "viewer.port": port}, defaults=QUICK) as robot:
            assert robot.process.exit_code() == 1
    (line,) = [line for line in (tmp_path / "node.log").read_text().splitlines() if "cannot be configured" in line]
    assert f"127.0.0.1:{port}" in line and "choose another viewer.port" in line
    assert "Traceback" not in (tmp_path / "node.log").read_text()
