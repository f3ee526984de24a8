# SPDX-License-Identifier: Apache-2.0
"""The viewer: a page on one port, and one thread that serves all who look at it."""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stdout

import viser

from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.errors import FsmError
from fsm_ros.viewer.session import Session
from fsm_ros.viewer.subject import Subject

_LOG = logging.getLogger(__name__)
IDLE_S = 1.0
EVERYWHERE = ("", "0.0.0.0", "::")


class ViewerError(FsmError, RuntimeError):
    """The viewer cannot be served as it was asked for."""


class Viewer:
    """Shows a memory to everyone who opens its page, each with a camera of their own.

    The memory's worker owns the device and renders; the viewer only asks, and one thread of its own does the asking.
    Pages come from this process alone, and nothing they do leaves for another host.
    """

    def __init__(self, subject: Subject, settings: ViewerSettings) -> None:
        """Serve, from now on.

        Args:
            subject: whose memory is looked at.
            settings: where the page is, what it may do, and how large pictures are: no larger than the memory renders.

        Raises:
            ViewerError: the port is taken, or the host is not of this machine.
        """
        _check_port(settings.host, settings.port)
        self._subject, self._settings = subject, settings
        self._acts: deque[Callable[[], object]] = deque()
        self._sessions: dict[int, Session] = {}
        self._changed = threading.Event()
        self._stopping = False
        with redirect_stdout(io.StringIO()):  # it greets in a frame of its own, whatever it is told
            self._server = viser.ViserServer(settings.host, settings.port, verbose=False)
        # A page could ask for a tunnel to a public host.
        self._server.request_share_url = _no_tunnel  # type: ignore[method-assign]

        @self._server.on_client_connect
        async def _(client: viser.ClientHandle) -> None:
            self._post(lambda: self._greet(client))

        @self._server.on_client_disconnect
        async def _(client: viser.ClientHandle) -> None:
            # At once: nothing more can be sent.
            if (session := self._sessions.get(client.client_id)) is not None:
                session.close()
            self._post(lambda: self._sessions.pop(client.client_id, None))

        self._thread = threading.Thread(target=self._work, name="fsm-viewer", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        host = "localhost" if self._settings.host in EVERYWHERE else self._settings.host
        return f"http://{host}:{self._server.get_port()}"

    @property
    def visitors(self) -> int:
        """How many look at it."""
        return len(self._sessions)

    @property
    def is_busy(self) -> bool:
        """Whether somebody moves: what can wait would keep their pictures from coming."""
        return any(session.is_flying for session in list(self._sessions.values()))

    @property
    def server(self) -> viser.ViserServer:
        """To add things of one's own to the page: what is added to it is seen by everyone."""
        return self._server

    def stop(self) -> None:
        """End it, and its threads."""
        self._stopping = True
        self._changed.set()
        self._thread.join()
        with redirect_stdout(io.StringIO()):
            self._server.stop()

    def _post(self, act: Callable[[], object]) -> None:
        self._acts.append(act)
        self._changed.set()

    def _work(self) -> None:
        wait_s = IDLE_S
        while not self._stopping:
            self._changed.wait(wait_s)
            self._changed.clear()
            for _ in range(len(self._acts)):
                _guarded(self._acts.popleft())
            now_s = time.monotonic()
            waits = [_ticked(session, now_s) for session in list(self._sessions.values())]
            wait_s = min(waits, default=IDLE_S)
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _greet(self, client: viser.ClientHandle) -> None:
        wanted = self._settings
        pixels = min(wanted.pixels, self._subject.engine.memory.settings.max_pixels)
        self._sessions[client.client_id] = Session(
            client, self._subject, self._post, pixels, read_only=wanted.read_only
        )


def _guarded(act: Callable[[], object]) -> None:
    """One visitor's trouble must not end the viewer of the others."""
    try:
        act()
    except Exception:
        _LOG.exception("the viewer met a fault, and goes on")


def _ticked(session: Session, now_s: float) -> float:
    try:
        return session.tick(now_s)
    except Exception:
        _LOG.exception("the viewer met a fault with one visitor, and goes on")
        return IDLE_S


def _no_tunnel(verbose: bool = True) -> str | None:
    return None


def _check_port(host: str, port: int) -> None:
    """Viser would take another port where this one is taken, and nobody would find it.

    Raises:
        ViewerError: it cannot be bound.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ViewerError(
            f"the viewer cannot listen on {host}:{port} ({error.strerror or error}): choose another viewer.port (0: "
            "any that is free), or a viewer.host of this machine"
        ) from error
