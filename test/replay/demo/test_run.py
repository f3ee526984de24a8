# SPDX-License-Identifier: Apache-2.0
"""The demo for real: the node, a player and a client over DDS, on its own bag and on a recorded one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from deadline import DEADLINE_S
from numpy.typing import NDArray
from recordings import open_camera

pytest.importorskip("rclpy", reason="needs ROS")
from fsm_ros.replay.demo.run import CAMERA  # noqa: E402
from fsm_ros.replay.evaluation.contact_sheet import GAP, HEADER, TILE_HEIGHT  # noqa: E402
from fsm_ros.stream.ledger import Refusal  # noqa: E402

pytestmark = pytest.mark.slow

HOLD_OUT = 8
SIZE = 64
KEYS = {
    *("frames_published", "frames_received", "keyframes", "chunks", "refused", "render_requests", "render_failures"),
    *("psnr_render", "psnr_nearest", "psnr_mean_colour", "observe_ms", "render_ms", "device", "checkpoint"),
    *("psnr_render_camera", "psnr_nearest_camera", "sharpness", "camera_size", "render_camera_ms"),
}


def run_demo(out: Path, *arguments: str) -> dict[str, Any]:
    """Run it as its script does; returns its metrics."""
    command = [sys.executable, "-m", "fsm_ros.replay.demo", "--out", str(out), "--rate", "2", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * DEADLINE_S)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs(out)}"
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    for name in metrics:
        assert name in done.stdout, "the table says what the file says"
    return metrics


def logs(out: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(out.glob("*.log")))


def clip() -> Path:
    """A recorded bag: FSM_CLIP_BAG, or the one beside the checkout."""
    named = os.environ.get("FSM_CLIP_BAG")
    return Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "bags" / "stereo4d_clip"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run on the demo's own bag."""
    out = tmp_path_factory.mktemp("own")
    run_demo(out)
    return out


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run on the recorded bag."""
    if not clip().exists():
        pytest.skip(f"there is no recorded bag at {clip()}: name one in FSM_CLIP_BAG")
    out = tmp_path_factory.mktemp("recorded")
    run_demo(out, "--bag", str(clip()))
    return out


def metrics_of(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def check_metrics(metrics: dict[str, Any], frames: int) -> None:
    """What holds for any bag."""
    withheld = frames // HOLD_OUT
    assert metrics.keys() == KEYS
    assert metrics["frames_published"] == frames - withheld
    assert metrics["frames_received"] == metrics["frames_published"], "the demo's QoS loses none"
    assert metrics["refused"].keys() <= {reason.value for reason in Refusal}
    assert all(count > 0 for count in metrics["refused"].values())
    assert metrics["frames_received"] == metrics["keyframes"] + sum(metrics["refused"].values()), "all accounted for"
    assert metrics["chunks"] >= 1
    assert metrics["render_requests"] == 2 * withheld, "at the memory's size and at the camera's"
    assert metrics["render_failures"] == 0
    for name in ("psnr_render", "psnr_nearest", "psnr_mean_colour", "psnr_render_camera", "psnr_nearest_camera"):
        assert 5 < metrics[name] < 60
    assert 0.1 < metrics["sharpness"] < 2
    for name in ("observe_ms", "render_ms", "render_camera_ms"):
        assert metrics[name].keys() == {"p50", "p95"}
        assert 0 < metrics[name]["p50"] <= metrics[name]["p95"]
    assert metrics["device"] in ("cpu", "cuda", "cuda:0")
    assert metrics["checkpoint"] == "shipped"


def _tile(columns: int, rows: int) -> tuple[int, int]:
    """Columns and rows of a picture on the sheet: small ones are enlarged by a whole number."""
    scale = max(1, round(TILE_HEIGHT / rows))
    return columns * scale, rows * scale


def check_sheet(out: Path) -> NDArray[np.uint8]:
    """Size and content of the contact sheet; returns the rendered pictures on it, ``[n, h, w, 3]``."""
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet is not None
    metrics = metrics_of(out)
    comparisons = metrics["render_requests"] // 2
    columns, rows = map(int, metrics["camera_size"].split("x"))
    tile_width, tile_height, groups = *_tile(columns, rows), min(4, comparisons)
    group_width = 3 * (tile_width + GAP) + 2 * GAP
    lines = -(-comparisons // groups)
    assert sheet.shape == (HEADER + lines * (tile_height + GAP) + GAP, groups * group_width, 3)
    pictures = []
    for i in range(comparisons):
        top, left = HEADER + i // groups * (tile_height + GAP), i % groups * group_width + GAP
        truth, rendered, nearest = (
            sheet[top : top + tile_height, left + column * (tile_width + GAP) :][:, :tile_width] for column in range(3)
        )
        for picture in (truth, rendered, nearest):
            assert picture.std() > 3, "not blank"
        pictures.append(rendered)
    return np.stack(pictures)


def test_its_own_room_is_rendered_well_above_the_mean_colour(own: Path) -> None:
    metrics = metrics_of(own)
    frames = len(open_camera(own / "bag").frames)
    check_metrics(metrics, frames)
    assert frames >= 100
    assert metrics["psnr_render"] >= metrics["psnr_nearest"] + 8
    assert metrics["psnr_render_camera"] >= metrics["psnr_nearest_camera"] + 8
    assert metrics["sharpness"] > 0.6
    assert metrics["refused"].keys() <= {Refusal.NOT_MOVED.value, Refusal.TOO_SOON.value}


def test_its_sheet_shows_every_withheld_view(own: Path) -> None:
    pictures = check_sheet(own)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures), "each another one"


def test_it_keeps_every_answer_and_the_logs(own: Path) -> None:
    notes = json.loads((own / "views" / "answers.json").read_text())
    names = [answer["name"] for answer in notes["answers"]]
    assert len(names) == metrics_of(own)["render_requests"] and max(Counter(names).values()) == 1
    for name in names:
        picture = cv2.imread(str(own / "views" / f"{name}.png"))
        assert picture is not None and picture.shape == ((240, 320, 3) if name.endswith(CAMERA) else (SIZE, SIZE, 3))
    assert len(notes["observe_s"]) == metrics_of(own)["chunks"]
    assert all(len(layers) > 0 and all(math.isfinite(ratio) for ratio in layers) for layers in notes["elastic_ratio"])
    assert "Traceback" not in logs(own)
    assert "configured" in (own / "node.log").read_text()


def test_a_recorded_bag_is_observed_with_every_frame_accounted_for_and_every_view_answered(recorded: Path) -> None:
    metrics = metrics_of(recorded)
    check_metrics(metrics, len(open_camera(clip()).frames))
    check_sheet(recorded)
    assert "Traceback" not in logs(recorded)
