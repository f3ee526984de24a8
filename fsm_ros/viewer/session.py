# SPDX-License-Identifier: Apache-2.0
"""One visitor: a camera of their own, what they want to see, and what they are shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import viser
from numpy.typing import NDArray

from fsm_ros.spatial.results import Failure, FailureKind
from fsm_ros.spatial.scene import Scene
from fsm_ros.viewer.film import Film, png
from fsm_ros.viewer.pacing import Asked, Pace
from fsm_ros.viewer.panel import EMPTY, Panel, Presses, set_value
from fsm_ros.viewer.path import RobotPath
from fsm_ros.viewer.pictures import Picture, picture
from fsm_ros.viewer.placing import Placing
from fsm_ros.viewer.scenery import Scenery
from fsm_ros.viewer.subject import Post, Subject
from fsm_ros.viewer.wish import Look, Mode, Wish

PLAY_S = 1 / 20
TELL_S = 0.5
JPEG_SMALL, JPEG_FULL = 75, 90
NOTICE_S = 6.0
NANOSECONDS = 1e9


class Session:
    """Shows one visitor what they want to see; belongs to the viewer's thread, which calls :meth:`tick`."""

    def __init__(
        self, client: viser.ClientHandle, subject: Subject, post: Post, pixels: int, *, read_only: bool
    ) -> None:
        """Greet a visitor.

        Args:
            client: the visitor.
            subject: whose memory is looked at.
            post: has something done on the viewer's thread.
            pixels: of a full picture.
            read_only: whether the memory cannot be changed from here.
        """
        self._client, self._subject, self._post = client, subject, post
        self._pace, self._pixels = Pace(pixels), pixels
        self._panel = Panel(client, self._presses(), read_only=read_only)
        self._scenery = Scenery(client.scene, lambda pose, fov: post(lambda: self._visit(pose, fov)))
        self._placing = Placing(client)
        self._film: Film | None = None
        self._path: RobotPath | None = None
        self._path_of: Scene | None = None
        self._playing_since_s: float | None = None
        self._told_s = -TELL_S
        self._is_placed = False
        self._has_background = False
        self._is_dark = True
        self._is_gone = False
        self._used: frozenset[int] = frozenset()
        self._last: tuple[Asked, Picture, float] | None = None
        self._shown_s: list[float] = []

        @client.camera.on_update
        async def _(camera: viser.CameraHandle) -> None:
            post(lambda: None)  # there is something to look at

    # --- the viewer's thread ------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> float:
        """Do what is due; returns seconds until there may be more."""
        if self._is_gone:
            return math.inf
        scene = self._subject.engine.memory.scene
        if scene is None:
            self._show_nothing()
        else:
            self._place(scene, now_s)
            self._know_path(scene)
            self._play(now_s)
            self._want(now_s)
            if (asked := self._pace.begin(scene, now_s)) is not None:
                self._ask(asked)
        if now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            self._tell(scene, now_s)
        if self._film is not None:
            self._film.note(self._look(), self._stamp_ns(), now_s)
        due = [self._told_s + TELL_S - now_s, self._pace.due_in_s(now_s), self._placing.due_s - now_s]
        if self._playing_since_s is not None:
            due.append(PLAY_S)
        if self._film is not None:
            due.append(self._film.due_in_s(now_s))
        return max(0.0, min(due))

    @property
    def is_flying(self) -> bool:
        """Whether the visitor moves, or has just moved."""
        return not self._is_gone and self._pace.has_changed_lately(time.monotonic())

    def close(self) -> None:
        """The visitor has gone: nothing more is shown. From any thread."""
        self._is_gone = True

    # --- what is seen -------------------------------------------------------------------------------------------------

    def _look(self) -> Look:
        camera = self._client.camera
        px, py, pz = (float(v) for v in camera.position)
        w, x, y, z = (float(v) for v in camera.wxyz)
        return Look((px, py, pz), (w, x, y, z), float(camera.fov), float(camera.aspect))

    def _stamp_ns(self) -> int | None:
        if self._panel.newest.value or self._path is None:
            return None
        return self._path.first_ns + round(self._panel.time.value * NANOSECONDS)

    def _want(self, now_s: float) -> None:
        look = self._look()
        self._pace.want(Wish(look, self._stamp_ns(), Mode(self._panel.mode.value), self._panel.beside.value), now_s)
        self._scenery.light(frozenset() if self._panel.beside.value else self._used, look.position)

    def _ask(self, asked: Asked) -> None:
        begun_s = time.monotonic()
        job = self._subject.engine.ask(lambda memory: picture(memory, asked.rendered, asked.pixels))
        job.add_done_callback(lambda done: self._post(lambda: self._arrived(asked, done.result(), begun_s)))

    def _arrived(self, asked: Asked, found: Picture | Failure, begun_s: float) -> None:
        if self._is_gone:
            return
        now_s = time.monotonic()
        if isinstance(found, Failure):
            self._pace.failed(now_s)
            if found.kind not in (FailureKind.NOTHING_OBSERVED, FailureKind.STOPPED):
                self._notice("This view cannot be rendered", found.message)
            return
        self._pace.arrived(found.render_s, now_s)
        quality = JPEG_FULL if asked.is_full else JPEG_SMALL
        # What lies behind a surface is hidden by it, once things rest.
        depth = found.depth_m if asked.is_full else None
        self._client.scene.set_background_image(found.image, "jpeg", jpeg_quality=quality, depth=depth)
        self._has_background = True
        self._used = found.used
        self._last = (asked, found, time.monotonic() - begun_s)
        self._shown_s = [shown for shown in self._shown_s if now_s - shown < 2.0] + [now_s]

    def _show_nothing(self) -> None:
        if self._has_background:
            self._client.scene.set_background_image(None)
            self._has_background = False
        self._pace.forget()
        self._used = frozenset()
        self._path = self._path_of = self._last = None
        self._is_placed = False

    def _place(self, scene: Scene, now_s: float) -> None:
        if not self._is_placed and len(scene.keyframes):
            self._is_placed = True
            self._placing.begin(scene, now_s)
        self._placing.step(scene, now_s)

    def _visit(self, world_from_camera: NDArray[np.float64], fov_rad: float | None = None) -> None:
        self._placing.visit(self._subject.engine.memory.scene, world_from_camera, fov_rad)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _know_path(self, scene: Scene) -> None:
        if self._path_of is scene:
            return
        self._path_of = scene
        self._subject.engine.ask(RobotPath.of).add_done_callback(
            lambda done: self._post(lambda: self._path_came(done.result()))
        )

    def _path_came(self, path: RobotPath | None | Failure) -> None:
        if self._is_gone or not isinstance(path, RobotPath):
            return
        self._path = path
        self._panel.tell_span(path.duration_s)

    def _play(self, now_s: float) -> None:
        if self._playing_since_s is None or self._path is None:
            return
        seconds = now_s - self._playing_since_s
        if seconds > self._path.duration_s:
            self._stop_playing()
            return
        set_value(self._panel.time, round(seconds, 3))
        self._visit(self._path.at(self._path.first_ns + round(seconds * NANOSECONDS)))

    def _stop_playing(self) -> None:
        self._playing_since_s = None
        self._panel.play.label, self._panel.play.icon = "Play the robot's path", viser.Icon.PLAYER_PLAY

    # --- what is told -------------------------------------------------------------------------------------------------

    def _tell(self, scene: Scene | None, now_s: float) -> None:
        condition = self._subject.condition()
        self._scenery.show_scene(scene)
        self._scenery.show_live(self._subject.live())
        if scene is None:
            # What is lit and hidden is brought up to date where there is a view; there is none.
            trouble = f"{EMPTY} {condition.trouble}".strip()
        else:
            trouble = condition.trouble
        self._panel.tell(
            trouble,
            {**self._picture_numbers(now_s), **condition.numbers},
            is_paused=condition.is_paused,
            is_live=condition.is_live,
        )

    def _picture_numbers(self, now_s: float) -> dict[str, str]:
        if self._last is None:
            return {}
        asked, shown, latency_s = self._last
        height, width = shown.image.shape[:2]
        pictures = sum(now_s - shown_s < 1.0 for shown_s in self._shown_s)
        numbers = {
            "picture": f"{width} x {height}",
            "rendered in": f"{1e3 * shown.render_s:.0f} ms",
            "shown after": f"{1e3 * latency_s:.0f} ms",
            "pictures a second": str(pictures),
            "from photographs": f"{100 * shown.recalled:.0f} %",
        }
        return numbers | ({"note": shown.warning} if shown.warning else {})

    def _notice(self, title: str, body: str) -> None:
        if self._is_gone:
            return
        self._client.add_notification(title, body, auto_close_seconds=NOTICE_S)

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def _presses(self) -> Presses:
        def posted(act: Callable[[], None]) -> Callable[[], None]:
            return lambda: self._post(act)

        return Presses(
            changed=posted(self._changed),
            time_chosen=posted(self._time_chosen),
            play=posted(self._play_pressed),
            go_to_camera=posted(self._go_to_camera),
            snapshot=posted(self._snapshot),
            film=posted(self._film_pressed),
            pause=posted(lambda: self._subject.pause(not self._subject.condition().is_paused)),
            reset=posted(lambda: self._await("Reset", self._subject.reset())),
            save=posted(lambda: self._await("Save", self._subject.save(self._panel.name.value))),
            load=posted(lambda: self._await("Load", self._subject.load(self._panel.name.value))),
        )

    def _changed(self) -> None:
        panel, scenery = self._panel, self._scenery
        scenery.keyframes, scenery.live_camera = panel.keyframes.value, panel.live.value
        scenery.submaps = panel.submaps.value
        if panel.dark.value != self._is_dark:
            self._is_dark = panel.dark.value
            panel.theme(dark=self._is_dark)

    def _time_chosen(self) -> None:
        if self._playing_since_s is None and self._panel.newest.value:
            set_value(self._panel.newest, False)

    def _play_pressed(self) -> None:
        if self._playing_since_s is not None:
            self._stop_playing()
        elif self._path is not None:
            begin_s = self._panel.time.value if not self._panel.newest.value else 0.0
            begin_s = begin_s if begin_s < self._path.duration_s - 0.1 else 0.0
            self._playing_since_s = time.monotonic() - begin_s
            set_value(self._panel.newest, False)
            self._panel.play.label, self._panel.play.icon = "Stop", viser.Icon.PLAYER_STOP

    def _go_to_camera(self) -> None:
        live = self._subject.live()
        if live is not None:
            self._visit(live.world_from_camera)
        elif self._path is not None:
            self._visit(self._path.at(self._path.last_ns))
        else:
            self._notice("There is no camera yet", "Nothing has been observed.")

    def _snapshot(self) -> None:
        wish = self._pace.wish
        if wish is None:
            self._notice("There is nothing to take a picture of yet", self._subject.condition().trouble)
            return
        job = self._subject.engine.ask(lambda memory: picture(memory, wish, self._pixels))
        job.add_done_callback(lambda done: self._post(lambda: self._snapshot_came(done.result())))

    def _snapshot_came(self, found: Picture | Failure) -> None:
        if isinstance(found, Failure):
            self._notice("This view cannot be rendered", found.message)
        elif not self._is_gone:
            self._client.send_file_download("view.png", png(found.image), save_immediately=True)

    def _film_pressed(self) -> None:
        if self._film is None:
            self._film = Film()
            self._panel.film.label, self._panel.film.icon = "Stop recording", viser.Icon.PLAYER_STOP
            return
        film, self._film = self._film, None
        self._panel.film.label, self._panel.film.icon = "Record a path (MP4)", viser.Icon.VIDEO
        mode = Mode(self._panel.mode.value)
        notice = self._client.add_notification("Rendering the film", film.told(), loading=True, with_close_button=False)

        def came(content: bytes | Failure) -> None:
            if self._is_gone:
                return
            notice.remove()
            if isinstance(content, Failure):
                self._notice("The film cannot be made", content.message)
            else:
                self._client.send_file_download("path.mp4", content, save_immediately=True)

        def progressed(done: int, of: int) -> bool:
            if not self._is_gone:
                notice.body = f"{done} of {of} pictures"
            return not self._is_gone

        film.develop(self._subject.engine, mode, self._pixels, self._post, progressed, came)

    def _await(self, what: str, job: Future[str | Failure]) -> None:
        def tell(done: Future[str | Failure]) -> None:
            came = done.result()
            if isinstance(came, Failure):
                self._notice(f"{what}: not done", came.message)
            else:
                self._notice(what, came)

        job.add_done_callback(lambda done: self._post(lambda: tell(done)))
