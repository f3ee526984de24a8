# SPDX-License-Identifier: Apache-2.0
"""``python -m fsm_ros``: the command `fsm`."""

import sys

from fsm_ros.tools.fsm import main

sys.exit(main())
