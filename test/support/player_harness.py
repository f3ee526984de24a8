# SPDX-License-Identifier: Apache-2.0
"""play_bag as a process of its own, and a subscriber that keeps everything it hears, as bytes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from deadline import DEADLINE_S
from node_harness import free_domain
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

START_NS = 1_748_779_200_000_000_000
IMAGE, INFO, CHATTER = "/camera/image_raw", "/camera/camera_info", "/chatter"

Recorded = dict[str, list[bytes]]


def on_the_wire(raw: bytes) -> bytes:
    """A serialized message as DDS delivers it: filled up to a multiple of four bytes (RTPS 2.2, 9.4.2.12)."""
    return raw + bytes(-len(raw) % 4)


class Listener:
    """A node in this process that keeps everything it hears, as bytes."""

    def __init__(self, domain_id: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = Node("listener", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin)
        self._closing = threading.Event()
        self.heard: Recorded = {}
        self._thread.start()

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def subscribe(self, topic: str, kind: type[Any], latched: bool = False) -> None:
        self.heard.setdefault(topic, [])
        profile = QoSProfile(
            depth=1000,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._node.create_subscription(kind, topic, self.heard[topic].append, profile, raw=True)
        self._executor.wake()

    def topics(self) -> set[str]:
        return {name for name, _ in self._node.get_topic_names_and_types()}

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def domain_id(monkeypatch: pytest.MonkeyPatch) -> int:
    """A DDS domain that no other test is in."""
    domain = free_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return domain


@pytest.fixture
def listener(domain_id: int) -> Iterator[Listener]:
    listener = Listener(domain_id)
    yield listener
    listener.close()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "fsm_ros.tools.play_bag", *map(str, arguments)]


def play(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts play_bag without waiting for its end."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()
