# SPDX-License-Identifier: Apache-2.0
"""From a camera stream to chunks of posed keyframes: NumPy, OpenCV and Pillow only, no ROS and no torch."""
