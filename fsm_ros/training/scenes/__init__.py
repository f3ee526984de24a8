# SPDX-License-Identifier: Apache-2.0
"""An endless, seeded supply of 4D scenes with exact poses and times, ray-traced in batches in pure PyTorch."""

from fsm_ros.training.scene_settings import Family, SceneSettings, Split
from fsm_ros.training.scenes.source import Clips, DrawnScene, SceneSource
from fsm_ros.training.scenes.trajectory import Trajectory
from fsm_ros.training.scenes.worlds import Worlds

__all__ = ["Clips", "DrawnScene", "Family", "SceneSettings", "SceneSource", "Split", "Trajectory", "Worlds"]
