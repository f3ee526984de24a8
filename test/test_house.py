"""The house rules that tools can check: lint, format, types, and who may import whom."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


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


def test_mypy_finds_nothing(repo_root: Path) -> None:
    check([sys.executable, "-m", "mypy", "--no-error-summary"], repo_root)


def test_nobody_imports_what_the_design_forbids(repo_root: Path) -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.fail("import-linter is not installed: run scripts/bootstrap --tests")
    program = Path(sys.executable).with_name("lint-imports")
    check([str(program if program.exists() else shutil.which("lint-imports")), "--no-cache"], repo_root)
