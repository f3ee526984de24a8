# SPDX-License-Identifier: Apache-2.0
"""The parameters of the memory and its stream: declared once, and turned into settings of the parts; no ROS."""
