"""Run the engine in its own process: start it, pass on what it says, stop it, and never leave it behind.

Only the standard library: what is said goes to a listener, which knows nothing of processes. The engine ends
itself when its standard input closes, which also happens when this process dies, however it dies.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from .environment import scrubbed

TICK = 0.1
# The engine gives itself 1.0 s to stop and to remove its temporary files.
KILL_AFTER = 1.4
LAST_LINES = 5


class Listener(Protocol):
    """Who hears what the engine says."""

    def is_cancelled(self) -> bool:
        """Say whether the user wants to stop."""

    def progress(self, percent: float, text: str) -> None:
        """Take progress."""

    def info(self, text: str) -> None:
        """Take something worth knowing."""

    def warning(self, text: str) -> None:
        """Take something worth reading."""

    def console(self, text: str) -> None:
        """Take a line that is not of the protocol."""


class EngineFailed(Exception):
    """The engine ended without a result.

    Attributes
    ----------
    family : str
        The engine's error family, empty if it said none.
    exit_code : int or None
        What the process exited with.
    """

    def __init__(self, text: str, family: str = "", exit_code: int | None = None) -> None:
        super().__init__(text)
        self.family = family
        self.exit_code = exit_code


class EngineCancelled(Exception):
    """The user cancelled, and the engine is gone."""


def run_engine(
    command: Sequence[str],
    folder: Path,
    listener: Listener,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run the engine to its end.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    folder : pathlib.Path
        Working folder, never the plugin's own.
    listener : Listener
        Hears everything from this thread.
    environment : mapping, optional
        Variables to start from; they are scrubbed.

    Returns
    -------
    dict
        The result event: ``outputs`` and ``summary``.

    Raises
    ------
    EngineFailed
        If it cannot be started, reports an error, exits with another code than 0, or ends without a result.
    EngineCancelled
        If the listener asked for it.
    """
    process = _start(command, folder, scrubbed(environment))
    lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
    readers = [
        _reader("stdout", process.stdout, lines),
        _reader("stderr", process.stderr, lines),
    ]
    conversation = _Conversation(listener)
    try:
        _listen(process, lines, conversation)
        _close(process.stdin)
        exit_code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        raise EngineFailed("The engine closed its output but did not end; it was stopped.") from None
    finally:
        # Also on an exception from the listener: whatever happens here, no engine stays behind.
        _stop(process)
        for reader in readers:
            reader.join(timeout=1.0)
    return conversation.outcome(exit_code)


class _Conversation:
    """What the engine has said so far."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._result: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    def take(self, stream: str, line: str) -> None:
        """Take one line of output."""
        text = line.rstrip("\r\n")
        event = _event(text) if stream == "stdout" else None
        if event is None:
            if text.strip():
                self._last.append(text)
                self.listener.console(text)
            return
        kind, said = event["type"], str(event.get("text", ""))
        if kind == "progress":
            self.listener.progress(_number(event.get("percent")), said)
        elif kind == "info":
            self.listener.info(said)
        elif kind == "warning":
            self.listener.warning(said)
        elif kind == "error":
            self._error = event
        elif kind == "result":
            self._result = event

    def outcome(self, exit_code: int) -> dict[str, Any]:
        """Return the result, or raise what went wrong."""
        if self._error is not None:
            family = str(self._error.get("family", ""))
            raise EngineFailed(str(self._error.get("text") or "The engine failed."), family, exit_code)
        if exit_code == 0 and self._result is not None:
            return self._result
        how = "without a result" if exit_code == 0 else _ending(exit_code)
        tail = "\n".join(self._last)
        said = f" Its last words:\n{tail}" if tail else ""
        raise EngineFailed(f"The engine ended {how}.{said}", exit_code=exit_code)


def _event(text: str) -> dict[str, Any] | None:
    """Return the event in a line; None if the line is something else."""
    if not text.startswith("{"):
        return None
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = "; there may not have been enough memory" if name == "SIGKILL" else ""
    return f"by {name}{hint}"


def _start(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the process in a group of its own, so that it can be ended with all that it started."""
    windows = sys.platform == "win32"
    flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP if windows else 0
    try:
        return subprocess.Popen(  # noqa: S603  # nosec B603 - the user's own interpreter, arguments as a list
            list(command),
            cwd=str(folder),
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=not windows,
            creationflags=flags,
        )
    except OSError as error:
        raise EngineFailed(f"The engine cannot be started with {command[0]}: {error.strerror or error}.") from error


def _reader(name: str, stream: IO[str], lines: queue.Queue[tuple[str, str | None]]) -> threading.Thread:
    def read() -> None:
        try:
            # The thread closes what it reads: somebody else may hold the other end for longer than we wait.
            with stream as source:
                for line in source:
                    lines.put((name, line))
        finally:
            lines.put((name, None))

    thread = threading.Thread(target=read, name=f"smallarea-{name}", daemon=True)
    thread.start()
    return thread


def _listen(
    process: subprocess.Popen[str],
    lines: queue.Queue[tuple[str, str | None]],
    conversation: _Conversation,
) -> None:
    """Pass on lines until both streams end; look for a wish to cancel all the time, also while nothing is said."""
    open_streams = 2
    ended: float | None = None
    while open_streams:
        if conversation.listener.is_cancelled():
            raise EngineCancelled("Cancelled")
        try:
            name, line = lines.get(timeout=TICK)
        except queue.Empty:
            if process.poll() is not None:
                # Something that the engine started may hold the streams open for ever.
                ended = ended or time.monotonic()
                if time.monotonic() - ended > 1.0:
                    return
            continue
        if line is None:
            open_streams -= 1
        else:
            conversation.take(name, line)


def _stop(process: subprocess.Popen[str]) -> None:
    """End the process: politely by closing its standard input, then by force."""
    _close(process.stdin)
    if process.poll() is None:
        try:
            process.wait(timeout=KILL_AFTER)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        # The interpreter of a virtual environment is a launcher whose job object takes the real one with it.
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _close(stream: IO[str] | None) -> None:
    if stream is not None and not stream.closed:
        try:
            stream.close()
        except OSError:
            return  # the process is gone, and with it the other end
