# SPDX-License-Identifier: Apache-2.0
"""Parameters of the viewer; light, as command lines read defaults off them."""

from __future__ import annotations

from dataclasses import dataclass

from fsm_ros.parameter import Checked, parameter


@dataclass(frozen=True)
class ViewerSettings(Checked):
    """A page in the browser that shows the memory."""

    enabled: bool = parameter(False, "viewer.enabled", "Serve a page in which people fly through the memory.")
    host: str = parameter(
        "127.0.0.1",
        "viewer.host",
        "Where it listens: 127.0.0.1: for this machine alone; 0.0.0.0: for all who reach it, without a password.",
    )
    port: int = parameter(8080, "viewer.port", "Its port; 0: any that is free.", "", 0, 65535)
    read_only: bool = parameter(
        False, "viewer.read_only", "Nobody pauses, resets, saves or loads the memory from there."
    )
    pixels: int = parameter(
        320 * 240, "viewer.pixels", "Pixels of its pictures once nothing moves.", "px", 1024, 67_108_864
    )
