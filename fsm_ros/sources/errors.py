# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a recording."""

from __future__ import annotations

from fsm_ros.errors import FsmError


class SourceError(FsmError, RuntimeError):
    """A recording that cannot give what was asked of it; the message names the cause and the remedy.

    Attributes:
        argument: which argument of `opening.open_rig` would mend it, so that a program can name its own option;
            empty where none would.
    """

    def __init__(self, message: str, argument: str = "") -> None:
        """Args: the message, and the argument that would mend it."""
        super().__init__(message)
        self.argument = argument
