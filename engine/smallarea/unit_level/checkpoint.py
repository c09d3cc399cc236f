"""Chains on disk: a stopped run goes on where it was, to the draws that it would have had."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import OutputProblem
from smallarea.io import atomic_path

_FORMAT = 1
Arrays = Mapping[str, NDArray[np.generic]]


class Checkpoint:
    """A file with the states of all chains.

    Parameters
    ----------
    path : path
        The file; written anew each time, whole or not at all.
    fingerprint : str
        What it belongs to: a hash of data, settings and seed.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str) -> None:
        self._path = Path(path)
        self._fingerprint = fingerprint

    def load(self) -> list[dict[str, NDArray[np.generic]]] | None:
        """Read the states.

        Returns
        -------
        list of dict, or None
            One dict of arrays a chain; None if there is no file yet.

        Raises
        ------
        OutputProblem
            If the file is something else, or belongs to other data, settings or another seed. It is left alone.
        """
        if not self._path.exists():
            return None
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                head = json.loads(str(stored["head"]))
                arrays = {name: stored[name] for name in stored.files if name != "head"}
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise OutputProblem(
                f"{self._path} is not a checkpoint of BARTSIMP, or is damaged. Name another file, or delete it to "
                f"start anew."
            ) from error
        if head.get("format") != _FORMAT or head.get("fingerprint") != self._fingerprint:
            raise OutputProblem(
                f"The checkpoint {self._path} belongs to other data or settings, another seed or another version. "
                f"Name another file, or delete it to start anew."
            )
        parts: list[dict[str, NDArray[np.generic]]] = [{} for _ in range(head["chains"])]
        for name, array in arrays.items():
            chain, rest = name.split(":", 1)
            parts[int(chain)][rest] = array
        return parts

    def save(self, chains: Sequence[Arrays]) -> None:
        """Write the states, in place of those before.

        Parameters
        ----------
        chains : sequence of mapping
            Arrays of each chain.

        Raises
        ------
        OutputProblem
            If the file cannot be written.
        """
        head = {"format": _FORMAT, "fingerprint": self._fingerprint, "chains": len(chains)}
        named = {f"{i}:{name}": array for i, arrays in enumerate(chains) for name, array in arrays.items()}
        with atomic_path(self._path) as path, path.open("wb") as file:
            np.savez(file, head=np.array(json.dumps(head)), **named)  # type: ignore[arg-type]
