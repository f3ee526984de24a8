# SPDX-License-Identifier: Apache-2.0
"""How many images a second a recording has that does not say so."""

DEFAULT_FRAME_RATE_HZ = 30.0
"""Of frames that come without a time."""
