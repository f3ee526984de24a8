# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy of config/security against what the running node and its tools do: nothing missing, nothing more.

Needs no keystore and no middleware with security: the policy is held to the graph. docs/security.md tells of a run
under enforced security.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from deadline import DEADLINE_S, wait_until
from node_harness import Robot, active_node, free_domain
from rclpy.action import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node
from rclpy.context import Context
from rclpy.node import Node

from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.stream.frame import Camera

Permission = tuple[str, str]
"""What is done (``subscribe``, say), and the full name of the topic, service or action that it is done to."""

POLICY = Path(__file__).resolve().parents[2] / "config" / "security" / "fsm.policy.xml"
LISTS = {
    "topics": ("topic", {"publish", "subscribe"}),
    "services": ("service", {"reply", "request"}),
    "actions": ("action", {"execute", "call"}),
}
"""How the elements of a profile are called, what they hold, and what they may allow: ROS 2 design, "Access Control
Policies", version 0.2.0 of the schema."""
ENCLAVES = ["/fsm", "/fsm/render_view", "/fsm/play_bag"]


def in_namespace(policy: str, namespace: str) -> str:
    """The policy for a robot that has a namespace, as docs/security.md says to make it."""
    return policy.replace('ns="/"', f'ns="{namespace}"').replace('path="/fsm', f'path="{namespace}/fsm')


def profiles(policy: str) -> dict[str, ElementTree.Element]:
    """The one profile of every enclave."""
    found = {}
    for enclave in ElementTree.fromstring(policy).iterfind("./enclaves/enclave"):
        (found[enclave.attrib["path"]],) = enclave.iterfind("./profiles/profile")
    return found


def permissions(profile: ElementTree.Element) -> set[Permission]:
    """What a profile allows, names in full."""
    namespace, node = profile.attrib["ns"].rstrip("/"), profile.attrib["node"]

    def full(name: str) -> str:
        if name.startswith("~"):
            return f"{namespace}/{node}{name[1:]}"
        return name if name.startswith("/") else f"{namespace}/{name}"

    return {(verb, full(str(entry.text))) for part in profile for verb in part.attrib for entry in part}


def done_by(observer: Node, name: str, namespace: str) -> set[Permission]:
    """What a node does, as the graph knows it: an action in the place of its hidden topics and services."""
    asked: Sequence[tuple[str, Callable[[str, str], list[tuple[str, list[str]]]]]] = (
        ("publish", observer.get_publisher_names_and_types_by_node),
        ("subscribe", observer.get_subscriber_names_and_types_by_node),
        ("reply", observer.get_service_names_and_types_by_node),
        ("request", observer.get_client_names_and_types_by_node),
        ("execute", lambda *node: get_action_server_names_and_types_by_node(observer, *node)),
        ("call", lambda *node: get_action_client_names_and_types_by_node(observer, *node)),
    )
    found = {(verb, topic) for verb, ask in asked for topic, _ in ask(name, namespace or "/")}
    return {(verb, topic) for verb, topic in found if "/_action/" not in topic}


def differences(profile: ElementTree.Element, done: set[Permission]) -> list[str]:
    """What to change in the policy, line by line; nothing where it fits."""
    tags = {verb: (part, tag) for part, (tag, verbs) in LISTS.items() for verb in verbs}

    def line(permission: Permission) -> str:
        verb, name = permission
        part, tag = tags[verb]
        own = f"{profile.attrib['ns'].rstrip('/')}/{profile.attrib['node']}/"
        name = f"~/{name.removeprefix(own)}" if name.startswith(own) else name
        return f'<{tag}>{name}</{tag}> in <{part} {verb}="ALLOW"> of node {profile.attrib["node"]} in {POLICY.name}'

    allowed = permissions(profile)
    missing = [f"add    {line(permission)}" for permission in sorted(done - allowed)]
    return missing + [f"remove {line(permission)}" for permission in sorted(allowed - done)]


def assert_fits(profile: ElementTree.Element, observe: Callable[[], set[Permission]]) -> None:
    """Wait until a policy fits, as discovery takes its time; then tell what does not."""
    try:
        wait_until(lambda: not differences(profile, observe()), "agreement")
    except AssertionError:
        pytest.fail("\n".join(["the policy does not fit:", *differences(profile, observe())]), pytrace=False)


# --- the file --------------------------------------------------------------------------------------------------------


def faults(policy: str) -> list[str]:
    """Where a policy is none, by the rules of its schema and some of ours: no denials, no wildcards, nothing twice."""
    root = ElementTree.fromstring(policy)
    shape = {"policy": {"enclaves"}, "enclaves": {"enclave"}, "enclave": {"profiles"}, "profiles": {"profile"}}
    shape |= {"profile": set(LISTS)} | {part: {tag} for part, (tag, _) in LISTS.items()}
    attributes = {"policy": {"version"}, "enclave": {"path"}, "profile": {"ns", "node"}}
    found = [] if (root.tag, root.get("version")) == ("policy", "0.2.0") else ["not a policy of version 0.2.0"]
    for element in root.iter():
        if element.tag not in shape:
            name = element.text or ""
            is_name = all(part.isidentifier() for part in name.removeprefix("~").removeprefix("/").split("/"))
            if len(element) or element.attrib or not is_name:
                found.append(f"<{element.tag}> holds no name: {name!r}")
            continue
        if not len(element) or not {child.tag for child in element} <= shape[element.tag]:
            found.append(f"<{element.tag}> holds something else than {sorted(shape[element.tag])}, or nothing")
        if element.tag in LISTS:
            if not element.attrib.keys() <= LISTS[element.tag][1] or set(element.attrib.values()) != {"ALLOW"}:
                found.append(f"<{element.tag}> does not allow what it can allow: {element.attrib}")
        elif element.attrib.keys() != attributes.get(element.tag, set()):
            found.append(f"<{element.tag}> has the attributes {sorted(element.attrib)}")
    for profile in root.iter("profile"):
        entries = [(verb, entry.text) for part in profile for verb in part.attrib for entry in part]
        found += [f"{entry} comes twice" for entry in sorted(set(entries), key=str) if entries.count(entry) > 1]
    return found


def test_the_policy_is_one() -> None:
    assert faults(POLICY.read_text()) == []
    assert list(profiles(POLICY.read_text())) == ENCLAVES


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('version="0.2.0"', 'version="0.1.0"'),
        ("<topic>/clock</topic>", "<topic>/*</topic>"),
        ("<topic>/clock</topic>", "<topic> /clock</topic>"),
        ("<topic>/clock</topic>", "<service>/clock</service>"),
        ("<topic>/clock</topic>", "<topic>/tf</topic>"),
        ('publish="ALLOW"', 'publish="DENY"'),
        ('publish="ALLOW"', 'reply="ALLOW"'),
        ('publish="ALLOW"', ""),
        (' node="fsm"', ""),
        ("<enclave path", "<enclave name"),
        ("profiles>", "profile>"),
    ],
)
def test_what_sros2_would_refuse_or_nobody_meant_is_found(was: str, becomes: str) -> None:
    assert was in POLICY.read_text()
    assert faults(POLICY.read_text().replace(was, becomes)) != []


def test_a_difference_names_the_line_to_change() -> None:
    profile = profiles(POLICY.read_text())["/fsm"]
    done = permissions(profile) - {("publish", "/tf")} | {("publish", "/fsm/dances"), ("reply", "/robot/dance")}
    assert differences(profile, done) == [
        'add    <topic>~/dances</topic> in <topics publish="ALLOW"> of node fsm in fsm.policy.xml',
        'add    <service>/robot/dance</service> in <services reply="ALLOW"> of node fsm in fsm.policy.xml',
        'remove <topic>/tf</topic> in <topics publish="ALLOW"> of node fsm in fsm.policy.xml',
    ]


# --- the node and its tools ------------------------------------------------------------------------------------------


@pytest.fixture(params=["", "/robot1"], ids=["root", "namespace"])
def robot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Robot]:
    """The node with all that it may be given, its inputs named as by fsm.launch.py."""
    arguments = []
    depth = ("depth/camera_info", "depth/image_rect_raw", "depth/image_rect_raw/compressedDepth")
    for topic in ("camera_info", "image_raw", "image_raw/compressed", *depth):
        arguments += ["-r", f"{topic}:=/camera/{topic}"]
    with active_node(tmp_path, {"use_sim_time": True}, namespace=request.param, arguments=arguments) as robot:
        yield robot


@pytest.mark.slow
def test_the_node_does_what_its_policy_allows_and_nothing_else(robot: Robot) -> None:
    namespace = robot.name.removesuffix("/fsm")
    policy = in_namespace(POLICY.read_text(), namespace) if namespace else POLICY.read_text()
    assert_fits(profiles(policy)[f"{namespace}/fsm"], lambda: done_by(robot.node, "fsm", namespace))


@contextmanager
def observed(*command: str) -> Iterator[Node]:
    """A node that looks at the graph that a tool is in, for as long as the tool runs."""
    domain_id = free_domain()
    context = Context()
    context.init(domain_id=domain_id)
    observer = Node("observer", context=context, enable_rosout=False)
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id)}
    try:
        with subprocess.Popen([sys.executable, "-m", *command], env=environment) as tool:
            try:
                yield observer
                assert tool.poll() is None, "it ended while it was looked at"
            finally:
                tool.kill()
    finally:
        observer.destroy_node()
        context.try_shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["render_view", "play_bag"])
def test_a_tool_does_what_its_policy_allows_and_nothing_else(name: str, tmp_path: Path) -> None:
    patience = str(2 * DEADLINE_S)
    arguments = ["--timeout", patience]
    if name == "play_bag":
        small = Camera(32, 32, 30.0, 30.0, 16.0, 16.0)
        bag = write_demo_bag(tmp_path / "room", duration_s=1.0, camera=small)
        arguments = [str(bag), "--clock", "--wait-for-subscribers", patience]
    profile = profiles(POLICY.read_text())[f"/fsm/{name}"]
    with observed(f"fsm_ros.tools.{name}", *arguments) as observer:
        nodes = observer.get_node_names_and_namespaces
        wait_until(lambda: (name, "/") in nodes(), f"{name} in the graph")
        assert_fits(profile, lambda: done_by(observer, name, ""))
