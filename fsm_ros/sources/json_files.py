# SPDX-License-Identifier: Apache-2.0
"""JSON files of other programs: read, with errors that say where in the file something is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsm_ros.sources.errors import SourceError


def load_json(path: Path) -> Any:  # noqa: ANN401
    """Content of a JSON file (UTF-8, with or without a byte order mark).

    Raises:
        SourceError: there is no such file, or it is no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise not_json(path, error) from error


def load_json_lines(path: Path) -> list[Any]:
    """Objects of a JSON-lines file; a file that is one JSON value over many lines counts as one object.

    Raises:
        SourceError: there is no such file, it is empty, or a line is no JSON.
    """
    text = read_text(path)
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        whole = error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    values = []
    for number, line in lines:
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError as error:
            if not values:  # then it is no JSON-lines file, and what is wrong with the whole says more
                raise not_json(path, whole) from whole
            raise SourceError(f"{path}: line {number} is no JSON ({error.msg}): was it cut short?") from error
    if not values:
        raise SourceError(f"{path} is empty: copy it again")
    return values


def read_text(path: Path) -> str:
    """Text of a UTF-8 file.

    Raises:
        SourceError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is no UTF-8 text: give the text file itself, or export it again") from error


def not_json(path: Path, error: json.JSONDecodeError) -> SourceError:
    """Where a file stops being JSON."""
    return SourceError(
        f"{path} is no JSON (line {error.lineno}, column {error.colno}: {error.msg}): was it cut short or edited?"
    )


def list_of_objects(values: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    """The non-empty list of JSON objects under a key.

    Raises:
        SourceError: anything else is there.
    """
    found = values.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(entry, Mapping) for entry in found):
        raise SourceError(f"{where}: '{key}' must be a list of at least one JSON object: export it again")
    return found


def text(values: Mapping[str, Any], key: str, where: str) -> str:
    """The non-empty string under a key.

    Raises:
        SourceError: anything else is there.
    """
    found = values.get(key)
    if not isinstance(found, str) or not found:
        raise SourceError(f"{where}: '{key}' must be a text, got {found!r}: add it")
    return found


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """The finite number under a key.

    Raises:
        SourceError: anything else is there.
    """
    found = values.get(key)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise SourceError(f"{where}: '{key}' must be a finite number, got {found!r}: add or correct it")
    return float(found)


def whole_number(values: Mapping[str, Any], key: str, where: str) -> int:
    """The number under a key, which has no fraction and is not negative; ``1920.0`` is one too.

    Raises:
        SourceError: anything else is there.
    """
    found = number(values, key, where)
    if found < 0 or found != int(found):
        raise SourceError(f"{where}: '{key}' must be a whole number from 0, got {found}: correct it")
    return int(found)
