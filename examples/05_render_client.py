# SPDX-License-Identifier: Apache-2.0
"""A client of a running node: asks ~/render for a view, and saves it. It needs ROS 2 and fsm_ros_msgs, and no PyTorch.

    ros2 launch fsm_ros fsm.launch.py camera:=/camera &
    python examples/05_render_client.py [TF_FRAME]

The view is that from the origin of a TF frame, along its z: with the optical frame of the camera, what it sees now; by
default from the origin of map. Writes out/client.png.
"""

import sys
from pathlib import Path

import numpy as np
import rclpy
from PIL import Image

from fsm_ros_msgs.srv import RenderView

TIMEOUT_S = 30.0

rclpy.init()
node = rclpy.create_node("render_client")
client = node.create_client(RenderView, "/fsm/render")
if not client.wait_for_service(TIMEOUT_S):
    sys.exit("there is no service /fsm/render: is the node running, and active?")

request = RenderView.Request()
request.pose.header.frame_id = sys.argv[1] if len(sys.argv) > 1 else "map"
request.pose.pose.orientation.w = 1.0
future = client.call_async(request)
rclpy.spin_until_future_complete(node, future, timeout_sec=TIMEOUT_S)
answer = future.result()
if answer is None:
    sys.exit(f"/fsm/render did not answer within {TIMEOUT_S:g} s")
if not answer.success:
    sys.exit(answer.message)

pixels = np.frombuffer(answer.image.data, np.uint8).reshape(answer.image.height, answer.image.width, 3)
Path("out").mkdir(exist_ok=True)
Image.fromarray(pixels).save("out/client.png")
print(f"out/client.png: after {answer.chunks_observed} chunks, {answer.recalled:.0%} from photographs")
node.destroy_node()
rclpy.shutdown()
