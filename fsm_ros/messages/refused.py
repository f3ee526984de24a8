# SPDX-License-Identifier: Apache-2.0
"""A message that holds no image we can use."""

from __future__ import annotations

from fsm_ros.errors import FsmError
from fsm_ros.stream.ledger import Refusal


class ImageRefusedError(FsmError, ValueError):
    """A message that holds no image we can use.

    Attributes:
        refusal: the reason under which the frame is counted.
    """

    def __init__(self, refusal: Refusal, message: str) -> None:
        """Args: the reason to count, and the cause for people."""
        super().__init__(message)
        self.refusal = refusal


def unsupported(cause: str) -> ImageRefusedError:
    """An encoding that is not known, or that holds no picture."""
    return ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, cause)


def unreadable(cause: str) -> ImageRefusedError:
    """Bytes that are no image, or only a part of one."""
    return ImageRefusedError(Refusal.UNREADABLE_IMAGE, cause)
