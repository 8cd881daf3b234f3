"""What a power cut leaves of real files and names: those operations that were synced, and some of the others.

recorder = RecordedFiles(monkeypatch, folder)   # all that is in `folder` by now is durable
write(folder / "a")
recorder.leave(len(recorder.operations), Random(1), other)   # what `folder` may be after a cut now
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest


@dataclass
class _File:
    seen: bytes
    kept: bytes | None  # what a sync brought to the disk; None if it was never synced


@dataclass
class _State:
    """Of one folder: the names that programs see, those on the disk, and the changes in between."""

    files: dict[int, _File] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)  # on the disk
    pending: list[dict[str, int | None]] = field(default_factory=list)  # names to files, or to none


class RecordedFiles:
    """Records what is done through `os` in `folder`, a flat one; what is done elsewhere does not count."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.operations: list[Callable[[_State], None]] = []
        self._start = _State()
        for path in folder.iterdir():
            number = path.stat().st_ino
            self._start.files[number] = _File(path.read_bytes(), path.read_bytes())
            self._start.names[path.name] = number
        for name in ("open", "write", "fsync", "replace", "unlink"):
            monkeypatch.setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))

    def leave(self, count: int, chance: Random, target: Path) -> None:
        """Write into `target` what a power cut after the first `count` operations may leave."""
        state = _State(
            {number: _File(file.seen, file.kept) for number, file in self._start.files.items()},
            dict(self._start.names),
        )
        for operation in self.operations[:count]:
            operation(state)
        names: dict[str, int | None] = dict(state.names)
        for change in state.pending:
            if chance.random() < 0.5:
                names.update(change)
        target.mkdir()
        for name, number in names.items():
            if number is not None:
                (target / name).write_bytes(_survivor(state.files[number], chance))

    def put(self, path: Path, content: bytes) -> None:
        """Make a file as a program that syncs nothing would."""
        path.write_bytes(content)
        number = path.stat().st_ino

        def put(state: _State) -> None:
            state.files[number] = _File(content, None)
            state.pending.append({path.name: number})

        self.operations.append(put)

    def _is_here(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and Path(path).parent == self.folder

    def _open(self, call: Callable[..., int]) -> Callable[..., int]:
        def recorded(path: Any, flags: int, *args: Any, **more: Any) -> int:
            is_new = self._is_here(path) and flags & os.O_CREAT and not Path(path).exists()
            file = call(path, flags, *args, **more)
            if self._is_here(path) and (is_new or flags & os.O_TRUNC):
                number = os.fstat(file).st_ino

                def opened(state: _State) -> None:
                    if is_new:
                        state.files[number] = _File(b"", None)
                        state.pending.append({Path(path).name: number})
                    state.files[number].seen = b""

                self.operations.append(opened)
            return file

        return recorded

    def _write(self, call: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def recorded(file: int, data: bytes) -> int:
            written = call(file, data)
            number, piece = os.fstat(file).st_ino, bytes(data[:written])

            def wrote(state: _State) -> None:
                if number in state.files:
                    state.files[number].seen += piece

            self.operations.append(wrote)
            return written

        return recorded

    def _fsync(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def recorded(file: int) -> None:
            call(file)
            number = os.fstat(file).st_ino
            is_folder = number == self.folder.stat().st_ino

            def synced(state: _State) -> None:
                if is_folder:
                    for change in state.pending:
                        for name, target in change.items():
                            if target is None:
                                state.names.pop(name, None)
                            else:
                                state.names[name] = target
                    state.pending.clear()
                elif number in state.files:
                    state.files[number].kept = state.files[number].seen

            self.operations.append(synced)

        return recorded

    def _replace(self, call: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def recorded(old: Any, new: Any) -> None:
            number = Path(old).stat().st_ino
            call(old, new)
            change = {Path(old).name: None, Path(new).name: number}
            if self._is_here(new):
                self.operations.append(lambda state: state.pending.append(dict(change)))

        return recorded

    def _unlink(self, call: Callable[..., None]) -> Callable[..., None]:
        def recorded(path: Any, **more: Any) -> None:
            call(path, **more)
            if self._is_here(path):
                self.operations.append(lambda state: state.pending.append({Path(path).name: None}))

        return recorded


def _survivor(file: _File, chance: Random) -> bytes:
    if file.kept == file.seen:
        return file.seen
    old = file.kept or b""
    torn = file.seen[: chance.randint(0, len(file.seen))]
    return chance.choice([old, torn, bytes(len(file.seen)), file.seen])
