"""From a camera stream to chunks of posed keyframes: NumPy, OpenCV and Pillow only, no ROS and no torch."""
