# SPDX-License-Identifier: Apache-2.0
"""The console script `fsm`: all programs of this package under one name, where there is no `ros2 run`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsm_ros.command_line import Main, choose
from fsm_ros.node import fsm_node
from fsm_ros.replay.demo import command as demo
from fsm_ros.replay.evaluation import evaluate_bag
from fsm_ros.replay.recording import make_bag
from fsm_ros.tools import export_surface, play_bag, render_view, save_memory, view_memory
from fsm_ros.training import evaluate, scene_sheet, train

PROG = "fsm"
DESCRIPTION = """The fast spatial memory: learns a scene from posed camera images and renders it from anywhere.

fsm COMMAND --help says what a command takes. To complete commands and their options in a shell:
fsm --tyro-write-completion bash ~/.local/share/bash-completion/completions/fsm (or zsh, and a folder of $fpath).
"""


@dataclass(frozen=True)
class Program:
    """One command.

    Attributes:
        options: its dataclass; the first line of its docstring is what the list of commands says.
        main: runs it.
    """

    options: type[object]
    main: Main


PROGRAMS: Mapping[str, Program] = {
    "node": Program(fsm_node.Options, fsm_node.main),
    "view": Program(view_memory.Options, view_memory.main),
    "render": Program(render_view.Options, render_view.main),
    "play": Program(play_bag.Options, play_bag.main),
    "save": Program(save_memory.Options, save_memory.main),
    "export": Program(export_surface.Options, export_surface.main),
    "record": Program(make_bag.Options, make_bag.main),
    "evaluate": Program(evaluate_bag.Options, evaluate_bag.main),
    "train": Program(train.Options, train.main),
    "score": Program(evaluate.Options, evaluate.main),
    "scenes": Program(scene_sheet.Options, scene_sheet.main),
    "demo": Program(demo.Options, demo.main),
}
"""By the word that stands behind `fsm`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that is named; without one, print what there is."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in PROGRAMS:
        return PROGRAMS[words[0]].main(words[1:], prog=f"{PROG} {words[0]}")
    choose({name: each.options for name, each in PROGRAMS.items()}, words or ["--help"], PROG, DESCRIPTION)


if __name__ == "__main__":
    sys.exit(main())
