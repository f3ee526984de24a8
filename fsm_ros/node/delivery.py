# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the graph: topics whose QoS does not fit, messages lost on the way, two nodes of one name."""

from __future__ import annotations

from rclpy.event_handler import (
    QoSMessageLostInfo,
    QoSRequestedIncompatibleQoSInfo,
    SubscriptionEventCallbacks,
)
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind


class Delivery:
    """Listens to the events of subscriptions."""

    def __init__(self, node: Node) -> None:
        """Nothing is amiss yet. Args: whose log tells it."""
        self._node = node
        self._lost = 0
        self._mismatches: dict[str, str] = {}

    @property
    def lost(self) -> int:
        """Messages that were lost between publisher and subscription, as far as the middleware knows."""
        return self._lost

    @property
    def mismatch(self) -> str:
        """Which topics are published with a QoS that cannot be received, and the remedy; empty where none is."""
        if not self._mismatches:
            return ""
        told = ", ".join(f"{topic} ({policy.lower()})" for topic, policy in sorted(self._mismatches.items()))
        return (
            f"published with a QoS that this subscription cannot receive: {told}: set input.reliability, or override "
            "the topic's QoS (qos_overrides)"
        )

    def events(self, topic: str) -> SubscriptionEventCallbacks:
        """The event callbacks of a subscription. Args: its topic, for people."""

        def on_lost(event: QoSMessageLostInfo) -> None:
            self._lost += event.total_count_change

        def on_mismatch(event: QoSRequestedIncompatibleQoSInfo) -> None:
            is_new = topic not in self._mismatches
            self._mismatches[topic] = qos_policy_name_from_kind(event.last_policy_kind)
            if is_new:
                self._node.get_logger().warning(self.mismatch)

        return SubscriptionEventCallbacks(message_lost=on_lost, incompatible_qos=on_mismatch)


def name_taken(node: Node) -> str:
    """What to say where another node has a node's full name; empty where none has.

    As far as the graph is known here: nothing is waited for.
    """
    if node.get_node_names_and_namespaces().count((node.get_name(), node.get_namespace())) < 2:
        return ""
    return (
        f"another node is called {node.get_fully_qualified_name()} too, and requests reach either: give one of them "
        "another name (--ros-args -r __node:=NAME) or namespace (-r __ns:=/NAMESPACE); one that was killed is "
        "forgotten within a minute"
    )
