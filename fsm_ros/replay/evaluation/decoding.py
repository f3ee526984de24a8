# SPDX-License-Identifier: Apache-2.0
"""Values of dataclasses back from plain JSON, by their type annotations; `tables.plain` is the way there."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np


def decode(kind: Any, plain: Any) -> Any:  # noqa: ANN401  # of whatever type is asked for
    """A value of a type out of JSON: dataclasses, enumerations, mappings, tuples, optional values, float arrays.

    Args:
        kind: a type, or an annotation such as ``tuple[float, ...]``.
        plain: what JSON held; null is NaN where a float is wanted.

    Raises:
        KeyError: a field is missing.
        TypeError, ValueError: something has another form.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if plain is None else decode(inner, plain)
    if origin is tuple:
        kinds = arguments[:1] * len(plain) if arguments[1:] == (...,) else arguments
        return tuple(decode(of, entry) for of, entry in zip(kinds, plain, strict=True))
    if origin is np.ndarray:
        return np.array(plain, dtype=np.float64)  # null becomes NaN
    if origin is not None and issubclass(origin, Mapping):
        key, entry_kind = arguments
        return {decode(key, name): decode(entry_kind, entry) for name, entry in plain.items()}
    if kind in (object, typing.Any):
        return plain
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: decode(hints[field.name], plain[field.name]) for field in fields(kind)})
    if kind is float:
        return math.nan if plain is None else float(plain)
    if issubclass(kind, Enum):
        return kind(plain)
    if not isinstance(plain, kind):
        raise ValueError(f"{plain!r} is no {kind.__name__}")
    return plain
