# SPDX-License-Identifier: Apache-2.0
"""The files of a rosbag2 recording, and readers that forgive what its metadata.yaml says wrongly.

What a recording holds is in its storage files; metadata.yaml repeats it, and is missing where the recorder was killed,
edited by hand where somebody changed the QoS, or of tools that leave fields empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.typesys import Stores, get_typestore

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3")


def open_any(path: Path) -> AnyReader:
    """An open reader of a rosbag2 folder or file, or of a ROS 1 bag.

    Raises:
        Exception: of many kinds, where it cannot be read.
    """
    try:
        reader = _opened(storage_files(path))
    except Exception as error:
        # What metadata.yaml says of its topics may be beyond rosbags, such as a QoS that is a mapping.
        files = _files_of(path) if path.is_dir() and _has_all_files(path, _said(path)) else []
        if not files:
            raise
        try:
            reader = _opened(files)
        except Exception:
            raise error from None
    for part in reader.readers:
        if isinstance(part, Reader) and isinstance(part.storage, DirectoryReader):
            _agree(part.storage)
    return reader


def storage_files(path: Path) -> list[Path]:
    """What to open of a recording: itself, or its files where its metadata.yaml does not lead to them."""
    if not path.is_dir():
        return [path]
    if (path / METADATA).exists():
        said = _said(path)
        if said.get("storage_identifier") or not _has_all_files(path, said):
            return [path]
    return _files_of(path) or [path]


def _opened(paths: list[Path]) -> AnyReader:
    reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_JAZZY))
    reader.open()
    return reader


def _files_of(path: Path) -> list[Path]:
    """The storage files of a folder, drive_10.mcap after drive_9.mcap."""
    files = [file for file in path.iterdir() if file.is_file() and file.suffix in SUFFIXES]
    return sorted(files, key=lambda file: [int(part) if part.isdigit() else part for part in _PARTS.split(file.name)])


def _has_all_files(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether the files are there that metadata.yaml names: one that is missing must not go unnoticed."""
    try:
        names = [Path(name).name for name in said["relative_file_paths"]]
    except (KeyError, TypeError):
        return False
    return bool(names) and all((path / name).exists() for name in names)


def _said(path: Path) -> dict[str, Any]:
    """What metadata.yaml says, as far as it can be read; rosbags tells what is wrong with it."""
    try:
        said = yaml.safe_load((path / METADATA).read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError):
        return {}
    return said if isinstance(said, dict) else {}


def _agree(folder: DirectoryReader) -> None:
    """Let a topic's QoS in the storage be what metadata.yaml says: rosbags takes two for two topics otherwise."""
    said = {(connection.topic, connection.msgtype): connection.ext for connection in folder.connections}
    for storage in folder.storages:
        storage.connections = [
            connection._replace(ext=said.get((connection.topic, connection.msgtype), connection.ext))
            for connection in storage.connections
        ]


_PARTS = re.compile(r"(\d+)")
