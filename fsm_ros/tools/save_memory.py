# SPDX-License-Identifier: Apache-2.0
"""The console script `save_memory`: asks a running memory to save itself, once it has observed what it was given.

save_memory kitchen --node /robot1/fsm
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional

from fsm_ros.command_line import option, parse
from fsm_ros.errors import FsmError
from fsm_ros.node.absent import why
from fsm_ros.tools import MEMORY_NODE
from fsm_ros.tools.ros_arguments import split_ros_arguments

FAILED = 1


@dataclass(frozen=True)
class Options:
    """Ask a running memory to save itself.

    Attributes:
        name: of the file, below the node's storage_dir.
        node: the memory node.
        settle_s: wait so long for the node to observe what still waits, the last, partial chunk too, seconds.
        timeout_s: for the node, and for its answer, seconds.
    """

    name: Positional[str]
    node: str = MEMORY_NODE
    settle_s: Annotated[float, option("S", name="settle")] = 20.0
    timeout_s: Annotated[float, option("S", name="timeout")] = 30.0


def main(arguments: Sequence[str] | None = None, prog: str = "save_memory") -> int:
    """Wait, ask, tell where it was saved; the exit code is 0 where it was."""
    own, ros_arguments = split_ros_arguments(arguments)
    options = parse(Options, own, prog)
    try:
        from fsm_ros.tools.saving import save
    except ImportError as error:
        print(f"{prog}: {why(error)}", file=sys.stderr)
        return FAILED
    try:
        saved = save(options, ros_arguments)
    except FsmError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    if saved.is_busy:
        print(f"{prog}: the node is still busy after {options.settle_s:g} s; saved as it is", file=sys.stderr)
    print(f"{saved.path}: {saved.size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
