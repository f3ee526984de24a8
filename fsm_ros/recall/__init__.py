# SPDX-License-Identifier: Apache-2.0
"""Recall: sharp views from a bounded set of photographs, placed by geometry that the fast weights know.

The fast weights tell roughly how far away everything is, and what nobody photographed looks like; the photographs give
the texture. PyTorch and NumPy only: no ROS, no OpenCV. Not of the paper.
"""
