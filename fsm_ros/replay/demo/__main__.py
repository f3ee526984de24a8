# SPDX-License-Identifier: Apache-2.0
"""What ``python -m fsm_ros.replay.demo`` and ``scripts/demo`` run."""

import sys

from fsm_ros.replay.demo.command import main

sys.exit(main())
