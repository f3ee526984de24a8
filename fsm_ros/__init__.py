# SPDX-License-Identifier: Apache-2.0
"""fsm_ros: a fast spatial memory for robots, by elastic test-time training (arXiv 2604.07350)."""

__version__ = "0.1.0"
