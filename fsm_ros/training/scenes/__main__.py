# SPDX-License-Identifier: Apache-2.0
"""Writes a contact sheet of scenes: ``python -m fsm_ros.training.scenes --out sheet.png``."""

import sys

from fsm_ros.training.scene_sheet import main

if __name__ == "__main__":
    sys.exit(main())
