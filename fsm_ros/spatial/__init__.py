# SPDX-License-Identifier: Apache-2.0
"""What a stream of chunks becomes: the memory of one scene, and what can be asked of it.

Synchronous and deterministic, without threads and without ROS; :mod:`fsm_ros.engine` puts it on a thread of its own.
"""
