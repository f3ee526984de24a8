# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium for the tests that open a page, driven by Playwright; what leaves the machine is kept."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from deadline import DEADLINE_S
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed; scripts/bootstrap installs Chromium"
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    # No name leads anywhere, so that what a page asks for never reaches it.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
HERE = ("127.0.0.1", "localhost", "")
DEADLINE_MS = 1e3 * DEADLINE_S


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Starts a browser; the caller's tests are skipped where none is installed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=[*ARGUMENTS, *arguments], timeout=DEADLINE_MS
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A browser's window and all that its page said and asked for."""

    def __init__(self, browser: Browser, *, width: int, height: int, dark: bool = False) -> None:
        """Opens an empty page of so many pixels."""
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        self.context.set_default_timeout(DEADLINE_MS)
        self.console: list[str] = []
        """Errors that the page logged or did not catch."""
        self.asked_for: set[str] = set()
        """Addresses beyond this machine that it tried to reach; what its own rules refuse is never asked for."""
        self.context.route("**/*", self._routed)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.console.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("websocket", lambda socket: self._asked(socket.url))

    def _asked(self, url: str) -> bool:
        parts = urlsplit(url)
        here = parts.scheme in ("data", "blob", "file") or (parts.hostname or "") in HERE
        if not here:
            self.asked_for.add(url)
        return here

    def _routed(self, route: Route) -> None:
        if self._asked(route.request.url):
            route.continue_()
        else:
            route.abort()
