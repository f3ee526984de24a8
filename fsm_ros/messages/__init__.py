# SPDX-License-Identifier: Apache-2.0
"""What messages say, as values: images, calibrations, stamps.

Of rclpy and of rosbags alike, whose message objects have the same fields; neither is imported here, so that live and
recorded input are understood by the same lines.
"""
