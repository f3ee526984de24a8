# SPDX-License-Identifier: Apache-2.0
"""Surfaces from the depth of kept keyframes: points that several agree on, meshes, files."""
