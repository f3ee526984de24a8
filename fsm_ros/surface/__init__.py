"""Surfaces from the depth of kept keyframes: points that several agree on, meshes, files."""
