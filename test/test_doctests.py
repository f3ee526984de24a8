# SPDX-License-Identifier: Apache-2.0
"""Examples in docstrings say what is so."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["configuration.files", "configuration.table", "stream.calibration", "stream.frame"])
def test_what_a_docstring_shows_is_what_comes_out(module: str) -> None:
    done = doctest.testmod(import_module(f"fsm_ros.{module}"))
    assert done.attempted > 0 and done.failed == 0
