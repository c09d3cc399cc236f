"""Run a program beside the main window, without blocking it and without a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .environment import scrubbed
from .qt import QtCore

STOP_MILLISECONDS = 3000
# Processes whose page is closed, until they have cleaned up and ended: destroying one kills it on the spot.
_ABANDONED: set[BackgroundProcess] = set()

_Signal = getattr(QtCore, "pyqtSignal", None) or QtCore.Signal


class BackgroundProcess(QtCore.QObject):
    """One program at a time; its output arrives line by line in the signal ``line``."""

    line = _Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._process: QtCore.QProcess | None = None
        self._done: Callable[[int], None] | None = None
        self._rest = ""
        self.stopped = False

    def start(self, command: Sequence[str], done: Callable[[int], None]) -> None:
        """Start a program; nothing happens if one is running.

        Parameters
        ----------
        command : sequence of str
            Program and arguments.
        done : callable
            Called with the exit code, 127 if it could not be started, 1 if it was killed.
        """
        if self._process is not None:
            return
        self._rest, self.stopped, self._done = "", False, done
        process = QtCore.QProcess(self)
        self._process = process
        environment = QtCore.QProcessEnvironment()
        for name, value in scrubbed().items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setProcessChannelMode(QtCore.QProcess.ProcessChannelMode.MergedChannels)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        process.start(command[0], list(command[1:]))

    def stop(self) -> None:
        """Ask the program to end by closing its standard input; kill it if it does not."""
        process = self._process
        if process is None:
            return
        self.stopped = True
        process.closeWriteChannel()
        QtCore.QTimer.singleShot(STOP_MILLISECONDS, lambda: self._kill(process))

    def abandon(self) -> None:
        """Stop the program, tell nobody, and stay alive until it has ended."""
        self.blockSignals(True)
        self._done = None
        if self._process is not None:
            _ABANDONED.add(self)
            self.stop()

    def _kill(self, process: QtCore.QProcess) -> None:
        if self._process is process:
            process.kill()

    def _read(self) -> None:
        if self._process is None:
            return
        text = self._rest + bytes(self._process.readAllStandardOutput()).decode("utf-8", "replace")
        *lines, self._rest = text.replace("\r\n", "\n").split("\n")
        for line in lines:
            self.line.emit(line)

    def _finished(self, code: int, status: QtCore.QProcess.ExitStatus) -> None:
        self._read()
        if self._rest:
            self.line.emit(self._rest)
        self._end(code if status == QtCore.QProcess.ExitStatus.NormalExit else 1)

    def _failed(self, error: QtCore.QProcess.ProcessError) -> None:
        if error == QtCore.QProcess.ProcessError.FailedToStart and self._process is not None:
            self.line.emit(self._process.errorString())
            self._end(127)

    def _end(self, code: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        done, self._done = self._done, None
        _ABANDONED.discard(self)
        if done is not None:
            done(code)
