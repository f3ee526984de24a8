# SPDX-License-Identifier: Apache-2.0
"""When a launch gives Fast DDS room for large images by itself."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from fsm_ros.node.large_images import PROCESSES, SEGMENT_BYTES, SHARED_MEMORY, reason_against


def test_the_profile_asks_for_what_is_reckoned_with(repo_root: Path) -> None:
    profile = (repo_root / "config" / "fastdds_large_images.xml").read_text()
    assert re.findall(r"<segment_size>(\d+)</segment_size>", profile) == [str(SEGMENT_BYTES)]


@pytest.mark.parametrize("middleware", ["", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp"])
def test_with_fast_dds_and_room_the_profile_is_set(middleware: str, tmp_path: Path) -> None:
    assert reason_against({"RMW_IMPLEMENTATION": middleware, "HOME": "/root"}, tmp_path, tmp_path) == ""


@pytest.mark.parametrize(
    "environment",
    [
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "/etc/mine.xml"},
        {"FASTDDS_DEFAULT_PROFILES_FILE": "/etc/mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_what_the_user_chose_stays(environment: dict[str, str], tmp_path: Path) -> None:
    (name, value) = next(iter(environment.items()))
    reason = reason_against(environment, tmp_path, tmp_path)
    assert name in reason or value in reason


@pytest.mark.parametrize("name", ["DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml"])
def test_profiles_in_the_folder_stay(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<dds/>")
    assert name in reason_against({}, tmp_path, tmp_path)


def test_where_shared_memory_has_no_room_nothing_is_set_and_the_remedy_is_told(tmp_path: Path) -> None:
    assert "no " in reason_against({}, tmp_path, tmp_path / "nowhere")
    if not SHARED_MEMORY.is_dir():
        pytest.skip("no shared memory here")
    is_small = shutil.disk_usage(SHARED_MEMORY).free < PROCESSES * SEGMENT_BYTES
    reason = reason_against({}, tmp_path)
    assert ("--shm-size" in reason) is is_small and os.linesep not in reason
