# SPDX-License-Identifier: Apache-2.0
"""What depth cameras of a rosbag measured: found for an image by its stamp, decoded, and posed by TF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rosbags.highlevel import AnyReader

from fsm_ros.messages.depths import decode_depth, depth_camera
from fsm_ros.sources.bags.cameras import CameraBag
from fsm_ros.sources.bags.index import Calibrations, ImageRecord, read_record
from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.bags.poses import BagPoses
from fsm_ros.sources.process_local import ProcessLocal
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.stream.depth import nearest_stamp
from fsm_ros.stream.frame import DepthImage
from fsm_ros.stream.transforms import TransformError


@dataclass(frozen=True, eq=False)
class BagDepth:
    """Depth beside the images of one camera; see `recorded.DepthReader`.

    Attributes:
        bag: where the depth images are.
        records: of them.
        calibrations: of them; None where the recording has none.
        colours: records of the camera's own images, by `RecordedFrame.index`.
        colour_calibrations: of these.
        poses: of each round.
        world_frame: that poses are in.
        start_ns: the moment that errors count from.
        reader: of the recording.
    """

    bag: CameraBag
    records: Sequence[ImageRecord]
    calibrations: Calibrations | None
    colours: Sequence[ImageRecord]
    colour_calibrations: Calibrations
    poses: Mapping[int, BagPoses]
    world_frame: str
    start_ns: int
    reader: ProcessLocal[AnyReader]

    @property
    def told(self) -> str:
        """Where it is, in words."""
        return f"{len(self.records)} depth images on {self.bag.image_topic}"

    def at(self, frame: RecordedFrame, tolerance_ns: int) -> DepthImage | None:
        """The depth image nearest to an image; None where none is so near.

        Raises:
            BagError: it cannot be decoded, its calibration cannot be used, or it has no pose.
        """
        colour = self.colours[frame.index]
        found = self._rounds.get(colour.round, [])
        place = nearest_stamp([each.stamp_ns for each in found], frame.stamp_ns, tolerance_ns)
        if place is None:
            return None
        record = found[place]
        try:
            pose = self.poses[record.round].world_from_camera(
                self.world_frame, record.frame_id, record.stamp_ns, self.start_ns
            )
            depth_m = decode_depth(read_record(self.reader.get(), self.bag, record))
            height, width = depth_m.shape
            camera = depth_camera(
                self.calibrations.at(record.stamp_ns) if self.calibrations else None,
                self.colour_calibrations.at(frame.stamp_ns),
                same_frame=record.frame_id == colour.frame_id,
                width=width,
                height=height,
            )
        except (TransformError, ValueError) as error:
            raise BagError(f"the depth image at {record.stamp_ns} ns cannot be used: {error}") from error
        return DepthImage(depth_m, camera, pose, record.stamp_ns)

    @cached_property
    def _rounds(self) -> Mapping[int, Sequence[ImageRecord]]:
        """The records of each round, by rising stamps."""
        rounds: dict[int, list[ImageRecord]] = {}
        for record in sorted(self.records, key=lambda record: record.stamp_ns):
            rounds.setdefault(record.round, []).append(record)
        return rounds
