# SPDX-License-Identifier: Apache-2.0
"""The robot's own path: through every known pose at its moment, and straight between them."""

from dataclasses import replace

import numpy as np
import pytest
from spatial_scenes import START_NS, S, a_chunk, at, looking, observe_all, small_memory

from fsm_ros.stream.chunker import Chunk
from fsm_ros.viewer.path import RobotPath


def test_it_leads_through_every_pose_at_its_moment_and_stays_at_its_ends() -> None:
    poses = np.stack([at(0.0), at(1.0, 2.0), looking(0.5)])
    path = RobotPath([START_NS, START_NS + S, START_NS + 3 * S], poses)
    assert path.duration_s == 3.0
    for seconds, pose in zip((-5, 0, 1, 3, 9), poses[[0, 0, 1, 2, 2]], strict=True):
        np.testing.assert_allclose(path.at(START_NS + seconds * S), pose, atol=1e-12)


def test_between_poses_it_is_straight_and_turns_evenly() -> None:
    path = RobotPath([START_NS, START_NS + 2 * S], np.stack([looking(0.0), looking(1.0)]))
    np.testing.assert_allclose(path.at(START_NS + S // 2), looking(0.25), atol=1e-9)
    path = RobotPath([START_NS, START_NS + 2 * S], np.stack([at(0.0), at(4.0, -2.0)]))
    np.testing.assert_allclose(path.at(START_NS + S), at(2.0, -1.0), atol=1e-9)


def test_one_pose_is_a_path_as_well() -> None:
    path = RobotPath([START_NS], at(1.0)[None])
    assert path.duration_s == 0.0
    np.testing.assert_array_equal(path.at(START_NS + S), at(1.0))


@pytest.mark.parametrize(
    ("stamps", "poses", "cause"),
    [
        ([], np.empty((0, 4, 4)), "as many stamps as poses"),
        ([1, 2], at()[None], "as many stamps as poses"),
        ([2, 1], np.stack([at(), at()]), "must ascend"),
        ([2, 2], np.stack([at(), at()]), "must ascend"),
    ],
)
def test_what_is_no_path_is_refused(stamps: list[int], poses: np.ndarray, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        RobotPath(stamps, poses)


def test_the_path_of_a_memory_is_that_of_the_camera_it_knows_most_of() -> None:
    memory = small_memory()
    assert RobotPath.of(memory) is None
    chunks = [a_chunk(i) for i in range(2)]
    other = Chunk(tuple(replace(frame, source="side", world_from_camera=at(0.2)) for frame in a_chunk(2).frames))
    observe_all(memory, [*chunks, other])
    path = RobotPath.of(memory)
    assert path is not None
    frames = [frame for chunk in chunks for frame in chunk.frames]
    assert (path.first_ns, path.last_ns) == (frames[0].stamp_ns, frames[-1].stamp_ns)
    np.testing.assert_allclose(path.at(frames[1].stamp_ns), frames[1].world_from_camera, atol=1e-9)
