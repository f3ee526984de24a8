# SPDX-License-Identifier: Apache-2.0
"""The examples run as they stand, as somebody types them, and write what they say they write."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
NUMBERED = sorted(EXAMPLES.glob("[0-9]*.py"))
WRITES = {
    "01_own_images": ["own_images.png"],
    "02_rosbag": ["view.png"],
    "03_write_rules": [],
    "04_save_and_load": ["room.safetensors"],
    "06_trajectory": ["trajectory.gif"],
    "07_points": ["points.ply"],
    "09_training": ["training/weights.safetensors", "trained.png"],
}
NEEDS = {"07_points": "trimesh", "09_training": "lightning_fabric"}
ELSEWHERE = {"05_render_client": "test_render_client.py", "08_viewer_button": "test/viewer/test_own_button.py"}
"""Those that want a node or a browser have tests of their own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they run: the recording that one of them makes, the others find."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITES)
def test_an_example_runs_without_arguments(name: str, folder: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
    for written in WRITES[name]:
        path = folder / "out" / written
        assert path.stat().st_size > 0
        if path.suffix in (".png", ".gif"):
            assert len(np.unique(np.asarray(Image.open(path).convert("L")))) > 10, "a picture of something"


def test_none_is_left_out() -> None:
    assert {path.stem for path in NUMBERED} <= set(WRITES) | set(ELSEWHERE)


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_shows_and_how_it_is_run(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert lines[1].startswith('"""') and f"    python examples/{path.name}" in "\n".join(lines)


def test_the_five_lines_of_the_readme_are_those_of_an_example(repo_root: Path) -> None:
    section = (repo_root / "README.md").read_text(encoding="utf-8").partition("## From Python\n")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    first, *five = filter(None, re.sub(r" +#.*", "", code[1]).splitlines())
    assert first == "import fsm_ros" and len(five) == 5
    assert "\n".join(five) in (EXAMPLES / "02_rosbag.py").read_text(encoding="utf-8")
