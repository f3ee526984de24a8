# SPDX-License-Identifier: Apache-2.0
"""What the documents say of the repository: their links lead somewhere, and versions and commands are those there are."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "QUALITY_DECLARATION.md", "fsm_ros/weights/README.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
]
README_LINES = 120
SUPPORTED = ["3.10", "3.11", "3.12", "3.13"]
# Programs of GitHub's runners and of the container; what else a workflow calls has to be a file of the checkout.
OF_THE_RUNNER = {"apt-get", "colcon", "export", "pip", "rosdep", "source"}

FENCED = re.compile(r"^\s*```.*?^\s*```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


def prose(document: Path) -> str:
    """A document without its blocks of code, whose brackets and number signs mean something else."""
    return FENCED.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """The anchors of its headings as GitHub makes them; a heading that comes again is numbered from 1 on."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(prose(document)):
        text = LINK.sub("", heading).replace("[", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(name: str) -> list[str]:
    """The relative links of a document."""
    found = LINK.findall(re.sub(r"`[^`\n]*`", "", prose(ROOT / name)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def leads_nowhere(name: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (ROOT / name).parent / path if path else ROOT / name
    return not target.exists() or bool(anchor) and anchor not in anchors(target)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file_or_heading(name: str) -> None:
    assert [link for link in links(name) if leads_nowhere(name, link)] == []


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("installation.md", False),
        ("installation.md#with-ros-2-jazzy", False),
        ("#pep-668", False),
        ("../README.md#use-it", False),
        ("no_such_file.md", True),
        ("installation.md#no-such-heading", True),
        ("#no-such-heading", True),
    ],
)
def test_a_link_is_told_from_a_broken_one(link: str, is_broken: bool) -> None:
    assert leads_nowhere("docs/installation.md", link) is is_broken


def test_links_are_found_in_prose_and_not_in_code() -> None:
    assert "docs/installation.md" in links("README.md")
    assert "docs/viewer.png" in links("README.md"), "pictures are followed too"
    assert not [link for name in DOCUMENTS for link in links(name) if link.startswith("http")]


def test_the_readme_can_be_read_at_once() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


# ---------------------------------------------------------------- versions


def test_what_is_cited_is_the_version_of_the_manifest() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    assert cited["version"] == manifest.findtext("version")
    assert cited["license"] == manifest.findtext("license")
    assert f"{cited['version']} ({cited['date-released']})" in (ROOT / "CHANGELOG.rst").read_text()


def test_the_workflow_tests_the_versions_of_python_that_are_supported() -> None:
    assert workflow()["jobs"]["pip"]["strategy"]["matrix"]["python"] == SUPPORTED
    oldest, newest = SUPPORTED[0], SUPPORTED[-1]
    assert f'python_requires=">={oldest}"' in (ROOT / "setup.py").read_text()
    beyond = int(newest.partition(".")[2]) + 1
    bootstrap = (ROOT / "scripts" / "bootstrap").read_text()
    assert f"({oldest.replace('.', ', ')}) <= sys.version_info < (3, {beyond})" in bootstrap
    assert f"{oldest} to {newest}" in (ROOT / "docs" / "installation.md").read_text()


# ---------------------------------------------------------------- the workflow


def workflow() -> dict[str, dict[str, dict[str, dict[str, dict[str, list[str]]]]]]:
    """The workflow; the part of it that the types tell is the matrix."""
    content: dict[str, dict[str, dict[str, dict[str, dict[str, list[str]]]]]] = yaml.safe_load(
        (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    )
    return content


def commands() -> list[str]:
    """Every line that the workflow runs."""
    steps = [step for job in yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def test_the_workflow_calls_programs_and_folders_that_there_are() -> None:
    programs = {shlex.split(line)[0] for line in commands()}
    assert [name for name in programs - OF_THE_RUNNER if not (ROOT / name).is_file()] == []
    assert ".ci/run" in programs
    folders = {word for line in commands() for word in shlex.split(line) if word.startswith("src/fsm_ros")}
    assert folders == {"src/fsm_ros", "src/fsm_ros/fsm_ros_msgs"}
    assert all((ROOT / Path(folder).relative_to("src/fsm_ros") / "package.xml").is_file() for folder in folders)


@pytest.mark.parametrize("program", ["rosdep install", "pip install", "colcon build"])
def test_the_workflow_installs_as_the_documents_say(program: str) -> None:
    lines = (ROOT / "docs" / "installation.md").read_text().splitlines()
    told = [set(shlex.split(line, comments=True)) for line in lines if line.startswith(program)]
    run = [set(shlex.split(line)) for line in commands()]
    assert told
    assert [sorted(words) for words in told if not any(words <= each for each in run)] == []


def test_the_workflow_has_all_that_the_tests_need() -> None:
    """Of what `scripts/bootstrap --tests` asks for on a machine with ROS, rosdep installs what is in apt."""
    asked = re.findall(r"^PIP(?:_TESTS)? = \{(.*?)^\}", (ROOT / "scripts/bootstrap").read_text(), re.MULTILINE | re.DOTALL)
    needed = {re.split(r"[~<>=]", package)[0] for table in asked for package in re.findall(r': "([^"]+)"', table)}
    installed = {re.split(r"[~<>=]", word)[0] for line in commands() if line.startswith("pip ") for word in shlex.split(line)}
    assert {"torch", "ruff"} <= needed
    assert needed - installed == set()
