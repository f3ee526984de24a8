# SPDX-License-Identifier: Apache-2.0
"""What the documents say of the repository: links lead somewhere, versions and commands are those that there are."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

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
        slug = re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower()).replace(" ", "-")
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


def test_links_are_found_in_prose_and_not_in_code(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(
        "# One [place](there.md)\n\n[a page](page.md#part), ![a picture](picture.png), [elsewhere](https://example.org)\n"
        "`f[0](code.md)`\n\n```python\n# no heading\nf[0](code.md)\n```\n\n# Twice\n\n# Twice: `x_y`\n\n# Twice\n"
    )
    assert links(str(document)) == ["there.md", "page.md#part", "picture.png"]
    assert anchors(document) == {"one-place", "twice", "twice-x_y", "twice-1"}


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
    assert jobs()["pip"]["strategy"]["matrix"]["python"] == SUPPORTED
    oldest, newest = SUPPORTED[0], SUPPORTED[-1]
    assert f'python_requires=">={oldest}"' in (ROOT / "setup.py").read_text()
    beyond = int(newest.partition(".")[2]) + 1
    bootstrap = (ROOT / "scripts" / "bootstrap").read_text()
    assert f"({oldest.replace('.', ', ')}) <= sys.version_info < (3, {beyond})" in bootstrap
    assert f"{oldest} to {newest}" in (ROOT / "docs" / "installation.md").read_text()


# ---------------------------------------------------------------- the workflow


def jobs() -> dict[str, Any]:
    """The jobs of the workflow by name, as its YAML says them."""
    content: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    return dict(content["jobs"])


def commands() -> list[str]:
    """Every line that the workflow runs."""
    steps = [step for job in jobs().values() for step in job["steps"]]
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


def without_version(requirement: str) -> str:
    return re.split(r"[~<>=]", requirement)[0]


def test_the_workflow_has_all_that_the_tests_need() -> None:
    """Of what `scripts/bootstrap --tests` asks for on a machine with ROS, rosdep installs what is in apt."""
    bootstrap = (ROOT / "scripts" / "bootstrap").read_text()
    asked = re.findall(r"^PIP(?:_TESTS)? = \{(.*?)^\}", bootstrap, re.MULTILINE | re.DOTALL)
    needed = {without_version(package) for table in asked for package in re.findall(r': "([^"]+)"', table)}
    words = [word for line in commands() if line.startswith("pip ") for word in shlex.split(line)]
    assert {"torch", "ruff"} <= needed
    assert needed - set(map(without_version, words)) == set()
