"""What the engine says, told to the log and the progress bar of Processing."""

from __future__ import annotations

from qgis.core import QgsProcessingFeedback


class FeedbackListener:
    """Pass events on to a Processing feedback.

    Parameters
    ----------
    feedback : QgsProcessingFeedback
        The only object of QGIS that may be touched from an algorithm's thread.
    """

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._text = ""

    def is_cancelled(self) -> bool:
        """Say whether Cancel was pressed."""
        return self._feedback.isCanceled()

    def progress(self, percent: float, text: str) -> None:
        """Move the bar; a text goes to the log once, not at every step."""
        self._feedback.setProgress(percent)
        if text and text != self._text:
            self._text = text
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
