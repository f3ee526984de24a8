# SPDX-License-Identifier: Apache-2.0
"""Recordings made: of posed images that are no bag, and of drives through procedural scenes."""
