# SPDX-License-Identifier: Apache-2.0
"""Installs fsm_ros: by colcon as an ament_python package, by pip into the environment of scripts/."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
NAME = MANIFEST.findtext("name")


def files_in(directory: str) -> list[str]:
    """Returns the files of one directory as data_files wants them: relative to the checkout."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / directory).glob("*.*") if path.is_file())


setup(
    name=NAME,
    version=MANIFEST.findtext("version"),
    description="Fast Spatial Memory for robots by elastic test-time training (arXiv 2604.07350)",
    maintainer=MANIFEST.findtext("maintainer"),
    maintainer_email=MANIFEST.find("maintainer").get("email"),
    license=MANIFEST.findtext("license"),
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "weights/*", "replay/evaluation/page/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", files_in("launch")),
        (f"share/{NAME}/config", files_in("config")),
        (f"share/{NAME}/config/security", files_in("config/security")),
        (f"share/{NAME}/config/train", files_in("config/train")),
    ],
    # What has no package in apt; the rest is in package.xml. scripts/pip_ros/requirements.txt pins all of it.
    install_requires=[
        "einops",
        "huggingface_hub",
        "rosbags",
        "safetensors",
        "setuptools",
        "torch>=2.6",
        "tyro",
    ],
    extras_require={
        # What training needs beside the memory; all but the last two also where there is no ROS at all.
        "train": ["lightning-fabric", "torch>=2.11", "torchmetrics", "PyYAML", "scikit-image", "tensorboard"],
        # What draws the plots of the studies (benchmarks/elastic.py).
        "plots": ["matplotlib"],
        # What an evaluation measures with and shows itself in. From 26 on, PyArrow wants NumPy 2, and apt has 1.26.
        "evaluate": ["torchmetrics", "matplotlib>=3.6", "Jinja2", "MarkupSafe", "pyarrow", "av"],
        # What makes meshes of the remembered surfaces, and writes them and points into files.
        "surface": ["trimesh", "scikit-image"],
        # What shows a memory in a browser, to fly through it.
        "viewer": ["viser", "av"],
        # What reads binary COLMAP models.
        "colmap": ["pycolmap"],
        # What colcon test takes for a sign of pytest; what the tests drive a browser with; and what a benchmark speaks
        # to its page with, as viser does.
        "test": ["pytest", "playwright", "msgspec", "websockets", "zstandard"],
        # What spreads it over machines.
        "ray": ["ray"],
    },
    zip_safe=True,
    entry_points={
        "console_scripts": [
            "fsm = fsm_ros.tools.fsm:main",
            "fsm_node = fsm_ros.node.fsm_node:main",
            "render_view = fsm_ros.tools.render_view:main",
            "play_bag = fsm_ros.tools.play_bag:main",
            "view_memory = fsm_ros.tools.view_memory:main",
            "save_memory = fsm_ros.tools.save_memory:main",
            "train_memory = fsm_ros.training.train:main",
            "evaluate_bag = fsm_ros.replay.evaluation.evaluate_bag:main",
            "export_surface = fsm_ros.tools.export_surface:main",
            "make_bag = fsm_ros.replay.recording.make_bag:main",
        ],
    },
)
