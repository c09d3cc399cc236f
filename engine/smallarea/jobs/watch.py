"""Stop a running job when it is asked to: Ctrl-C, a termination signal, or the end of standard input.

A request raises ``KeyboardInterrupt`` in the main thread and ``Cancelled`` from the next progress call.
Native code hears neither, so that after a grace the process ends itself.

With ``--watch-stdin`` whoever started the engine keeps the other end of its standard input open. When that
process closes it or dies, however it dies, the engine reads the end of file and stops.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from smallarea.errors import Cancelled

GRACE_SECONDS = 1.0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Cancellation:
    """The cancellation of one run, used as a context around it.

    Parameters
    ----------
    watch_stdin : bool
        Treat the end of standard input as a request to stop.
    on_force : callable, optional
        Called just before the process is ended by force: say so, and remove temporary files.
    grace : float
        Seconds that the run has to stop by itself.
    """

    def __init__(
        self,
        watch_stdin: bool = False,
        on_force: Callable[[], None] | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._watch_stdin = watch_stdin
        self._on_force = on_force
        self._grace = grace
        self._lock = threading.Lock()
        self._requested = threading.Event()
        self._finished = threading.Event()
        self._interrupted = False
        self._handlers: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._requested.is_set()

    def check(self) -> None:
        """Raise if somebody asked the run to stop.

        Raises
        ------
        Cancelled
            If so.
        """
        if self.requested:
            raise Cancelled("Cancelled; nothing was written.")

    def request(self) -> None:
        """Ask the run to stop; further requests, and requests after its end, do nothing."""
        with self._lock:
            if self._requested.is_set() or self._finished.is_set():
                return
            self._requested.set()
        threading.Thread(target=self._end_by_force, name="smallarea-force", daemon=True).start()

    def __enter__(self) -> Cancellation:
        """Listen to the signals and, if asked for, to standard input."""
        if threading.current_thread() is threading.main_thread():
            self._install_handlers()
        if self._watch_stdin:
            threading.Thread(target=self._watch, name="smallarea-watch-stdin", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening: what comes now comes too late."""
        with self._lock:
            self._finished.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _install_handlers(self) -> None:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            # A signal that was set to be ignored (nohup, a background job of a script) stays ignored.
            if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
                continue
            self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Interrupt the main thread, once: a second signal must not break the clearing up after the first."""
        self.request()
        if not self._interrupted and not self._finished.is_set():
            self._interrupted = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Read standard input to its end, then ask the run to stop.

        ``os.read`` on the bare descriptor: a thread inside a buffered reader would crash the interpreter when
        it exits.
        """
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                if self._finished.is_set():
                    return
        with self._lock:
            late = self._finished.is_set()
        if not late:
            self.request()
            self._interrupt_main_thread()

    def _interrupt_main_thread(self) -> None:
        if not self._handlers:
            return
        number = next(iter(self._handlers))
        if hasattr(signal, "pthread_kill"):
            # A real signal also wakes the main thread from a system call that it waits in.
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            _thread.interrupt_main(number)

    def _end_by_force(self) -> None:
        if self._finished.wait(self._grace):
            return
        try:
            if self._on_force is not None:
                self._on_force()
        finally:
            os._exit(Cancelled.exit_code)


@contextlib.contextmanager
def wake_on_signal(cancellation: Cancellation) -> Iterator[None]:
    """Notice signals while the main thread is inside native code, where Python's handlers have to wait.

    Parameters
    ----------
    cancellation : Cancellation
        The one to ask. Its signal handlers must be installed.

    Yields
    ------
    None
        Does nothing on Windows and outside the main thread.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    stopping = {number for name in _SIGNALS if (number := getattr(signal, name, None)) is not None}

    def listen() -> None:
        while received := os.read(reader, 64):
            if stopping.intersection(received):
                cancellation.request()
        os.close(reader)

    threading.Thread(target=listen, name="smallarea-signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)


def end_by_force_after(seconds: float, exit_code: int) -> None:
    """End the process if it has not ended by itself, because a library's threads keep it.

    Parameters
    ----------
    seconds : float
        How long to wait.
    exit_code : int
        What to exit with then.
    """
    timer = threading.Timer(seconds, os._exit, args=(exit_code,))
    timer.daemon = True
    timer.start()
