# SPDX-License-Identifier: Apache-2.0
"""Makes the CMake files of the ROS wheels name this environment instead of the machine they were built on.

The wheels export targets with include directories of the build image (`/opt/python/cp312-cp312/...`), which
CMake refuses. Run with the Python of the environment; running it again changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

BUILD_IMAGE_NUMPY = re.compile(r"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_?core/include")
BUILD_IMAGE_PYTHON = re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")


def relocate(text: str, python_include: str, numpy_include: str) -> str:
    """Returns the text of a CMake file with the include directories of this environment."""
    text = BUILD_IMAGE_NUMPY.sub(lambda _: numpy_include, text)
    return BUILD_IMAGE_PYTHON.sub(lambda _: python_include, text)


def main() -> int:
    """Rewrites every CMake file below the environment's share/ and names those that still point elsewhere."""
    unknown = []
    for path in sorted(Path(sys.prefix, "share").rglob("*.cmake")):
        text = path.read_text(encoding="utf-8")
        moved = relocate(text, sysconfig.get_path("include"), np.get_include())
        if moved != text:
            path.write_text(moved, encoding="utf-8")
        if "/opt/python/" in moved:
            unknown.append(str(path))
    if unknown:
        print("relocate.py does not know the paths of the build machine that these CMake files name:")
        print("\n".join(unknown))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
