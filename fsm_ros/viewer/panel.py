# SPDX-License-Identifier: Apache-2.0
"""One visitor's panel: what can be chosen and pressed, and what is told. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import viser

from fsm_ros.viewer.wish import Mode

T = TypeVar("T")
SLIDER_STEP_S = 0.05
EMPTY = "**Nothing has been observed yet.**"


@dataclass(frozen=True)
class Presses:
    """What happens where something is pressed or changed; called from any thread."""

    changed: Callable[[], None]
    time_chosen: Callable[[], None]
    play: Callable[[], None]
    go_to_camera: Callable[[], None]
    snapshot: Callable[[], None]
    film: Callable[[], None]
    pause: Callable[[], None]
    reset: Callable[[], None]
    save: Callable[[], None]
    load: Callable[[], None]


class Panel:
    """The widgets of one visitor; belongs to the viewer's thread."""

    def __init__(self, client: viser.ClientHandle, presses: Presses, *, read_only: bool) -> None:
        """Lay it out.

        Args:
            client: the visitor.
            presses: what happens.
            read_only: whether the memory cannot be changed from here.
        """
        gui = client.gui
        self._gui = gui
        gui.set_panel_label("fast spatial memory")
        self.theme(dark=True)
        self.trouble = gui.add_markdown("")
        tabs = gui.add_tab_group()
        with tabs.add_tab("View", viser.Icon.EYE):
            self.mode = gui.add_dropdown("show", [mode.value for mode in Mode], hint="What the picture is made of.")
            self.beside = gui.add_checkbox("side by side", False, hint="With the nearest keyframe.")
            self.time = gui.add_slider("time, s", 0.0, 1.0, SLIDER_STEP_S, 0.0, hint="The moment that is looked at.")
            self.newest = gui.add_checkbox("newest moment", True, hint="Follow what is observed.")
            self.play = gui.add_button("Play the robot's path", icon=viser.Icon.PLAYER_PLAY)
            self.go = gui.add_button("Go to the camera", icon=viser.Icon.CAMERA)
            self.snapshot = gui.add_button("Snapshot (PNG)", icon=viser.Icon.PHOTO)
            self.film = gui.add_button("Record a path (MP4)", icon=viser.Icon.VIDEO)
            with gui.add_folder("Beside the picture", expand_by_default=False):
                self.keyframes = gui.add_checkbox("keyframes", True, hint="Those in use are orange; click to go there.")
                self.live = gui.add_checkbox("live camera", True)
                self.submaps = gui.add_checkbox("submaps", False)
                self.dark = gui.add_checkbox("dark", True)
        with tabs.add_tab("Memory", viser.Icon.DATABASE):
            self.numbers = gui.add_markdown("")
            self.pause = gui.add_button("Pause", icon=viser.Icon.PLAYER_PAUSE, visible=False)
            if not read_only:
                self.name = gui.add_text("file", "memory", hint="Below the node's storage_dir.")
                self.save = gui.add_button("Save", icon=viser.Icon.DEVICE_FLOPPY)
                self.load = gui.add_button("Load", icon=viser.Icon.FOLDER_OPEN)
                self.reset = gui.add_button("Forget everything", icon=viser.Icon.TRASH, color="red")
                for button, press in ((self.save, presses.save), (self.load, presses.load)):
                    _on_press(button, press)
                _on_press(self.reset, lambda: self._confirm(presses.reset))
                _on_press(self.pause, presses.pause)
        self._read_only = read_only
        for button, press in (
            (self.play, presses.play),
            (self.go, presses.go_to_camera),
            (self.snapshot, presses.snapshot),
            (self.film, presses.film),
        ):
            _on_press(button, press)
        for input_ in (self.mode, self.beside, self.newest, self.keyframes, self.live, self.submaps, self.dark):
            _on_change(input_, presses.changed)
        _on_change(self.time, presses.time_chosen)

    def theme(self, *, dark: bool) -> None:
        """Dark or light."""
        self._gui.configure_theme(
            dark_mode=dark, show_logo=False, show_share_button=False, brand_color=(25, 113, 194), control_width="medium"
        )

    def tell_span(self, seconds: float) -> None:
        """How long the time slider is."""
        seconds = max(SLIDER_STEP_S, round(seconds / SLIDER_STEP_S) * SLIDER_STEP_S)
        if abs(self.time.max - seconds) > 0.5 * SLIDER_STEP_S:
            if self.time.value > seconds:
                set_value(self.time, seconds)
            self.time.max = seconds

    def tell(self, trouble: str, numbers: Mapping[str, str], *, is_paused: bool, is_live: bool) -> None:
        """What is wrong, and the numbers."""
        if self.trouble.content != trouble:
            self.trouble.content = trouble
        table = "".join(f"| {name} | {value} |\n" for name, value in numbers.items())
        told = f"| | |\n|---|---|\n{table}"
        if self.numbers.content != told:
            self.numbers.content = told
        label = "Take frames again" if is_paused else "Pause"
        if self.pause.label != label:
            self.pause.label = label
        can_pause = is_live and not self._read_only
        if self.pause.visible != can_pause:
            self.pause.visible = can_pause

    def _confirm(self, press: Callable[[], None]) -> None:
        modal = self._gui.add_modal("Forget everything?")
        with modal:
            self._gui.add_markdown("The memory will be empty. A memory that was saved can be loaded again.")
            forget, keep = self._gui.add_button("Forget", color="red"), self._gui.add_button("Keep")
        for button in (forget, keep):
            _on_press(button, modal.close)
        _on_press(forget, press)


def set_value(handle: viser.GuiInputHandle[T], value: T) -> None:
    """Assign a widget's value, which mypy takes for read-only: its setter does not stand next to its getter."""
    handle.value = value  # type: ignore[misc]


# The callbacks are coroutines, which viser runs on its own loop: others would get threads, one each at worst.


def _on_press(button: viser.GuiButtonHandle, press: Callable[[], None]) -> None:
    @button.on_click
    async def _(event: object) -> None:
        press()


def _on_change(
    handle: viser.GuiInputHandle[str] | viser.GuiInputHandle[bool] | viser.GuiInputHandle[float],
    change: Callable[[], None],
) -> None:
    async def changed(event: object) -> None:
        change()

    handle.on_update(changed)
