# SPDX-License-Identifier: Apache-2.0
"""The house rules that tools can check: lint, format, types, and who may import whom."""

import importlib.util
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fsm_ros
from fsm_ros.errors import FsmError
from fsm_ros.memory.checkpoint import CheckpointError
from fsm_ros.sources.errors import SourceError


def check(command: list[str], repo_root: Path) -> None:
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} found:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--quiet", "--output-format=concise"],
        ["format", "--check", "--quiet", "--output-format=concise"],
    ],
    ids=["lint", "format"],
)
def test_ruff_finds_nothing(arguments: list[str], repo_root: Path) -> None:
    check([sys.executable, "-m", "ruff", *arguments, "."], repo_root)


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


@pytest.mark.slow
def test_mypy_finds_nothing(repo_root: Path) -> None:
    check([sys.executable, "-m", "mypy", "--no-error-summary"], repo_root)


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


@pytest.mark.slow
def test_nobody_imports_what_the_design_forbids(repo_root: Path) -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.fail("import-linter is not installed: run scripts/bootstrap --tests")
    program = Path(sys.executable).with_name("lint-imports")
    check([str(program if program.exists() else shutil.which("lint-imports")), "--no-cache"], repo_root)
