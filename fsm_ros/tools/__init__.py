# SPDX-License-Identifier: Apache-2.0
"""Command line tools beside the node: they play to it, ask it, and document it."""

MEMORY_NODE = "/fsm"
"""Full name of the node where nobody gives it another."""
