# SPDX-License-Identifier: Apache-2.0
"""A film notes where a visitor was at an even rate, for so long and no longer."""

import math

from fsm_ros.viewer.film import FPS, LONGEST_S, Film
from fsm_ros.viewer.wish import Look

LOOK = Look((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 1.0, 1.5)


def test_a_visitor_is_noted_as_often_as_pictures_are_due_however_often_one_looks() -> None:
    film = Film()
    for tick in range(1000):
        film.note(LOOK, None, 50.0 + tick / 500)
        assert 0.0 < film.due_in_s(50.0 + tick / 500) <= 1.001 / FPS
    assert film.told() == f"{2 * FPS} pictures, 2.0 s"


def test_a_look_that_comes_late_fills_what_was_missed() -> None:
    film = Film()
    film.note(LOOK, None, 0.0)
    film.note(LOOK, None, 0.99)
    assert film.told().startswith(f"{FPS} pictures")


def test_it_ends_before_it_fills_the_memory() -> None:
    film = Film()
    film.note(LOOK, None, 0.0)
    film.note(LOOK, None, 10 * LONGEST_S)
    assert film.told() == f"{LONGEST_S * FPS:.0f} pictures, {LONGEST_S:.1f} s"
    assert film.due_in_s(10 * LONGEST_S + 1.0) == math.inf
