"""The state of a training on disk: a stopped training goes on to the same result."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import OutputProblem
from smallarea.io.atomic import atomic_path

_FORMAT = 1
_NUMBERS = ("step", "seconds", "without", "best_loss", "best_step", "start_loss", "losses")


@dataclass
class TrainingState:
    """Where a training is.

    Attributes
    ----------
    best, weights : ndarray of float32
        The best and the present weights, all in one vector; set when the state is written.
    optimiser : dict of str to ndarray
        State of the optimiser; set when the state is written.
    step : int
        Steps taken.
    seconds : float
        Time that they took.
    without : int
        Checks since the last improvement.
    best_loss, best_step : float and int
        Best loss on the validation set, and when.
    start_loss : float
        The loss before the first step.
    losses : list of (int, float or None, float)
        Step, mean training loss since the check before, validation loss.
    """

    best: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    weights: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    optimiser: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    without: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    start_loss: float = float("inf")
    losses: list[tuple[int, float | None, float]] = field(default_factory=list)


class TrainingCheckpoint:
    """A file with the state of one training.

    Parameters
    ----------
    path : path
        The file; written anew each time, whole or not at all.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def load(self, identity: Mapping[str, Any], probe: NDArray[np.float64], size: int) -> TrainingState | None:
        """Read the state.

        Parameters
        ----------
        identity : mapping
            Settings, family and seed of the training, JSON types.
        probe : ndarray
            First draw of its validation set, which tells geographies apart.
        size : int
            Number of its weights.

        Returns
        -------
        TrainingState or None
            None if there is no file yet.

        Raises
        ------
        OutputProblem
            If the file is something else, or belongs to another training. It is left alone.
        """
        if not self._path.exists():
            return None
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                head = json.loads(str(stored["head"]))
                arrays = {name: stored[name] for name in stored.files if name != "head"}
            numbers = {name: head[name] for name in _NUMBERS}
            numbers["losses"] = [(int(step), training, float(loss)) for step, training, loss in head["losses"]]
            fits = head["format"] == _FORMAT and head["identity"] == json.loads(json.dumps(dict(identity)))
            theirs, best, weights = arrays.pop("probe"), arrays.pop("best"), arrays.pop("weights")
            fits = fits and best.shape == weights.shape == (size,)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise OutputProblem(
                f"{self._path} is not a checkpoint of a training, or is damaged. Name another file, or delete it to "
                "start anew."
            ) from error
        if not fits or theirs.shape != probe.shape or not np.allclose(theirs, probe, rtol=1e-4, atol=1e-6):
            raise OutputProblem(
                f"The checkpoint {self._path} belongs to a training with other settings, another seed, device or "
                "geography. Name another file, or delete it to start anew."
            )
        return TrainingState(best, weights, arrays, **numbers)

    def save(self, state: TrainingState, identity: Mapping[str, Any], probe: NDArray[np.float64]) -> None:
        """Write the state, in place of the one before.

        Raises
        ------
        OutputProblem
            If the file cannot be written.
        """
        head = {"format": _FORMAT, "identity": dict(identity), **{name: getattr(state, name) for name in _NUMBERS}}
        with atomic_path(self._path) as path, path.open("wb") as file:
            np.savez(
                file,
                head=np.array(json.dumps(head)),
                probe=probe,
                best=state.best,
                weights=state.weights,
                **state.optimiser,  # type: ignore[arg-type]
            )

    def remove(self) -> None:
        """Remove the file of a training that is done."""
        self._path.unlink(missing_ok=True)
