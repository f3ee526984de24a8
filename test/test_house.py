# SPDX-License-Identifier: Apache-2.0
"""The house rules that tools can check: lint, format, types, and who may import whom."""

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import fsm_ros
from fsm_ros.errors import FsmError
from fsm_ros.memory.checkpoint import CheckpointError
from fsm_ros.sources.errors import SourceError

ROOT = Path(__file__).resolve().parent.parent


def check(command: list[str], repo_root: Path) -> None:
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} found:\n{done.stdout}{done.stderr}", pytrace=False)


def linters() -> list[Any]:
    """The command of every linter, as pre-commit runs it; what it keeps for a push takes its time."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    return [
        pytest.param(
            hook["entry"], id=hook["id"], marks=[pytest.mark.slow] if "pre-push" in hook.get("stages", ()) else []
        )
        for hook in hooks
    ]


@pytest.mark.parametrize("entry", linters())
def test_no_linter_finds_anything(entry: str, repo_root: Path) -> None:
    program, *arguments = entry.split()
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is not installed: run scripts/bootstrap --tests")
    check([found, *arguments], repo_root)


def test_the_hooks_are_complete_and_of_this_environment() -> None:
    """A hook that is left out, or fetched from elsewhere in another version, would check something else."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff-lint", "ruff-format", "mypy", "imports"]
    assert {(hook["language"], hook["pass_filenames"]) for hook in hooks} == {("system", False)}


@pytest.mark.parametrize("linter", ["ament_lint_cmake", "ament_xmllint"])
def test_the_linters_of_ament_find_nothing_in_the_files_that_are_theirs(linter: str, repo_root: Path) -> None:
    """CONTRIBUTING.md says which of them hold here, and why ruff stands for the others."""
    if shutil.which(linter) is None:
        pytest.skip(f"{linter} is not installed")
    check([linter, "fsm_ros_msgs", *(["package.xml"] if linter == "ament_xmllint" else [])], repo_root)


@pytest.mark.parametrize("folder", [".", "fsm_ros_msgs"])
def test_the_manifests_are_what_the_format_asks_for(folder: str, repo_root: Path) -> None:
    manifests = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    package = manifests.parse_package(str(repo_root / folder / "package.xml"), warnings=warnings)
    package.validate(warnings=warnings)
    assert package.package_format == 3
    assert warnings == []


SOURCES = re.compile(r"\.(?:py|js|css|jinja)$|CMakeLists\.txt$|^scripts/\w+$|^\.ci/run$")


def test_every_source_names_its_licence(repo_root: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "--cached"], cwd=repo_root, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this tree is no clone, and has no list of its sources")
    sources = [name for name in listed.stdout.splitlines() if SOURCES.search(name) and (repo_root / name).is_file()]
    assert len(sources) > 400
    unnamed = [
        name
        for name in sources
        if name != "scripts/COLCON_IGNORE"
        and not any("SPDX-License-Identifier: Apache-2.0" in line for line in (repo_root / name).open().readlines()[:2])
    ]
    assert unnamed == []


def test_every_exception_of_the_library_is_one_that_can_be_caught_as_such() -> None:
    defined = set()
    for name in (module.name for module in pkgutil.walk_packages(fsm_ros.__path__, "fsm_ros.")):
        if name.endswith("__main__"):  # it would run
            continue
        try:
            content = vars(importlib.import_module(name))
        except ModuleNotFoundError as error:
            assert str(error.name).partition(".")[0] != "fsm_ros", error
            continue  # what an optional package brings is not there
        defined |= {e for e in content.values() if isinstance(e, type) and issubclass(e, BaseException)}
    own = {error for error in defined if error.__module__.startswith("fsm_ros.")}
    assert {CheckpointError, SourceError} < own
    assert [error for error in own if not issubclass(error, FsmError)] == []
