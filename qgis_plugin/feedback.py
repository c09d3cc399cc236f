"""What the engine says, told to the log and the progress bar of Processing."""

from __future__ import annotations

import re
import time

from qgis.core import QgsProcessingFeedback

_REPEAT_SECONDS = 3.0
_NUMBERS = re.compile(r"\d+")


class FeedbackListener:
    """Pass events on to a Processing feedback.

    Parameters
    ----------
    feedback : QgsProcessingFeedback
        The only object of QGIS that may be touched from an algorithm's thread.
    """

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._stage = ""
        self._said = 0.0

    def is_cancelled(self) -> bool:
        """Say whether Cancel was pressed."""
        return self._feedback.isCanceled()

    def progress(self, percent: float, text: str) -> None:
        """Move the bar; write each stage to the log once, and its counts now and then: every text stays there."""
        self._feedback.setProgress(percent)
        stage, now = _NUMBERS.sub("", text), time.monotonic()
        if text and (stage != self._stage or now - self._said > _REPEAT_SECONDS):
            self._stage, self._said = stage, now
            self._feedback.setProgressText(text)

    def info(self, text: str) -> None:
        """Write to the log."""
        self._feedback.pushInfo(text)

    def warning(self, text: str) -> None:
        """Write a warning to the log."""
        self._feedback.pushWarning(text)

    def console(self, text: str) -> None:
        """Write a line of raw output to the log."""
        self._feedback.pushConsoleInfo(text)
