# SPDX-License-Identifier: Apache-2.0
"""What every exception of this package is."""


class FsmError(Exception):
    """Base of all exceptions that fsm_ros defines; their messages name the cause and the remedy."""
