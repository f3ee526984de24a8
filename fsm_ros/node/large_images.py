# SPDX-License-Identifier: Apache-2.0
"""Whether a launch file should give Fast DDS room for large images; needs neither launch nor rclpy."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

PROFILES_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
SHARED_MEMORY = Path("/dev/shm")
SEGMENT_BYTES = 32 * 1024 * 1024
"""What config/fastdds_large_images.xml asks for, in every process."""
PROCESSES = 4
"""So many must find room: the node, a driver, a viewer and a command line."""
_FAST_DDS = ("rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")
_OWN_CHOICE = (PROFILES_VARIABLE, "FASTDDS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")
_OWN_FILES = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")


def reason_against(environment: Mapping[str, str], folder: Path, shared_memory: Path = SHARED_MEMORY) -> str:
    """Why the profile for large images is not to be set unasked; empty where it is.

    Args:
        environment: the variables that processes are launched with.
        folder: the one that they are launched in: Fast DDS reads profiles from there.
        shared_memory: where segments lie.
    """
    middleware = environment.get("RMW_IMPLEMENTATION") or _FAST_DDS[0]
    if middleware not in _FAST_DDS:
        return f"the middleware is {middleware}, not Fast DDS"
    chosen = [name for name in _OWN_CHOICE if environment.get(name)]
    chosen += [str(folder / name) for name in _OWN_FILES if (folder / name).exists()]
    if chosen:
        return f"{chosen[0]} is there already"
    if not shared_memory.is_dir():
        return f"there is no {shared_memory}"
    free_bytes = shutil.disk_usage(shared_memory).free
    if free_bytes < PROCESSES * SEGMENT_BYTES:
        free, taken = free_bytes // 2**20, SEGMENT_BYTES // 2**20
        remedy = "free some, or start the container with --shm-size=512m"
        return f"{shared_memory} has {free} MiB left, and each process takes {taken}: {remedy}"
    return ""
