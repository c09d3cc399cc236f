"""What a posterior sampler collects batch by batch, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.summaries import RunningMoments

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Above this many numbers the draws are kept in single precision: seven digits say more than a draw knows.
DOUBLE_PRECISION_UP_TO = 150_000_000


@dataclass(frozen=True)
class Batch:
    """What a thread found at some sets of hyperparameters (last axis)."""

    mean: Vector
    synthetic: Vector
    beta_mean: Vector
    beta_covariance: Vector
    beta: Vector
    theta: Vector


@dataclass(frozen=True)
class Drawn:
    """Draws and running moments, filled batch by batch."""

    means: RunningMoments
    synthetic: RunningMoments
    theta: Vector
    beta: Vector
    beta_mean: Vector
    beta_covariance: Vector
    location: Vector
    scale: Vector

    @classmethod
    def empty(cls, model: CollapsedModel, draws: int) -> Drawn:
        n, k = model.data.shape
        p = model.data.design.shape[2]
        kind = np.float64 if draws * n * k <= DOUBLE_PRECISION_UP_TO else np.float32
        return cls(
            RunningMoments(),
            RunningMoments(),
            np.empty((draws, n, k), dtype=kind),
            np.empty((draws, p)),
            np.empty((draws, p)),
            np.empty((draws, p, p)),
            np.array([response.location for response in model.data.responses]),
            np.array([response.scale for response in model.data.responses]),
        )

    def take(self, rows: NDArray[np.int64], lane: int, batch: Batch) -> None:
        """Put the draws of one set of hyperparameters where they belong."""
        for turn, row in enumerate(rows.tolist()):
            self.theta[row] = self.location + self.scale * batch.theta[:, :, turn, lane]
            self.beta[row] = batch.beta[:, turn, lane]
        self.beta_mean[rows] = batch.beta_mean[:, lane]
        self.beta_covariance[rows] = batch.beta_covariance[:, :, lane]


class Reporter:
    """Passes progress on and can repeat the last word, so that a caller gets many chances to cancel."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._last = (0.0, "hyperparameters: searching for the mode")

    def within(self, start: float, end: float) -> Progress:
        """Return a progress callable whose 0 to 100 percent is start to end."""

        def tell(percent: float, text: str) -> None:
            self._last = (max(self._last[0], start + (end - start) * percent / 100.0), text)
            self.again()

        return tell

    def again(self) -> None:
        """Repeat the last word."""
        if self._progress is not None:
            self._progress(*self._last)
