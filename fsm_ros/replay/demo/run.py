# SPDX-License-Identifier: Apache-2.0
"""The demo: the real node on a real stream, asked for the views that were kept from it.

Three processes over DDS: the node, a player that withholds every N-th frame, and a client that then asks `/fsm/render`
for each withheld frame's pose and time. The answers are compared with the withheld frames.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.configuration.files import parse_assignment
from fsm_ros.configuration.table import settings_from
from fsm_ros.errors import FsmError
from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.replay.demo.ros_domain import LAST, free_domain
from fsm_ros.replay.evaluation.contact_sheet import contact_sheet
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.sources.opening import open_rig
from fsm_ros.sources.recorded import RecordedCamera, RecordedFrame
from fsm_ros.stream.frame import Camera, Photograph, PosedImage
from fsm_ros.stream.held_out import is_held_out
from fsm_ros.stream.keyframes import KeyframePolicy, KeyframeSelector
from fsm_ros.stream.rectify import Rectifier
from fsm_ros.stream.rigid import nearest_camera

if TYPE_CHECKING:
    from fsm_ros.replay.demo.command import Options

NODE_READY_S = 120.0
ANSWERS_S = 300.0
HORIZON_MARGIN = 1.05
DEMO_EXTENT_M = 1.0
CAMERA = "-camera"
"""Ends the name of a view that was asked for at the size of the kept photographs."""


class DemoError(FsmError, RuntimeError):
    """A process of the demo failed; the message says which, and where its log is."""


@dataclass(frozen=True)
class Comparison:
    """One withheld view.

    Attributes:
        name: of its files.
        truth: what the camera saw.
        rendered: what the memory answered; ``None`` where it refused.
        nearest: the keyframe whose camera stood closest.

    All three at the size that was asked for: the memory's, or that of the kept photographs.
    """

    name: str
    truth: NDArray[np.uint8]
    rendered: NDArray[np.uint8] | None
    nearest: NDArray[np.uint8]


def run(options: Options) -> int:
    """Run the demo; returns 0 where every withheld view was answered, else 1.

    Raises:
        FsmError: what cannot be played, or a process that failed.
        ValueError: parameters that make no sense.
        subprocess.TimeoutExpired: a process that does not end.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    return _run(_own_bag(options.out) if options.bag is None else options.bag, options)


def _run(bag_path: Path, options: Options) -> int:
    out = options.out
    overrides = dict(map(parse_assignment, options.assignments))
    asked = settings_from(overrides)
    world, rectified = asked.node.memory_frame, asked.input.rectified
    (camera,) = open_rig(bag_path, world_frame=world, rectified=rectified).recorded.values()
    if not camera.image_topic:
        raise DemoError(f"{bag_path} is no rosbag: make one of it with make_bag")
    count = len(camera.frames)
    withheld = [frame for frame in camera.posed if is_held_out(frame.index, options.hold_out)]
    seen = [frame for frame in camera.posed if not is_held_out(frame.index, options.hold_out)]
    if len({frame.stamp_ns for frame in camera.frames}) < count:
        raise DemoError(f"{bag_path} shows some moments twice, as time begins anew in it: measure it with evaluate_bag")
    if not withheld:
        raise DemoError(f"{bag_path} has {count} frames: --hold-out {options.hold_out} withholds none of them")
    parameters = _parameters(camera, own=options.bag is None) | _page(options) | overrides
    settings = settings_from(parameters)
    (out / "demo.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    print(f"{bag_path}: {count} frames on {camera.image_topic}, {len(withheld)} withheld", flush=True)
    memory = settings.memory
    rectifier = Rectifier(memory.width, memory.height, memory.keyframes.photograph_size)
    truths = [rectifier.rectify(camera.decode(frame)) for frame in withheld]
    (out / "requests.json").write_text(json.dumps([each for frame in truths for each in _requests(frame, world)]))
    with _played(bag_path, camera, options) as (node, played, notes):
        keyframes = _keyframes(camera, seen, settings.input.intake.keyframes, rectifier)
        code = _report(played, notes, truths, keyframes, options)
        if options.view:
            _show(node, out)
    return code


def _page(options: Options) -> dict[str, object]:
    """What the demo sets where its memory is to be looked at."""
    return {"viewer.enabled": True, "viewer.port": options.port} if options.view else {}


def _show(node: subprocess.Popen[bytes], out: Path) -> None:
    """Tell where the page is, and leave the node alone until somebody ends it or the demo."""
    pages = re.findall(r"viewer: open (\S+)", (out / "node.log").read_text(errors="replace"))
    if not pages:
        raise DemoError(f"the node serves no page: {_last_lines(out / 'node.log')}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"\nopen {pages[-1]}   (Ctrl-C ends it)", flush=True)
        node.wait()
    except KeyboardInterrupt:
        print(flush=True)


def _own_bag(out: Path) -> Path:
    """The procedural bag, made anew: it is deterministic, and quick to make."""
    path = out / "bag"
    if path.exists():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    print("making a bag of a room with moving things ...", flush=True)
    write_demo_bag(path)
    return path


def _parameters(camera: RecordedCamera, *, own: bool) -> dict[str, object]:
    """What the demo sets: a time axis as long as the bag, its own room's scale, and a QoS that loses nothing."""
    stamps = [frame.stamp_ns for frame in camera.frames]
    return {
        "memory.horizon": round(HORIZON_MARGIN * (max(stamps) - min(stamps)) / 1e9, 3),
        "memory.extent": DEMO_EXTENT_M if own else 0.0,
        "input.reliability": "reliable",
        "diagnostics.period": 0.5,
    }


def _requests(frame: PosedImage, world: str) -> list[dict[str, Any]]:
    """A view at the memory's size, and at the camera's own."""
    name = str(frame.stamp_ns)
    photograph = _photograph(frame)
    return [_request(frame, name, frame.camera, world), _request(frame, name + CAMERA, photograph.camera, world)]


def _photograph(frame: PosedImage) -> Photograph:
    if frame.photograph is None:
        raise DemoError("a rectified frame of the demo has no photograph")
    return frame.photograph


def _request(frame: PosedImage, name: str, camera: Camera, world: str) -> dict[str, Any]:
    return {
        "name": name,
        "frame_id": world,
        "stamp_ns": frame.stamp_ns,
        "position": frame.position.tolist(),
        "quaternion": Rotation.from_matrix(frame.world_from_camera[:3, :3]).as_quat().tolist(),
        "camera": {name: getattr(camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
    }


@contextmanager
def _played(
    bag_path: Path, camera: RecordedCamera, options: Options
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any], dict[str, Any]]]:
    """Run the three processes; yields the node, which still lives, and the player's and the client's notes."""
    out = options.out
    environment = os.environ | {
        # A domain of its own: nobody else's topics reach the demo, and its own reach nobody.
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID") or str(free_domain(random.sample(range(LAST), LAST))),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    image = camera.image_topic.removesuffix("/compressed")
    remaps = {
        "image_raw": image,
        "image_raw/compressed": f"{image}/compressed",
        "camera_info": camera.info_topic,
    }
    node_command = [
        sys.executable,
        "-m",
        "fsm_ros.node.fsm_node",
        "--ros-args",
        "--params-file",
        str(out / "demo.yaml"),
    ]
    for name, topic in remaps.items():
        node_command += ["-r", f"{name}:={topic}"]
    client_command = [
        sys.executable,
        "-m",
        "fsm_ros.tools.ask_views",
        str(out / "requests.json"),
        "--out",
        str(out / "views"),
    ]
    client_command += ["--timeout", str(NODE_READY_S)]
    player_command = [
        sys.executable,
        "-m",
        "fsm_ros.tools.play_bag",
        str(bag_path),
        "--rate",
        str(options.rate),
    ]
    player_command += ["--hold-out", str(options.hold_out), "--wait-for-subscribers", "30"]
    player_command += ["--report", str(out / "played.json")]
    with open(out / "node.log", "wb") as node_log, open(out / "client.log", "wb") as client_log:
        node = subprocess.Popen(node_command, env=environment, stdout=node_log, stderr=subprocess.STDOUT)
        client = subprocess.Popen(
            client_command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=client_log
        )
        try:
            _wait_until_ready(node, client, out)
            if subprocess.run(player_command, env=environment, check=False).returncode != 0:
                raise DemoError("the player failed, see above")
            client.communicate(b"the stream has ended\n", timeout=ANSWERS_S)
            if client.returncode != 0:
                raise DemoError(f"the client failed: {_last_lines(out / 'client.log')}")
            if node.poll() is not None:
                raise DemoError(f"the node ended with code {node.returncode}: {_last_lines(out / 'node.log')}")
            answers = json.loads((out / "views" / "answers.json").read_text())
            yield node, json.loads((out / "played.json").read_text()), answers
            node.send_signal(signal.SIGINT)
            if node.wait(30) != 0:
                raise DemoError(f"the node ended with code {node.returncode}: {_last_lines(out / 'node.log')}")
        finally:
            for process in (client, node):
                if process.poll() is None:
                    process.kill()
                    process.wait()


def _wait_until_ready(node: subprocess.Popen[bytes], client: subprocess.Popen[bytes], out: Path) -> None:
    if client.stdout is None:
        raise DemoError("the client has no standard output")
    line = client.stdout.readline()  # ends with the client, which gives up after NODE_READY_S
    if line.strip() != b"ready":
        time.sleep(0.2)
        code = node.poll()
        state = "is running but does not serve" if code is None else f"ended with code {code}"
        raise DemoError(f"the node {state}: {_last_lines(out / 'node.log')} {_last_lines(out / 'client.log')}")


def _last_lines(path: Path, lines: int = 8) -> str:
    return f"\n--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _keyframes(
    camera: RecordedCamera, seen: Sequence[RecordedFrame], policy: KeyframePolicy, rectifier: Rectifier
) -> list[PosedImage]:
    """The keyframes that the node's rule picks from the frames it was sent: what the memory can have seen."""
    selector = KeyframeSelector(policy)
    return [
        rectifier.rectify(camera.decode(frame))
        for frame in seen
        if frame.world_from_camera is not None
        and selector.decide(frame.world_from_camera, frame.stamp_ns, frame.camera).accepted
    ]


def _report(
    played: dict[str, Any],
    notes: dict[str, Any],
    truths: list[PosedImage],
    keyframes: list[PosedImage],
    options: Options,
) -> int:
    out = options.out
    answers = {answer["name"]: answer for answer in notes["answers"]}
    poses = np.stack([frame.world_from_camera for frame in keyframes])
    comparisons, at_camera = [], []
    for truth in truths:
        name, closest = str(truth.stamp_ns), keyframes[nearest_camera(poses, truth.world_from_camera)]
        comparisons.append(Comparison(name, truth.image, _answer(out, answers, name), closest.image))
        name += CAMERA
        rendered = _answer(out, answers, name)
        at_camera.append(Comparison(name, _photograph(truth).image, rendered, _photograph(closest).image))
    mean = np.mean([frame.image.reshape(-1, 3).mean(axis=0) for frame in keyframes], axis=0)
    flat = np.broadcast_to(np.round(mean).astype(np.uint8), keyframes[0].image.shape)
    status = notes["statuses"]
    metrics = {
        "frames_published": played["frames_published"],
        "frames_received": int(status["input"]["frames_received"]),
        "keyframes": int(status["input"]["frames_keyframed"]),
        "chunks": int(status["memory"]["chunks_observed"]),
        "refused": {
            key.removeprefix("refused."): int(value)
            for key, value in status["input"].items()
            if key.startswith("refused.")
        },
        "render_requests": len(answers),
        "render_failures": sum(not answer["success"] for answer in answers.values()),
        "psnr_render": _mean([psnr(c.rendered, c.truth) for c in comparisons if c.rendered is not None]),
        "psnr_nearest": _mean([psnr(c.nearest, c.truth) for c in comparisons]),
        "psnr_mean_colour": _mean([psnr(flat, c.truth) for c in comparisons]),
        "psnr_render_camera": _mean([psnr(c.rendered, c.truth) for c in at_camera if c.rendered is not None]),
        "psnr_nearest_camera": _mean([psnr(c.nearest, c.truth) for c in at_camera]),
        "sharpness": _mean([_sharpness(c.rendered, c.truth) for c in at_camera if c.rendered is not None]),
        "camera_size": "x".join(map(str, at_camera[0].truth.shape[1::-1])),
        "observe_ms": _percentiles_ms(notes["observe_s"]),
        "render_ms": _percentiles_ms([a["render_s"] for a in _named(notes, camera=False)]),
        "render_camera_ms": _percentiles_ms([a["render_s"] for a in _named(notes, camera=True)]),
        "device": status["device"]["device"],
        "checkpoint": status["device"]["checkpoint"],
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    sheet = contact_sheet([(c.truth, c.rendered, c.nearest) for c in at_camera], ("truth", "rendered", "nearest"))
    if not cv2.imwrite(str(out / "sheet.png"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise DemoError(f"{out / 'sheet.png'} could not be written")
    _print_table(metrics)
    print(f"\n{out / 'sheet.png'}   truth | rendered | nearest keyframe\n{out / 'metrics.json'}")
    for answer in notes["answers"]:
        if not answer["success"]:
            print(f"view {answer['name']} was refused: {answer['message']}", file=sys.stderr)
    return 0 if all(answer["success"] for answer in answers.values()) else 1


def _named(notes: dict[str, Any], *, camera: bool) -> list[dict[str, Any]]:
    """Answers of one of the two sizes that went well."""
    return [a for a in notes["answers"] if a["success"] and a["name"].endswith(CAMERA) == camera]


def _answer(out: Path, answers: dict[str, Any], name: str) -> NDArray[np.uint8] | None:
    return _read_png(out / "views" / f"{name}.png") if answers[name]["success"] else None


def _sharpness(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Gradient energy over that of the truth: 1 is right, less is blurred."""
    mine, true = (
        sum(float(np.square(np.diff(x.astype(np.float64), axis=axis)).mean()) for axis in (0, 1))
        for x in (image, truth)
    )
    return mine / max(true, 1e-9)


def _read_png(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DemoError(f"{path} cannot be read")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None


def _percentiles_ms(seconds: list[float]) -> dict[str, float | None]:
    finite = [1e3 * value for value in seconds if np.isfinite(value)]
    return {f"p{p}": round(float(np.percentile(finite, p)), 3) if finite else None for p in (50, 95)}


def _print_table(metrics: dict[str, Any]) -> None:
    print()
    for name, value in metrics.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
        print(f"{name:>18}  {value}")
