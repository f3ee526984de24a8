# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to the cameras: raw or compressed images, and their calibration."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.event_handler import QoSSubscriptionMatchedInfo, SubscriptionEventCallbacks
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from fsm_ros.configuration.settings import DepthUse, InputSettings, Reliability, Transport
from fsm_ros.node.delivery import Delivery
from fsm_ros.node.ingest import Ingest


class CameraSubscriptions:
    """Feeds the ingest from one or several cameras."""

    def __init__(self, node: Node, ingest: Ingest, settings: InputSettings, delivery: Delivery) -> None:
        """Subscribe.

        Args:
            node: the node; topics are relative to its namespace.
            ingest: where messages go.
            settings: which cameras, and how.
            delivery: told what the middleware does not deliver.
        """
        self._node = node
        self._delivery = delivery
        self._ingest = ingest
        self._transport = settings.transport
        self._qos = _sensor_qos(settings.reliability, settings.queue_size)
        self._images: dict[tuple[str, type[Image | CompressedImage]], Subscription] = {}
        self._infos: list[Subscription] = []
        self._depths: list[Subscription] = []
        self._publishing: dict[str, set[str]] = {}
        try:
            for name in settings.cameras:
                self._subscribe(name)
                if settings.depth is DepthUse.AUTO:
                    self._subscribe_depth(name)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in [*self._images.values(), *self._infos, *self._depths]:
            self._node.destroy_subscription(subscription)
        self._images.clear()
        self._infos.clear()
        self._depths.clear()

    @property
    def topics(self) -> list[str]:
        """Names of all subscribed topics of colour, remapped."""
        names = (subscription.topic_name for subscription in [*self._images.values(), *self._infos])
        return list(dict.fromkeys(names))

    def _subscribe(self, name: str) -> None:
        prefix = f"{name}/" if name else ""
        if self._transport in (Transport.AUTO, Transport.RAW):
            self._subscribe_images(name, Image, f"{prefix}image_raw")
        if self._transport in (Transport.AUTO, Transport.COMPRESSED):
            self._subscribe_images(name, CompressedImage, f"{prefix}image_raw/compressed")
        # A volatile subscription hears every publisher from now on; a transient-local one also what a latched
        # calibration said before. Who hears both keeps one of them, as they say the same.
        for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL):
            self._subscribe_infos(name, f"{prefix}camera_info", durability)

    def _subscribe_infos(self, name: str, topic: str, durability: DurabilityPolicy) -> None:
        latched = durability is DurabilityPolicy.TRANSIENT_LOCAL
        self._infos.append(
            self._node.create_subscription(
                CameraInfo,
                topic,
                lambda message: self._ingest.offer_info(name, message),
                _latched_qos(self._qos.depth) if latched else self._qos,
                # That a volatile publisher does not match the latched subscription is as it should be.
                event_callbacks=(
                    SubscriptionEventCallbacks(incompatible_qos=lambda _: None)
                    if latched
                    else self._delivery.events(topic)
                ),
                qos_overriding_options=None if latched else QoSOverridingOptions.with_default_policies(),
            )
        )

    def _subscribe_depth(self, name: str) -> None:
        depths, prefix = self._ingest.depths, f"{name}/depth/" if name else "depth/"

        def subscribe(
            kind: type, topic: str, callback: Callable[..., None], events: SubscriptionEventCallbacks
        ) -> None:
            overriding = QoSOverridingOptions.with_default_policies()
            self._depths.append(
                self._node.create_subscription(
                    kind, topic, callback, self._qos, event_callbacks=events, qos_overriding_options=overriding
                )
            )

        for kind, topic in ((Image, "image_rect_raw"), (CompressedImage, "image_rect_raw/compressedDepth")):
            events = self._delivery.events(f"{prefix}{topic}")
            events.matched = self._on_publishers(name, topic)
            subscribe(kind, f"{prefix}{topic}", lambda message: depths.offer_image(name, message), events)
        info = f"{prefix}camera_info"
        subscribe(CameraInfo, info, lambda message: depths.offer_info(name, message), self._delivery.events(info))

    def _on_publishers(self, name: str, topic: str) -> Callable[[QoSSubscriptionMatchedInfo], None]:
        """Tells whether anybody publishes depth of a camera, by either transport."""

        def on_matched(event: QoSSubscriptionMatchedInfo) -> None:
            publishing = self._publishing.setdefault(name, set())
            (publishing.add if event.current_count else publishing.discard)(topic)
            self._ingest.depths.published(name, is_published=bool(publishing))

        return on_matched

    def _subscribe_images(self, name: str, kind: type[Image | CompressedImage], topic: str) -> None:
        try:
            self._images[name, kind] = self._node.create_subscription(
                kind,
                topic,
                lambda message: self._on_image(name, message),
                self._qos,
                event_callbacks=self._delivery.events(topic),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        except InvalidTopicNameException as error:
            raise ValueError(f"camera {name!r} does not make a topic name: {error}") from error

    def _on_image(self, name: str, message: Image | CompressedImage) -> None:
        self._ingest.offer_image(name, message)
        if self._transport is Transport.AUTO:
            # The other transport would bring every frame a second time.
            other: type[Image | CompressedImage] = Image if isinstance(message, CompressedImage) else CompressedImage
            unused = self._images.pop((name, other), None)
            if unused is not None:
                self._node.destroy_subscription(unused)


def _sensor_qos(reliability: Reliability, depth: int) -> QoSProfile:
    best_effort = reliability is Reliability.BEST_EFFORT
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def _latched_qos(depth: int) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
