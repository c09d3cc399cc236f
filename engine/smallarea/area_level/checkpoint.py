"""A sampler's progress on disk: a stopped run goes on where it was, a finished one can be asked for more."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from smallarea.area_level.importance import SamplerState
from smallarea.area_level.mixture import TMixture
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.stacked import StackedData
from smallarea.errors import OutputProblem
from smallarea.io import atomic_path

_FORMAT = 2


class Checkpoint:
    """A file with the state of one sampler.

    Parameters
    ----------
    path : path
        The file; written anew after every batch, whole or not at all.
    fingerprint : str
        What it belongs to, see :func:`fingerprint`.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str) -> None:
        self._path = Path(path)
        self._fingerprint = fingerprint

    def load(self) -> SamplerState | None:
        """Read the state.

        Returns
        -------
        SamplerState or None
            None if there is no file yet.

        Raises
        ------
        OutputProblem
            If the file is something else, or belongs to another model, other data or another seed. It is left alone.
        """
        if not self._path.exists():
            return None
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                head = json.loads(str(stored["head"]))
                arrays = {name: stored[name] for name in stored.files if name != "head"}
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise OutputProblem(
                f"{self._path} is not a checkpoint of a fit, or is damaged. Name another file, or delete it to start "
                f"anew."
            ) from error
        if head.get("format") != _FORMAT or head.get("fingerprint") != self._fingerprint:
            raise OutputProblem(
                f"The checkpoint {self._path} belongs to another model, other data, another seed or another version. "
                f"Name "
                "another file, or delete it to start anew."
            )
        ends = np.cumsum(arrays["sizes"])[:-1]
        return SamplerState(
            arrays["mode"],
            arrays["root"],
            int(head["spent"]),
            tuple(np.split(arrays["points"], ends)),
            tuple(np.split(arrays["heights"], ends)),
            tuple(TMixture(*parts) for parts in zip(arrays["shares"], arrays["centres"], arrays["roots"], strict=True)),
            head["random"],
            int(head["settled"]),
        )

    def save(self, state: SamplerState) -> None:
        """Write the state, in place of the one before.

        Parameters
        ----------
        state : SamplerState
            After at least one batch.

        Raises
        ------
        OutputProblem
            If the file cannot be written.
        """
        head = {
            "format": _FORMAT,
            "fingerprint": self._fingerprint,
            "spent": state.spent,
            "random": dict(state.random),
            "settled": state.settled,
        }
        with atomic_path(self._path) as path, path.open("wb") as file:
            np.savez(
                file,
                head=np.array(json.dumps(head)),
                mode=state.mode,
                root=state.root,
                sizes=np.array([len(batch) for batch in state.batches]),
                points=np.concatenate(state.batches),
                heights=np.concatenate(state.heights),
                shares=np.stack([mixture.shares for mixture in state.used]),
                centres=np.stack([mixture.centres for mixture in state.used]),
                roots=np.stack([mixture.roots for mixture in state.used]),
            )


def fingerprint(specification: AreaLevelSpecification, data: StackedData, edges: np.ndarray | None, seed: int) -> str:
    """Hash of what a sampler's progress depends on.

    Parameters
    ----------
    specification : AreaLevelSpecification
        The model with its priors.
    data : StackedData
        The data.
    edges : ndarray of int, shape (E, 2), or None
        Neighbours.
    seed : int
        Seed.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    digest = hashlib.sha256(f"{specification}|{seed}".encode())
    arrays = [data.y, data.observed, data.covariance, data.design]
    for array in [*arrays, np.empty((0, 2)) if edges is None else np.asarray(edges)]:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
