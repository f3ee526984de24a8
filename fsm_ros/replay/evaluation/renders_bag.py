# SPDX-License-Identifier: Apache-2.0
"""The renders of an evaluation as a recording, to scrub through in RViz or Foxglove."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.evaluation.aligned import AlignedView, aligned_views
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Baseline, Metric, Run, ViewResult
from fsm_ros.replay.evaluation.summary import measured_metrics
from fsm_ros.replay.recording.bag_writer import (
    IMAGE_TYPE,
    INFO_TYPE,
    NUMBER_TYPE,
    TF_TOPIC,
    TF_TYPE,
    BagWriter,
    camera_info,
    image,
    number,
    transform,
    transforms,
)
from fsm_ros.stream.frame import Camera

VIEW_FRAME = "fsm_view_optical_frame"
TRUTH, NEAREST = "truth", "nearest"


def write_renders_bag(path: Path, runs: Sequence[Run]) -> None:
    """Write a rosbag2 folder (mcap) of the held-out views, as a whole or not at all.

    It has ``/truth/image`` and ``/truth/camera_info``; the same for each setting, ``/<setting>/image``, and for the
    nearest keyframe, ``/nearest/image``, with a topic for each metric (``/<setting>/psnr``, std_msgs/Float64); and on
    ``/tf`` the camera, as `VIEW_FRAME` in the memory's frame.

    Args:
        path: the folder to write, or to replace.
        runs: of one recording.

    Raises:
        ValueError: no held-out view was rendered, or the runs are of several recordings.
        FileExistsError: there is something else at `path`.
        OSError: it cannot be written.
    """
    views = aligned_views(runs)
    if not views:
        raise ValueError("no held-out view was rendered: there is nothing to record")
    check_replaceable(path)
    found = measured_metrics(runs)
    names = topic_names([run.setting for run in runs])
    nearest = any(view.nearest() is not None for view in views)
    with replacing(path) as draft, BagWriter(draft) as bag:
        bag.declare(TF_TOPIC, TF_TYPE, depth=100)
        for name in [TRUTH, *names, *([NEAREST] if nearest else [])]:
            bag.declare(f"/{name}/image", IMAGE_TYPE)
            bag.declare(f"/{name}/camera_info", INFO_TYPE)
            for metric in found if name != TRUTH else ():
                bag.declare(f"/{name}/{metric.value}", NUMBER_TYPE)
        for view in views:
            _write(bag, view, runs, names)


def check_replaceable(path: Path) -> None:
    """Refuse to replace what is no recording.

    Raises:
        FileExistsError: there is something else at `path`.
    """
    if path.exists() and not (path / "metadata.yaml").is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} is there and is no recording: remove it, or choose another folder")


def topic_names(settings: Sequence[str]) -> list[str]:
    """A part of a ROS topic name for each setting: letters, digits and underscores, apart from each other.

    See https://design.ros2.org/articles/topic_and_service_names.html.
    """
    taken, names = {TRUTH, NEAREST, TF_TOPIC.strip("/")}, []
    for setting in settings:
        plain = re.sub("_+", "_", re.sub("[^A-Za-z0-9_]", "_", setting)).strip("_") or "setting"
        plain = f"setting_{plain}" if plain[0].isdigit() else plain
        name, count = plain, 1
        while name in taken:
            count += 1
            name = f"{plain}_{count}"
        taken.add(name)
        names.append(name)
    return names


def _write(bag: BagWriter, view: AlignedView, runs: Sequence[Run], names: Sequence[str]) -> None:
    """The messages of one view, all at its moment; the pose first, so that a viewer has it for the images."""
    stamp_ns, result = view.stamp_ns, view.pose
    pose = transform(runs[0].world_frame, VIEW_FRAME, _world_from_camera(result), stamp_ns)
    bag.write(TF_TOPIC, stamp_ns, transforms(pose))
    info = camera_info(_camera(view), stamp_ns, VIEW_FRAME)
    _write_picture(bag, TRUTH, stamp_ns, view.truth, info)
    for name, answer, picture in zip(names, view.results, view.renders, strict=True):
        if answer is not None and picture is not None:
            _write_picture(bag, name, stamp_ns, picture, info, answer.render)
    shown = view.nearest()
    if shown is not None:
        place = next(place for place, found in enumerate(view.baselines) if Baseline.NEAREST in found)
        of_nearest = view.results[place]
        scores = {} if of_nearest is None else of_nearest.baselines.get(Baseline.NEAREST, {})
        _write_picture(bag, NEAREST, stamp_ns, shown, info, scores)


def _write_picture(
    bag: BagWriter,
    name: str,
    stamp_ns: int,
    picture: NDArray[np.uint8],
    info: object,
    scores: Mapping[Metric, float] | None = None,
) -> None:
    """A picture, its calibration beside it as image viewers want it, and how good it is."""
    bag.write(f"/{name}/image", stamp_ns, image(np.ascontiguousarray(picture), stamp_ns, VIEW_FRAME))
    bag.write(f"/{name}/camera_info", stamp_ns, info)
    for metric, score in (scores or {}).items():
        if np.isfinite(score):
            bag.write(f"/{name}/{metric.value}", stamp_ns, number(score))


def _world_from_camera(result: ViewResult) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(result.quaternion).as_matrix()
    pose[:3, 3] = result.position
    return pose


def _camera(view: AlignedView) -> Camera:
    height, width = view.truth.shape[:2]
    fx, fy, cx, cy = (float(value) for value in view.fxfycxcy)
    return Camera(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)
