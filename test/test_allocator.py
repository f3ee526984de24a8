# SPDX-License-Identifier: Apache-2.0
"""Memory that PyTorch frees stays with the process: measured by the page faults of the next allocation."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

VIEWS = """
import resource, sys, threading
from fsm_ros.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
import torch

def view():
    layer = torch.ones(16, 240, 320)
    for _ in range(4):
        layer = (layer * 0.5 + 1.0).relu()
    return layer.sum()

def faults():
    for _ in range(30):
        view()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        view()
    found.append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)

found = []
# A worker's thread, as in the node: threads have arenas of their own otherwise.
thread = threading.Thread(target=faults)
thread.start()
thread.join()
print(kept, found[0])
"""


def faults_of_a_view(which: str) -> tuple[str, float]:
    """What it said, and how many pages (of 4 kB) the system had to hand out for a view after thirty others."""
    clean = {
        n: v for n, v in os.environ.items() if not n.startswith("MALLOC_") and n not in ("LD_PRELOAD", "GLIBC_TUNABLES")
    }
    command = [sys.executable, "-c", VIEWS, which]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    said, count = done.stdout.split()
    return said, float(count)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such setting")
def test_what_a_view_took_serves_the_next_one_without_asking_the_system() -> None:
    said, kept = faults_of_a_view("kept")
    _, given_back = faults_of_a_view("given back")
    assert said == "True"
    if given_back < 500:
        pytest.skip("the system hands out pages so large that there is little to gain")
    assert kept < 0.1 * given_back
