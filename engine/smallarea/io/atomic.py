"""Outputs that are whole or not there: written to a temporary neighbour, then renamed.

A temporary file is called ``.NAME.smallarea-tmp-HOST-PID-N.EXT`` and lies in the folder of its target,
because a rename is atomic only inside one file system. The host and the process id tell a later run which of
them were left behind by a run that was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from smallarea.errors import OutputProblem

SIDECARS = ("-wal", "-shm", "-journal")
_DATABASES = {".gpkg", ".sqlite", ".db"}
_TEMPORARY = re.compile(r"^\..+\.smallarea-tmp-(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-")
_COUNTER = itertools.count()


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to the target when the block ends well.

    Parameters
    ----------
    target : path
        The file to create or to replace.

    Yields
    ------
    pathlib.Path
        Where to write. It does not exist yet and has the target's extension.

    Raises
    ------
    OutputProblem
        If the folder is missing or not writable, or if the target cannot be replaced.
    """
    with AtomicOutputs() as outputs:
        yield outputs.path(target)


class AtomicOutputs:
    """Several outputs that appear together.

    Write each of them to the path that `path` gives. When the ``with`` block ends well all are renamed, one
    after the other; if one cannot be, those before it are put back. When the block raises, every temporary is
    removed and the targets are as they were.
    """

    def __init__(self) -> None:
        self._swaps: list[_Swap] = []

    def path(self, target: str | os.PathLike[str]) -> Path:
        """Return the temporary path for one more target.

        Raises
        ------
        OutputProblem
            If the folder is missing or not writable, the target is a folder, or it was asked for before.
        """
        # A link is followed, so that the file it points to is replaced and not the link.
        final = Path(os.path.realpath(target))
        _check_target(final)
        if any(swap.target == final for swap in self._swaps):
            raise OutputProblem(f"Two outputs have the same path {final}. Give each its own.")
        remove_stale(final.parent)
        temporary = temporary_path(final)
        _check_writable(temporary)
        self._swaps.append(_Swap(final, temporary))
        return temporary

    def written(self, target: str | os.PathLike[str]) -> Path:
        """Return the temporary path of a target that was asked for before, to read what was written there.

        Raises
        ------
        OutputProblem
            If it was not asked for.
        """
        final = Path(os.path.realpath(target))
        for swap in self._swaps:
            if swap.target == final:
                return swap.temporary
        raise OutputProblem(f"Nothing was written for {final}.")

    def __enter__(self) -> AtomicOutputs:
        """Start the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Rename the outputs if there was no exception; remove the temporaries in any case."""
        try:
            if kind is None:
                self._commit()
        finally:
            for swap in self._swaps:
                swap.discard()

    def _commit(self) -> None:
        started: list[_Swap] = []
        current: Path | None = None
        try:
            for swap in self._swaps:
                current = swap.target
                swap.settle()
            for swap in self._swaps:
                current = swap.target
                started.append(swap)
                # One output needs no way back: the rename either happened or not.
                swap.replace(keep_old=len(self._swaps) > 1)
        except BaseException as error:
            for swap in reversed(started):
                swap.undo()
            if isinstance(error, OSError | sqlite3.Error):
                raise OutputProblem(
                    f"Cannot write {current}: {error}. Is it open in another program? Nothing was changed."
                ) from error
            raise
        for swap in self._swaps:
            swap.forget()


@dataclass
class _Swap:
    """One temporary file and the target that it will replace."""

    target: Path
    temporary: Path
    _moved: list[tuple[Path, Path]] = field(default_factory=list)
    _replaced: bool = False
    _existed: bool = False

    @property
    def _spare(self) -> Path:
        return self.temporary.with_name(self.temporary.name + ".old")

    def settle(self) -> None:
        """Bring everything into the temporary file itself and onto the disk."""
        if not self.temporary.exists():
            raise FileNotFoundError(f"nothing was written to {self.temporary.name}")
        if any(_beside(self.temporary, suffix).exists() for suffix in SIDECARS):
            _fold_in_sidecars(self.temporary)
        _sync(self.temporary)

    def replace(self, keep_old: bool) -> None:
        """Put the temporary in the target's place; remember how to go back if asked."""
        self._existed = self.target.exists()
        if keep_old and self._existed:
            _link_or_copy(self.target, self._spare)
        if self.target.suffix.lower() in _DATABASES:
            # A journal of the old file would be replayed into the new one.
            for suffix in SIDECARS:
                old = _beside(self.target, suffix)
                if old.exists():
                    away = _beside(self._spare, suffix)
                    os.replace(old, away)
                    self._moved.append((old, away))
        os.replace(self.temporary, self.target)
        self._replaced = True
        _sync_folder(self.target.parent)

    def undo(self) -> None:
        """Put the old target back, as far as that is possible."""
        with contextlib.suppress(OSError):
            if self._replaced and self._spare.exists():
                os.replace(self._spare, self.target)
            elif self._replaced and not self._existed:
                self.target.unlink()
        for old, away in self._moved:
            with contextlib.suppress(OSError):
                os.replace(away, old)
        self._moved.clear()

    def forget(self) -> None:
        """Remove what was kept for going back."""
        for path in (self._spare, *(away for _, away in self._moved)):
            _remove(path)

    def discard(self) -> None:
        """Remove the temporary and what a driver may have put beside it."""
        for path in (self.temporary, self._spare):
            _remove(path)
            for suffix in SIDECARS:
                _remove(_beside(path, suffix))


def temporary_path(target: Path) -> Path:
    """Return a new name for a temporary neighbour of the target."""
    tag = f"smallarea-tmp-{_host()}-{os.getpid()}-{next(_COUNTER)}"
    return target.with_name(f".{target.stem}.{tag}{target.suffix}")


def remove_stale(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove temporaries that runs on this machine left behind when they were killed.

    Parameters
    ----------
    folder : path
        Where to look; folders below it are left alone.

    Returns
    -------
    list of pathlib.Path
        What was removed. Files of running processes and of other machines (shared folders) stay.
    """
    removed = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.match(entry.name)
            if found is None or found["host"] != _host() or _is_running(int(found["pid"])):
                continue
            path = Path(entry.path)
            _remove(path)
            if not path.exists():
                removed.append(path)
    return removed


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise OutputProblem(f"Cannot write {target}: the folder {target.parent} does not exist. Create it first.")
    if target.is_dir():
        raise OutputProblem(f"Cannot write {target}: it is a folder. Give the path of a file.")
    if not target.exists():
        return
    # A device or a pipe would be replaced by a plain file; a write-protected file would be replaced as well, since
    # renaming asks for the folder's permission only.
    if not target.is_file():
        raise OutputProblem(f"Cannot write {target}: it is not a regular file. Give the path of a file.")
    if not target.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise OutputProblem(f"Cannot write {target}: it is write-protected. Allow writing, or choose another name.")


def check_suffix(target: str | os.PathLike[str], suffixes: Sequence[str], what: str) -> None:
    """Refuse a file name that promises another format than the one that will be written.

    Parameters
    ----------
    target : path
        The output.
    suffixes : sequence of str
        Endings that fit, lower case and with their dot.
    what : str
        The format, for the message.

    Raises
    ------
    OutputProblem
        If the name ends in something else.
    """
    if Path(target).suffix.lower() not in suffixes:
        raise OutputProblem(f"{target} will hold {what}, so its name must end in {' or '.join(suffixes)}.")


def _check_writable(temporary: Path) -> None:
    """Fail early and with a plain message, before the work is done."""
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise OutputProblem(f"Cannot write to the folder {temporary.parent}: {error.strerror or error}.") from error


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _link_or_copy(source: Path, copy: Path) -> None:
    try:
        os.link(source, copy)
    except OSError:  # file systems without hard links
        shutil.copy2(source, copy)


def _fold_in_sidecars(path: Path) -> None:
    """Write a SQLite file's log into the file itself; only the file is renamed."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode=DELETE")


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut; not every system can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        return _is_running_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it exists but is another user's, or we cannot tell
    return True


def _is_running_on_windows(pid: int) -> bool:
    """Signal 0 would end the process there, so ask the kernel for its exit code."""
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    try:
        code = ctypes.c_ulong()
        return bool(kernel.GetExitCodeProcess(handle, ctypes.byref(code))) and code.value == still_active
    finally:
        kernel.CloseHandle(handle)
