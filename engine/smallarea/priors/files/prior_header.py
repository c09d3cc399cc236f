"""What a prior file says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallarea.priors.families import Family


@dataclass(frozen=True)
class PriorHeader:
    """What a prior file says of itself, without its weights.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    size : int
        Its length in bytes.
    engine : str
        Version of smallarea that wrote it.
    architecture : str
        A key of ``ARCHITECTURES``.
    family : Family
        What it imitates.
    ids : tuple of str, length N
        Areas that it was trained for.
    n_edges : int
        Number of pairs of neighbours E.
    fingerprint : str
        Of their graph, as the file states it; `load_prior` checks it.
    settings, training : dict
        Settings of the architecture and record of the training.
    certificate : dict or None
        Fidelity certificate.
    shapes : dict
        Weight to shape.
    identity : str
        SHA-256 over architecture, family, settings, geography and numbers: the same prior, the same text, whatever
        its records and its certificate say.
    """

    path: Path
    size: int
    engine: str
    architecture: str
    family: Family
    ids: tuple[str, ...]
    n_edges: int
    fingerprint: str
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    certificate: Mapping[str, Any] | None
    shapes: Mapping[str, tuple[int, ...]]
    identity: str

    @property
    def transfers(self) -> bool:
        """Whether it serves geographies that it was not trained for."""
        return self.architecture == "graph-filter"

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())
