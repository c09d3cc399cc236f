"""What a running job says: progress, notes, errors and the result, as JSON lines.

Standard output belongs to the protocol while a job runs. ``protocol_stream`` keeps the real one for the
events and points everything else that is printed, by Python or by native code, to standard error.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TextIO

Clock = Callable[[], float]

_DIGITS = re.compile(r"\d+")


class Reporter(Protocol):
    """Where a job's events go: JSON lines for machines, a terminal for people."""

    def progress(self, percent: float, text: str) -> None:
        """Say how far the job is."""

    def info(self, text: str) -> None:
        """Say something worth knowing."""

    def warning(self, text: str) -> None:
        """Say something worth reading."""

    def error(self, family: str, text: str, exit_code: int) -> None:
        """Say why the job failed; the last event."""

    def result(self, task: str, outputs: Mapping[str, str], summary: Mapping[str, Any]) -> None:
        """Say what came out; the last event."""


class ProgressMeter:
    """Turn progress calls into few events: never backwards, not too often, with the time that is left.

    Parameters
    ----------
    interval : float
        Least seconds between two events whose texts differ in numbers only.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, interval: float = 0.2, clock: Clock = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._start = clock()
        self._last_time = -math.inf
        self._last_stage: str | None = None
        self._last_percent = 0.0
        self.percent = 0.0

    def update(self, percent: float, text: str) -> dict[str, Any] | None:
        """Return the event to send, or None if it is too soon for one.

        Parameters
        ----------
        percent : float
            0 to 100; lower than before counts as before.
        text : str
            What the job does now.

        Returns
        -------
        dict or None
            ``percent``, ``text`` and ``eta_seconds`` (None as long as nothing can be said).
        """
        now = self._clock()
        value = float(percent)
        if math.isfinite(value):
            self.percent = max(self.percent, min(value, 100.0))
        # A new stage is told at once; within a stage, whose text may count something, time has to pass.
        stage = _DIGITS.sub("", text)
        ended = self.percent >= 100.0 > self._last_percent
        if stage == self._last_stage and not ended and now - self._last_time < self._interval:
            return None
        self._last_time, self._last_stage, self._last_percent = now, stage, self.percent
        return {
            "percent": round(self.percent, 1),
            "text": text,
            "eta_seconds": self._eta(now - self._start),
        }

    def _eta(self, elapsed: float) -> float | None:
        # Start-up is no part of the work: an estimate made from it would be far too long.
        if self.percent < 12.0 or elapsed < 3.0:
            return None
        return round(elapsed * (100.0 - self.percent) / self.percent, 1)


class JsonLines:
    """Write events as one JSON object a line, each line at once and whole.

    Parameters
    ----------
    stream : text stream
        Where the lines go. If its reader is gone, events are dropped and the job goes on.
    interval : float
        Least seconds between two progress events of the same stage.
    """

    def __init__(self, stream: TextIO, interval: float = 0.2) -> None:
        self._stream = stream
        self._meter = ProgressMeter(interval)
        self._lock = threading.Lock()
        self._closed = False

    def progress(self, percent: float, text: str) -> None:
        """Write a progress event, unless one was written a moment ago."""
        event = self._meter.update(percent, text)
        if event is not None:
            self._write({"type": "progress", **event})

    def info(self, text: str) -> None:
        """Write an info event."""
        self._write({"type": "info", "text": text})

    def warning(self, text: str) -> None:
        """Write a warning event."""
        self._write({"type": "warning", "text": text})

    def error(self, family: str, text: str, exit_code: int) -> None:
        """Write the error event and nothing after it."""
        self._write({"type": "error", "family": family, "text": text, "exit_code": exit_code}, last=True)

    def result(self, task: str, outputs: Mapping[str, str], summary: Mapping[str, Any]) -> None:
        """Write the result event and nothing after it."""
        event = {"type": "result", "task": task, "outputs": dict(outputs), "summary": plain(summary)}
        self._write(event, last=True)

    def _write(self, event: dict[str, Any], last: bool = False) -> None:
        line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        # The watcher writes the last event while the main thread may be stuck in a write: do not wait long.
        if not self._lock.acquire(timeout=0.3):
            return
        try:
            if self._closed:
                return
            self._closed = last
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            self._closed = True
        finally:
            self._lock.release()


def plain(value: Any) -> Any:
    """Turn numbers of any library, tuples and mappings into what JSON holds; not-a-number becomes None.

    Parameters
    ----------
    value : object
        A value of a summary.

    Returns
    -------
    object
        Text, number, bool, None, list or dict.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


@contextlib.contextmanager
def protocol_stream() -> Iterator[TextIO]:
    """Keep the real standard output for events; send whatever else is printed to standard error.

    Yields
    ------
    text stream
        UTF-8, whatever the locale. If ``sys.stdout`` is not the process's own (a test, an application that
        embeds the engine) it is used as it is, and only Python's prints are diverted.
    """
    original = sys.stdout
    if _is_descriptor(original, 1) and _is_descriptor(sys.stderr, 2):
        with _divert_descriptor() as stream:
            yield stream
        return
    sys.stdout = sys.stderr
    try:
        yield original if original is not None else io.StringIO()
    finally:
        sys.stdout = original


@contextlib.contextmanager
def _divert_descriptor() -> Iterator[TextIO]:
    """Move descriptor 1 aside, so that native code that prints cannot reach the protocol."""
    original = sys.stdout
    original.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    stream = os.fdopen(kept, "w", encoding="utf-8", newline="\n")
    sys.stdout = sys.stderr
    try:
        yield stream
    finally:
        sys.stdout = original
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        os.dup2(kept, 1)
        with contextlib.suppress(OSError):
            stream.close()


def _is_descriptor(stream: Any, number: int) -> bool:
    """Say whether a stream is the process's descriptor of that number."""
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False
