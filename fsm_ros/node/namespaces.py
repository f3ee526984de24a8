# SPDX-License-Identifier: Apache-2.0
"""What a node's namespace makes its own, where several robots share a graph, a TF tree and a home folder."""

from __future__ import annotations

from pathlib import Path


def scoped(name: str, namespace: str) -> str:
    """A name that no other robot has.

    Args:
        name: of a TF frame or a device, say; one that begins with a slash is meant as it is, without the slash.
        namespace: of the node, ``/robot1`` say; ``/`` is none.

    Returns:
        ``robot1/name``; without a namespace the name itself.
    """
    if name.startswith("/"):
        return name.lstrip("/")
    return "/".join(filter(None, (namespace.strip("/"), name)))


def storage_folder(storage_dir: str, namespace: str) -> str:
    """The folder of one robot's memory files: below ``storage_dir`` one for each namespace."""
    return str(Path(storage_dir) / namespace.strip("/"))
