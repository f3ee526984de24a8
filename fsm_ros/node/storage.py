# SPDX-License-Identifier: Apache-2.0
"""Where memory files may lie: below one folder, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".safetensors"


def confined_path(storage_dir: str, name: str, suffixes: Sequence[str] = (SUFFIX,)) -> Path:
    """The file that a request names.

    Args:
        storage_dir: the only folder that requests may reach; ``~`` is the home folder.
        name: relative to it.
        suffixes: that it may have; where there is but one, it is added where it is missing.

    Raises:
        ValueError: empty, not printable, beginning with ``~`` or ending in none of several suffixes, outside of the
            folder once all links are followed, links that lead nowhere, or something there that is no regular file.
    """
    if not name.strip():
        raise ValueError("path is empty: name a file below storage_dir")
    if not name.isprintable() or name.startswith("~"):
        raise ValueError(f"{name!r} is no name for a file: use printable characters, and no ~ at its beginning")
    try:
        root = Path(storage_dir).expanduser().resolve()
        path = (root / name).resolve()
        if path.suffix not in suffixes and len(suffixes) == 1:
            path = path.with_name(path.name + suffixes[0]).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle, a home folder that there is not
        raise ValueError(f"{name!r} below storage_dir ({storage_dir}) cannot be followed: {error}") from error
    if path.suffix not in suffixes:
        raise ValueError(f"{name!r} must end in {' or '.join(suffixes)}")
    if root not in path.parents:
        raise ValueError(f"{name!r} lies outside of storage_dir ({root}): use a path relative to it")
    if path.exists() and not path.is_file():
        # A pipe would be waited for without end, by a thread that nothing can wake.
        raise ValueError(f"{path} is no regular file: choose another name")
    return path
