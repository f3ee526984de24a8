# SPDX-License-Identifier: Apache-2.0
"""TF: where a frame was, seen from another one, at a moment.

Transforms are checked before they reach a buffer: tf2's own, or, where tf2_ros is not installed, one with the same
interpolation. Look-ups never wait.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Protocol

import numpy as np
import rclpy.duration
import rclpy.time
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

from fsm_ros.messages.stamps import NANOSECONDS, stamp_to_ns
from fsm_ros.node.conversions import matrix
from fsm_ros.node.delivery import Delivery
from fsm_ros.stream.frame import validate_rigid
from fsm_ros.stream.transform_buffer import TransformBuffer
from fsm_ros.stream.transforms import BadTransformError, StampedTransform, TransformError

try:  # a ROS machine has tf2_ros; it is not on PyPI
    import tf2_ros
except ImportError:
    tf2_ros = None


class Backend(Protocol):
    """What keeps transforms and interpolates them."""

    def insert(self, transform: TransformStamped, *, is_static: bool) -> None:
        """Remember one transform."""

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> NDArray[np.float64]:
        """``target_from_source`` ``[4, 4]``; ``None``: the latest. Raises ``TransformError``."""

    def clear(self) -> None:
        """Forget all transforms that are not static."""


class PipBackend:
    """Our buffer, for machines without tf2_ros."""

    def __init__(self, cache_s: float) -> None:
        """Args: how long transforms are kept."""
        self._buffer = TransformBuffer(cache_s)

    def insert(self, transform: TransformStamped, *, is_static: bool) -> None:
        """Remember one transform."""
        t, q = transform.transform.translation, transform.transform.rotation
        self._buffer.insert(
            StampedTransform(
                parent=transform.header.frame_id,
                child=transform.child_frame_id,
                stamp_ns=stamp_to_ns(transform.header.stamp),
                translation=(t.x, t.y, t.z),
                quaternion=(q.x, q.y, q.z, q.w),
                is_static=is_static,
            )
        )

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> NDArray[np.float64]:
        """``target_from_source``."""
        return self._buffer.target_from_source(target, source, stamp_ns)

    def clear(self) -> None:
        """Forget all transforms that are not static."""
        self._buffer.clear()


class Tf2Backend:
    """tf2's buffer."""

    def __init__(self, cache_s: float) -> None:
        """Args: how long transforms are kept."""
        self._cache = rclpy.duration.Duration(seconds=cache_s)
        self._static: dict[str, TransformStamped] = {}
        self._buffer = tf2_ros.Buffer(cache_time=self._cache)

    def insert(self, transform: TransformStamped, *, is_static: bool) -> None:
        """Remember one transform."""
        if is_static:
            self._static[transform.child_frame_id] = transform
            self._buffer.set_transform_static(transform, "fsm")
        else:
            self._buffer.set_transform(transform, "fsm")

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> NDArray[np.float64]:
        """``target_from_source``."""
        time = rclpy.time.Time(nanoseconds=stamp_ns or 0)
        try:
            found = self._buffer.lookup_transform(target, source, time)
        except tf2_ros.TransformException as error:
            raise TransformError(str(error)) from error
        return matrix(found.transform.translation, found.transform.rotation)

    def clear(self) -> None:
        """Forget all transforms that are not static."""
        self._buffer = tf2_ros.Buffer(cache_time=self._cache)
        for transform in self._static.values():
            self._buffer.set_transform_static(transform, "fsm")


class PoseSource:
    """Subscribes to /tf and /tf_static and answers look-ups. Look-ups may come from any thread."""

    def __init__(self, node: Node, cache_s: float, rendered_frame: str | None, delivery: Delivery) -> None:
        """Subscribe on a node.

        Args:
            node: the node.
            cache_s: how long transforms are kept.
            delivery: told what the middleware does not deliver.
            rendered_frame: the frame that the node itself publishes for rendered views, which it does not listen to: it
                is where somebody wanted to look from, and no pose of the robot. ``None`` where it publishes none.
        """
        self._node = node
        self._cache_ns = round(cache_s * NANOSECONDS)
        self._backend: Backend = PipBackend(cache_s) if tf2_ros is None else Tf2Backend(cache_s)
        self._lock = threading.Lock()
        self._rendered_frame = rendered_frame
        self._newest: dict[str, int] = {}
        self._parents: dict[str, str] = {}
        self._bad: dict[str, str] = {}
        self._bad_count = 0
        self._received = 0
        dynamic = QoSProfile(depth=100)
        static = QoSProfile(
            depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
        )
        # Absolute names: TF is one tree for the whole robot, and remapped where it is not.
        self._subscriptions: list[Subscription] = [
            node.create_subscription(
                TFMessage,
                topic,
                partial(self._on_message, is_static=is_static),
                qos,
                event_callbacks=delivery.events(topic),
            )
            for topic, qos, is_static in (("/tf", dynamic, False), ("/tf_static", static, True))
        ]

    @property
    def received(self) -> int:
        """Transforms that arrived."""
        return self._received

    @property
    def refused(self) -> int:
        """Transforms that were no pose: not finite, or of a zero quaternion."""
        return self._bad_count

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def clear(self) -> None:
        """Forget all transforms that are not static: the clock jumped."""
        with self._lock:
            self._forget()
            self._bad.clear()

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> NDArray[np.float64]:
        """``target_from_source`` ``[4, 4]``, at a moment or the latest.

        Raises:
            BadTransformError: the links are known, and add up to more than a float holds.
            TransformError: not known (yet); the message says which link is missing.
        """
        if target == source:
            return np.eye(4)
        with self._lock:
            try:
                found = self._backend.lookup(target.lstrip("/"), source.lstrip("/"), stamp_ns)
                validate_rigid(found)
            except ValueError as error:
                raise BadTransformError(f"{source!r} -> {target!r}: {error}") from error
            return found

    def bad_reason(self, target: str, source: str) -> str | None:
        """Why a transform on the way between two frames was refused, where it is the latest that was said of it."""
        with self._lock:
            frames = [*self._ancestry(source.lstrip("/")), *self._ancestry(target.lstrip("/"))]
            return next((self._bad[frame] for frame in frames if frame in self._bad), None)

    def _ancestry(self, frame: str) -> list[str]:
        """A frame and all above it, as far as they are known."""
        names = [frame]
        while (parent := self._parents.get(names[-1])) is not None and parent not in names:
            names.append(parent)
        return names

    def _forget(self) -> None:
        self._backend.clear()
        self._newest.clear()

    def _on_message(self, message: TFMessage, *, is_static: bool) -> None:
        for transform in message.transforms:
            if transform.child_frame_id.lstrip("/") != self._rendered_frame:
                self._insert(transform, is_static=is_static)

    def _insert(self, transform: TransformStamped, *, is_static: bool) -> None:
        # Names of tf, the one before tf2, began with a slash.
        transform.child_frame_id = child = transform.child_frame_id.lstrip("/")
        transform.header.frame_id = transform.header.frame_id.lstrip("/")
        with self._lock:
            self._received += 1
            try:
                matrix(transform.transform.translation, transform.transform.rotation)
                if not child or not transform.header.frame_id or child == transform.header.frame_id:
                    raise ValueError(f"frames {transform.header.frame_id!r} and {child!r} do not make a link")
            except ValueError as error:
                self._bad_count += 1
                self._bad[child] = f"{transform.header.frame_id} -> {child}: {error}"
                return
            self._bad.pop(child, None)
            self._parents[child] = transform.header.frame_id
            if not is_static:
                stamp = stamp_to_ns(transform.header.stamp)
                newest = self._newest.get(child, stamp)
                if stamp < newest - self._cache_ns:
                    # A bag that was started again: its old transforms would be refused as expired.
                    self._forget()
                    newest = stamp
                self._newest[child] = max(newest, stamp)
            self._backend.insert(transform, is_static=is_static)
