# SPDX-License-Identifier: Apache-2.0
"""Write rules side by side: how well each knows the first and the last chunk in the end, PSNR in dB.

    python examples/03_write_rules.py

What the fast weights know alone is compared (no photographs), in a single submap, so that every chunk is written over
the ones before it.
"""

import numpy as np

import a_room
import fsm_ros

RULES = (fsm_ros.Consolidation(), fsm_ros.ElasticRule(), fsm_ros.Plastic())

images, poses, camera, stamps_ns = a_room.arrays()
memory = fsm_ros.Memory({"memory.submaps": 1, "recall.keyframes": 0})


def psnr(report: fsm_ros.ObserveReport) -> float:
    """How well the views of a chunk are rendered now."""
    errors = [
        np.square(memory.render(each.world_from_camera, each.stamp_ns, each.camera).image / 255 - each.image / 255)
        for each in report.chunk.frames
    ]
    return float(-10 * np.log10(np.mean(errors)))


for rule in RULES:
    memory.reset()
    memory.set_rule(rule)
    reports: list[fsm_ros.ObserveReport] = []
    memory.observe_arrays(images, poses, camera, stamps_ns, on_report=reports.append)
    first, last = psnr(reports[0]), psnr(reports[-1])
    print(f"{type(rule).__name__:14} after {len(reports)} chunks: first {first:5.2f}, last {last:5.2f}")
