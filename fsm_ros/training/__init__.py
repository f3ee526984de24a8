# SPDX-License-Identifier: Apache-2.0
"""Training of the slow weights: procedural scenes, recordings, and a trainer for one core or many machines.

Nothing here needs ROS.
"""
