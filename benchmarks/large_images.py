# SPDX-License-Identifier: Apache-2.0
"""How many raw images of a camera arrive on one machine, by the transports of Fast DDS and by QoS.

A publisher in a process of its own sends 640x480 rgb8 images (0.9 MB) with their camera_info at 30 Hz; a subscriber in
another one counts them, and by how much the camera_info is later than its image. The transports are chosen by
FASTDDS_BUILTIN_TRANSPORTS in both processes, or by the profile config/fastdds_large_images.xml in one of them or both.

    python benchmarks/large_images.py [--seconds 10] [--rate 30] [--json FILE]
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from fsm_ros.node.large_images import PROFILES_VARIABLE, reason_against
from fsm_ros.replay.demo.ros_domain import LAST, free_domain

WIDTH, HEIGHT = 640, 480
PROFILE = {PROFILES_VARIABLE: str(Path(__file__).resolve().parent.parent / "config/fastdds_large_images.xml")}
AS_LAUNCHED = {} if reason_against(os.environ, Path.cwd()) else PROFILE
"""What launch/fsm.launch.py sets by default, for the node and for a driver that is launched after it."""
SETTINGS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    **{name: ({"FASTDDS_BUILTIN_TRANSPORTS": name},) * 2 for name in ("DEFAULT", "LARGE_DATA", "UDPv4")},
    "default launch": (AS_LAUNCHED, AS_LAUNCHED),
    "default launch, driver elsewhere": ({}, AS_LAUNCHED),
    "profile of the driver only": (PROFILE, {}),
}
"""Variables of the publisher's and of the subscriber's environment."""
TOPIC = "large_images/image_raw"


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=30.0, help="images a second (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--publish", choices=["reliable", "best_effort"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish is not None:
        return _publish(options.publish, options.seconds, options.rate)
    found = []
    print("| transports | QoS | sent | received | share | camera_info late, at most |\n|---|---|---|---|---|---|")
    for transports in SETTINGS:
        for reliability in ("best_effort", "reliable"):
            sent, received, late_s = _measured(transports, reliability, options.seconds, options.rate)
            found.append(
                {"transports": transports, "qos": reliability, "sent": sent, "received": received, "late_s": late_s}
            )
            share = received / max(sent, 1)
            print(f"| {transports} | {reliability} | {sent} | {received} | {share:.1%} | {late_s:.3f} s |", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _measured(transports: str, reliability: str, seconds: float, rate: float) -> tuple[int, int, float]:
    domain = str(free_domain(range(os.getpid() % LAST, os.getpid() % LAST + LAST)))
    environment = os.environ | {
        "ROS_DOMAIN_ID": domain,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    of_publisher, of_subscriber = (environment | added for added in SETTINGS[transports])
    command = [sys.executable, __file__, "--seconds", str(seconds), "--rate", str(rate), "--publish", reliability]
    # The subscriber is a child, too: transports are chosen when the library is loaded.
    counter = [sys.executable, "-c", _COUNTER, TOPIC, reliability, str(seconds + 8.0)]
    with subprocess.Popen(counter, env=of_subscriber, stdout=subprocess.PIPE, text=True) as listening:
        sent = subprocess.run(command, env=of_publisher, stdout=subprocess.PIPE, text=True, check=True).stdout
        received, late_s = listening.communicate()[0].split()
    return int(sent), int(received), float(late_s)


_COUNTER = """
import sys, time, rclpy
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
topic, reliability, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
rclpy.init()
node = rclpy.create_node("counter")
arrived, late_s = {}, [0.0]
def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec
def heard(image):
    arrived[stamp(image)] = time.monotonic()
def told(info):
    if stamp(info) in arrived:
        late_s.append(time.monotonic() - arrived[stamp(info)])
qos = QoSProfile(depth=30, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy[reliability.upper()])
node.create_subscription(Image, topic, heard, qos)
node.create_subscription(CameraInfo, "large_images/camera_info", told, qos)
end = time.monotonic() + seconds
while time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
print(len(arrived), max(late_s))
"""


def _publish(reliability: str, seconds: float, rate: float) -> int:
    rclpy.init()
    node = Node("camera")
    qos = QoSProfile(depth=5, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy[reliability.upper()])
    publisher = node.create_publisher(Image, TOPIC, qos)
    infos = node.create_publisher(CameraInfo, "large_images/camera_info", qos)
    image = Image(width=WIDTH, height=HEIGHT, encoding="rgb8", step=3 * WIDTH)
    image.data = array.array("B", os.urandom(3 * WIDTH * HEIGHT))
    deadline = time.monotonic() + 5.0
    while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    begun, sent = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)
        infos.publish(CameraInfo(header=image.header, width=WIDTH, height=HEIGHT))
        sent += 1
        time.sleep(max(0.0, begun + sent / rate - time.monotonic()))
    time.sleep(1.0)
    print(sent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
