# SPDX-License-Identifier: Apache-2.0
"""The viewer as a visitor meets it: headless Chromium opens the page, flies, presses, and leaves."""

import io
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Watched, chromium, needs_browser
from deadline import wait_until
from PIL import Image
from playwright.sync_api import Browser, Page
from spatial_scenes import room_views
from viewed_rooms import PIXELS, Room, a_room, observe, served

from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.viewer.pacing import REFRESH_S
from fsm_ros.viewer.session import Session
from fsm_ros.viewer.viewer import Viewer, ViewerError
from fsm_ros.viewer.wish import Look, Mode

pytestmark = [pytest.mark.slow, needs_browser]

CHANGED = 4.0
"""How far two pictures that differ are apart, grey levels; what a screen adds to one and the same is well below 1."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # WebGL without a GPU.
    with chromium("--use-angle=swiftshader", "--enable-unsafe-swiftshader") as browser:
        yield browser


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with a_room() as room:
        room.camera = room_views(16)[-1]
        yield room


@pytest.fixture(scope="module")
def viewer(room: Room) -> Iterator[Viewer]:
    with served(room) as viewer:
        yield viewer


def visit(browser: Browser, viewer: Viewer, *, width: int = 1000, height: int = 700) -> Watched:
    """Opens the page and waits for the first picture."""
    visitor = Watched(browser, width=width, height=height)
    visitor.page.goto(viewer.url)
    visitor.page.get_by_text("fast spatial memory").first.wait_for()
    return visitor


@pytest.fixture
def visitor(browser: Browser, viewer: Viewer) -> Iterator[Watched]:
    visitor = visit(browser, viewer)
    is_full(visitor.page)
    yield visitor
    visitor.context.close()


def seen(page: Page) -> np.ndarray:
    """The left half of what is on the screen, where no panel stands, without notifications above it."""
    size = page.viewport_size
    assert size is not None
    width, height = size["width"], size["height"]
    shot = page.screenshot(clip={"x": 0, "y": 0.3 * height, "width": 0.5 * width, "height": 0.6 * height})
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=float)


def number(page: Page, name: str) -> str:
    """What the table of numbers tells, as text; empty where it has no such line."""
    page.get_by_role("tab", name="Memory").click()
    row = page.locator("tr", has=page.locator(f"td:text-is('{name}')"))
    told = row.locator("td").nth(1).inner_text() if row.count() else ""
    page.get_by_role("tab", name="View").click()
    return told


def is_full(page: Page) -> None:
    """Waits until a full picture is shown."""

    def shows() -> bool:
        size = re.match(r"(\d+) x (\d+)", number(page, "picture"))
        return size is not None and int(size[1]) * int(size[2]) > 0.8 * PIXELS

    wait_until(shows, "a full picture")


def settled(page: Page) -> np.ndarray:
    """What is on the screen once it no longer changes."""
    found = [seen(page)]

    def rests() -> bool:
        page.wait_for_timeout(400)
        found.append(seen(page))
        return float(np.abs(found[-1] - found[-2]).mean()) < 0.2

    wait_until(rests, "a picture that rests")
    return found[-1]


def changes_from(page: Page, before: np.ndarray, what: str) -> np.ndarray:
    """Waits until something else is on the screen, and rests."""
    wait_until(lambda: float(np.abs(seen(page) - before).mean()) > CHANGED, what)
    return settled(page)


def choose(page: Page, mode: Mode) -> None:
    page.get_by_role("combobox", name="show").click()
    page.get_by_role("option", name=mode.value, exact=True).click()


def test_the_page_shows_the_memory_and_asks_no_other_host(visitor: Watched) -> None:
    assert settled(visitor.page).std() > 8
    assert visitor.asked_for == set()
    assert visitor.console == []


@pytest.mark.parametrize("up", ["z", "-y", "x"])
def test_a_visitor_begins_at_the_newest_keyframe_whichever_way_is_up(browser: Browser, up: str) -> None:
    turn = np.eye(4)
    turn[:3, :3] = {
        "z": np.eye(3),
        "-y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
        "x": np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]),
    }[up]
    with a_room(chunks=2, world_from_map=turn) as room, served(room) as viewer:
        visitor = visit(browser, viewer)
        newest = turn @ room_views(8)[-1].world_from_camera
        (client,) = viewer.server.get_clients().values()

        def is_there() -> bool:
            camera = client.camera
            look = Look(tuple(camera.position), tuple(camera.wxyz), 1.0, 1.0)  # type: ignore[arg-type]
            return bool(np.allclose(look.world_from_camera, newest, atol=0.02))

        wait_until(is_there, "the camera at its place")
        is_full(visitor.page)
        assert settled(visitor.page).std() > 8 and is_there()
        assert float(number(visitor.page, "from photographs").split()[0]) > 50
        visitor.context.close()


def test_a_drag_changes_the_picture(visitor: Watched) -> None:
    page = visitor.page
    before = settled(page)
    page.mouse.move(300, 350)
    page.mouse.down()
    for step in range(8):
        page.mouse.move(300 + 15 * step, 350)
    page.mouse.up()
    changes_from(page, before, "a drag changed the picture")


def test_every_mode_looks_different(visitor: Watched) -> None:
    page, looks = visitor.page, {}
    last = settled(page)
    for mode in [*(mode for mode in Mode if mode is not Mode.BOTH), Mode.BOTH]:
        choose(page, mode)
        wait_until(lambda last=last: float(np.abs(seen(page) - last).mean()) > 0.5, f"another look of {mode}")  # type: ignore[misc]
        looks[mode] = last = settled(page)
    for mode, look in looks.items():
        assert all(np.abs(look - other).mean() > 0.5 for name, other in looks.items() if name is not mode), mode


def test_side_by_side_with_the_nearest_keyframe(visitor: Watched) -> None:
    page = visitor.page
    before = settled(page)
    page.get_by_role("checkbox", name="side by side").click()
    changes_from(page, before, "the picture was split")


def test_every_visitor_has_a_camera_of_their_own(browser: Browser, viewer: Viewer, visitor: Watched) -> None:
    other = visit(browser, viewer)
    is_full(other.page)
    wait_until(lambda: viewer.visitors >= 2, "both visitors")
    before = settled(visitor.page)
    choose(other.page, Mode.DEPTH)
    changes_from(other.page, before, "the other one saw depth")
    assert np.abs(settled(visitor.page) - before).mean() < 0.5
    other.context.close()


def test_the_robots_path_is_played_and_time_goes_with_it(visitor: Watched) -> None:
    page = visitor.page
    before = settled(page)
    page.get_by_role("button", name="Play the robot's path").click()
    wait_until(lambda: float(np.abs(seen(page) - before).mean()) > CHANGED, "the flight along the path")
    wait_until(lambda: float(page.get_by_role("slider").get_attribute("aria-valuenow") or 0) > 0.1, "a later time")
    stop = page.get_by_role("button", name="Stop")
    if stop.count():  # it may have come to its end
        stop.click()


def test_a_snapshot_is_a_png_of_the_full_size(visitor: Watched, tmp_path: Path) -> None:
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Snapshot").click()
    download.value.save_as(tmp_path / "view.png")
    image = Image.open(tmp_path / "view.png")
    assert image.format == "PNG" and image.size[0] * image.size[1] == pytest.approx(PIXELS, rel=0.05)


def test_a_recorded_path_is_a_film(visitor: Watched, tmp_path: Path) -> None:
    import av

    page = visitor.page
    page.get_by_role("button", name="Record a path").click()
    stop = page.get_by_role("button", name="Stop recording")
    stop.wait_for()
    page.mouse.move(300, 350)
    page.mouse.down()
    page.mouse.move(360, 350, steps=4)
    page.mouse.up()
    with page.expect_download() as download:
        stop.click()
    download.value.save_as(tmp_path / "path.mp4")
    with av.open(str(tmp_path / "path.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in film.decode(video=0)]
    assert len(frames) >= 2 and frames[0].shape[0] * frames[0].shape[1] == pytest.approx(PIXELS, rel=0.1)
    assert np.abs(frames[0] - frames[-1]).mean() > CHANGED


def test_numbers_and_buttons_of_the_memory(browser: Browser, viewer: Viewer, room: Room, visitor: Watched) -> None:
    page = visitor.page
    room.trouble = "input: no image for 9 s"
    page.get_by_text("no image for 9 s").wait_for()
    assert (number(page, "frames received"), number(page, "refused: not_moved")) == ("12", "3")
    page.get_by_role("tab", name="Memory").click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Take frames again").click()
    page.locator("input[value=memory]").fill("kitchen")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("saved kitchen").wait_for()
    page.get_by_role("button", name="Load").click()
    page.get_by_text("there is no file kitchen").wait_for()
    wait_until(lambda: len(room.asked_for) >= 4, "all that was pressed")
    assert room.asked_for == ["pause", "resume", "save kitchen", "load kitchen"]
    room.trouble = ""


def test_a_phone_sees_picture_and_panel_and_nothing_sticks_out(browser: Browser, viewer: Viewer) -> None:
    phone = visit(browser, viewer, width=390, height=800)
    phone.page.get_by_text("fast spatial memory").first.wait_for()
    assert phone.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    phone.page.get_by_role("button", name="Snapshot").scroll_into_view_if_needed()
    assert phone.console == []
    phone.context.close()


def test_dark_and_light(visitor: Watched) -> None:
    page = visitor.page

    def panel() -> float:
        size = page.viewport_size
        assert size is not None
        shot = page.get_by_role("tab", name="View").screenshot()
        return float(np.asarray(Image.open(io.BytesIO(shot)).convert("L")).mean())

    assert panel() < 100
    page.get_by_text("Beside the picture").click()
    page.get_by_role("checkbox", name="dark").click()
    wait_until(lambda: panel() > 180, "the light theme")


def test_an_empty_memory_says_what_is_missing_and_fills_while_it_is_watched(browser: Browser) -> None:
    with a_room(chunks=0) as room, served(room) as viewer:
        room.trouble = "input: no image yet: check the topic names"
        visitor = visit(browser, viewer)
        visitor.page.get_by_text("Nothing has been observed yet.").wait_for()
        visitor.page.get_by_text("check the topic names").wait_for()
        empty = settled(visitor.page)
        room.trouble = ""
        observe(room.engine, 2)
        full = changes_from(visitor.page, empty, "the memory was seen")
        page = visitor.page
        page.get_by_role("tab", name="Memory").click()
        page.get_by_role("button", name="Forget everything").click()
        page.get_by_role("button", name="Forget", exact=True).click()
        page.get_by_text("Nothing has been observed yet.").wait_for()
        changes_from(page, full, "it was empty again")
        assert room.asked_for == ["reset"]
        visitor.context.close()


def test_read_only_nobody_changes_the_memory(browser: Browser, room: Room) -> None:
    with served(room, read_only=True) as viewer:
        visitor = visit(browser, viewer)
        visitor.page.get_by_role("tab", name="Memory").click()
        visitor.page.get_by_role("cell", name="frames received").wait_for()
        for button in ("Pause", "Save", "Load", "Forget everything"):
            assert visitor.page.get_by_role("button", name=button).count() == 0, button
        visitor.context.close()


def test_closed_tabs_leave_no_threads_and_a_stopped_viewer_none_at_all(browser: Browser, room: Room) -> None:
    before = threading.active_count()
    with served(room) as viewer:
        first = visit(browser, viewer)
        is_full(first.page)
        with_one = threading.active_count()
        for _ in range(4):
            visitor = visit(browser, viewer)
            is_full(visitor.page)
            visitor.context.close()
        first.context.close()
        wait_until(lambda: viewer.visitors == 0, "the end of all visits")
        assert threading.active_count() <= with_one
    wait_until(lambda: threading.active_count() <= before, "the end of every thread")


def test_who_looks_at_what_rests_keeps_nobody_busy(
    browser: Browser, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[float] = []
    tick = Session.tick

    def counted(session: Session, now_s: float) -> float:
        ticks.append(now_s)
        return tick(session, now_s)

    monkeypatch.setattr(Session, "tick", counted)
    with served(room) as viewer:
        visitor = visit(browser, viewer)
        is_full(visitor.page)
        visitor.page.wait_for_timeout(1e3 * 2 * REFRESH_S)
        rested = len(ticks)
        visitor.page.wait_for_timeout(2000)
        # Twice a second, and once for whatever the page says of itself.
        assert len(ticks) - rested < 40
        visitor.context.close()


def test_it_listens_on_this_machine_alone_unless_told(viewer: Viewer) -> None:
    assert ViewerSettings().host == "127.0.0.1"
    assert viewer.url.startswith("http://127.0.0.1:")
    assert viewer.server.request_share_url() is None


def test_a_port_that_is_taken_is_an_error_with_a_remedy(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ViewerError, match=f"127.0.0.1:{port} .*choose another viewer.port"):
            Viewer(room, ViewerSettings(port=port))
