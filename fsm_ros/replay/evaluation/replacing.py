# SPDX-License-Identifier: Apache-2.0
"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write a file or a folder, which takes the place of `path` when the block ends without an error.

    Args:
        path: what to replace, or to make; its folder is made where it is missing.

    Yields:
        Where to write, beside `path` and of the same name. What is left there on an error, or on Ctrl-C, is removed.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        draft, old = Path(scratch) / path.name, Path(scratch) / "old"
        yield draft
        if not path.is_dir():
            os.replace(draft, path)
            return
        # A folder that is not empty cannot be replaced in one step.
        os.replace(path, old)
        try:
            os.replace(draft, path)
        except BaseException:
            if not path.exists():
                os.replace(old, path)
            raise
