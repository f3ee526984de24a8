# SPDX-License-Identifier: Apache-2.0
"""Command lines: the options of a command are one frozen dataclass, which says their names, defaults and help once.

tyro reads flags off the fields and their help off the class's docstring (``Attributes:``), and completes them in a
shell. A module with options imports nothing heavy, so that ``--help`` is quick: what a command works with is imported
once its options are known.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Annotated, NoReturn, Protocol, TypeVar, Union, cast

import tyro
from tyro.conf import UseAppendAction
from tyro.constructors import PrimitiveConstructorSpec

USAGE = 2
"""Exit code where the command line cannot be understood."""

T = TypeVar("T")
_MARKERS = (
    tyro.conf.DisallowNone,
    tyro.conf.EnumChoicesFromValues,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.HelptextFromCommentsOff,
    tyro.conf.PositionalMetavarFromFieldName,
)


class Main(Protocol):
    """What runs a command."""

    def __call__(self, arguments: Sequence[str] | None = None, prog: str = ...) -> int:
        """Run it; returns the exit code.

        Args:
            arguments: its own; ``None``: those of the process.
            prog: what it was called by.
        """


def parse(options: type[T], arguments: Sequence[str] | None, prog: str) -> T:
    """Options from a command line.

    Args:
        options: a dataclass; a ``ValueError`` of its own checks is told as any other fault of the command line.
        arguments: the words; ``None``: those of the process.
        prog: what the command was called by.

    Raises:
        SystemExit: with 0, after help or a completion script was printed; with `USAGE`, after one line that says what
            is wrong.
    """
    with one_line_errors(prog, f"Error parsing {options.__name__}: "):
        return tyro.cli(options, prog=prog, args=arguments, config=_MARKERS)


def choose(programs: Mapping[str, type[object]], arguments: Sequence[str], prog: str, description: str) -> NoReturn:
    """What a command with subcommands says where none of them is meant: its help, or a completion script.

    Args:
        programs: options, by subcommand.
        arguments: the words.
        prog: what the command was called by.
        description: of all.

    Raises:
        SystemExit: as of `parse`.
    """
    with one_line_errors(prog):
        commands = [
            Annotated[options, tyro.conf.subcommand(name, description=(options.__doc__ or "").partition("\n")[0])]
            for name, options in programs.items()
        ]
        one_of = cast(type[object], Union[tuple(commands)])  # noqa: UP007  # how many there are is not known here
        tyro.cli(one_of, prog=prog, description=description, args=arguments, config=_MARKERS)
    raise SystemExit(USAGE)


@contextmanager
def one_line_errors(prog: str, prefix: str = "") -> Iterator[None]:
    """Lets tyro say in one line what it says in a box. Args: who says it; what it need not begin with."""
    told = io.StringIO()
    try:
        with redirect_stderr(told):
            yield
    except SystemExit:
        if told.getvalue():
            print(f"{prog}: {in_a_line(told.getvalue()).removeprefix(prefix)}", file=sys.stderr)
        raise


def in_a_line(box: str) -> str:
    """What tyro tells in a box, without its title; parts that a rule sets apart are set apart by semicolons.

    Args:
        box: drawn in Unicode or in ASCII, whichever standard output has; in colours on a terminal.
    """
    lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    inside = lines[1:] if lines[0].startswith("╭") else lines[2:]
    parts = re.split(r"[─-]{10,}", " ".join(line.strip("│╰╯ ") for line in inside))
    return "; ".join(" ".join(part.split()) for part in parts if part.strip())


def option(metavar: str | None = None, *, name: str | None = None, default: object = None) -> object:
    """What a field does not say itself.

    Args:
        metavar: what stands for the value in the help.
        name: of the flag, without hyphens, where it is not the field's.
        default: in words, what holds where a field is not given that has nothing, or an empty value, for it.
    """
    hint = None if default is None else f"(default: {default})"
    return tyro.conf.arg(name=name, metavar=metavar, help_behavior_hint=hint)


def several(metavar: str) -> object:
    """Of a positional field: it is given once or more often, which its class has to check."""
    return tyro.conf.arg(metavar=f"{metavar} [{metavar} ...]", help_behavior_hint="(required)")


def values(
    read: Callable[[list[str]], T], count: int | tuple[int, ...], metavar: str
) -> PrimitiveConstructorSpec[T | None]:
    """How a field is read that is not read as its type is.

    Args:
        read: the value from the words; a ``ValueError`` says what is wrong with them.
        count: of words, or the counts that there may be.
        metavar: what stands for them in the help.
    """
    return PrimitiveConstructorSpec(
        nargs=count,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(each) for each in value] if isinstance(value, tuple) else [str(value)],
    )


def numbers(kind: Callable[[str], float], *names: str) -> PrimitiveConstructorSpec[tuple[float, ...] | None]:
    """As many numbers as there are names for them."""
    return values(lambda words: tuple(map(kind, words)), len(names), " ".join(names))


ParameterFiles = Annotated[UseAppendAction[tuple[Path, ...]], option("FILE", name="params")]
"""Parameter files of the node, ``--params``; a later one goes before."""
Assignments = Annotated[UseAppendAction[tuple[str, ...]], option("NAME=VALUE", name="set")]
"""Parameters one by one, ``--set``; a later one goes before."""
