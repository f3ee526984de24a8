# SPDX-License-Identifier: Apache-2.0
"""fsm_ros: a fast spatial memory for robots, by elastic test-time training (arXiv 2604.07350).

The names below are all that a notebook needs; each is imported when it is first used (PEP 562), so that importing the
package costs nothing. What lies beneath them is told in docs/architecture.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fsm_ros.configuration.settings import Settings
    from fsm_ros.errors import FsmError
    from fsm_ros.facade import Memory
    from fsm_ros.memory.rules.consolidation import Consolidation
    from fsm_ros.memory.rules.elastic import ElasticRule
    from fsm_ros.memory.rules.plastic import Plastic
    from fsm_ros.sources.opening import open_rig as open_recording
    from fsm_ros.sources.rig import Rig
    from fsm_ros.spatial.results import FailureKind, ObserveReport, Rendered, RequestFailedError
    from fsm_ros.spatial.settings import RenderMethod
    from fsm_ros.stream.frame import Camera, Distortion, PosedImage
else:
    _FROM = {
        "Camera": "stream.frame",
        "Consolidation": "memory.rules.consolidation",
        "Distortion": "stream.frame",
        "ElasticRule": "memory.rules.elastic",
        "FailureKind": "spatial.results",
        "FsmError": "errors",
        "Memory": "facade",
        "ObserveReport": "spatial.results",
        "Plastic": "memory.rules.plastic",
        "PosedImage": "stream.frame",
        "RenderMethod": "spatial.settings",
        "Rendered": "spatial.results",
        "RequestFailedError": "spatial.results",
        "Rig": "sources.rig",
        "Settings": "configuration.settings",
        "open_recording": "sources.opening:open_rig",
    }

    def __getattr__(name: str) -> object:
        if name not in _FROM:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, called = _FROM[name].partition(":")
        found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), called or name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Camera",
    "Consolidation",
    "Distortion",
    "ElasticRule",
    "FailureKind",
    "FsmError",
    "Memory",
    "ObserveReport",
    "Plastic",
    "PosedImage",
    "RenderMethod",
    "Rendered",
    "RequestFailedError",
    "Rig",
    "Settings",
    "__version__",
    "open_recording",
]
