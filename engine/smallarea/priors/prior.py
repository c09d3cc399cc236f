"""A learned spatial prior: what it imitates, where, and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors.families import Family

ARCHITECTURES: Mapping[str, str] = {
    "beta-vae": "variational autoencoder of the field with rho integrated out",
    "decoder": "network trained on pairs of white noise and exact draws, given the hyperparameters",
    "graph-filter": "polynomial filter on the graph beside its smoothest modes; serves any geography",
}


@dataclass(frozen=True, eq=False)
class SpatialPrior:
    """A learned spatial prior of unit scale.

    Attributes
    ----------
    architecture : {'beta-vae', 'decoder', 'graph-filter'}
        A key of ``ARCHITECTURES``.
    family : Family
        What it imitates.
    ids : tuple of str, length N
        Areas of the geography that it was trained for, in the order of its outputs.
    edges : ndarray of int, shape (E, 2)
        Its neighbours, i < j.
    settings : mapping
        Settings of the architecture, JSON types.
    weights : mapping of str to float32 ndarray
        What training found.
    training : mapping
        Record of the training, JSON types.
    certificate : mapping or None
        Fidelity certificate, JSON types; None before it is computed.
    """

    architecture: str
    family: Family
    ids: tuple[str, ...]
    edges: NDArray[np.int64]
    settings: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.float32]]
    training: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown architecture."""
        if self.architecture not in ARCHITECTURES:
            raise PriorProblem(f"Unknown architecture {self.architecture!r}; there are {', '.join(ARCHITECTURES)}.")

    @property
    def transfers(self) -> bool:
        """Whether it serves geographies that it was not trained for."""
        return self.architecture == "graph-filter"

    @property
    def conditional(self) -> bool:
        """Whether it takes the hyperparameters of its family; otherwise they are integrated out."""
        return self.architecture != "beta-vae" and bool(self.family.hyperparameters)

    @cached_property
    def graph(self) -> AreaGraph:
        """The geography that it was trained for."""
        return AreaGraph.from_edges(self.ids, np.asarray(self.edges, dtype=np.int64))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of that geography."""
        return self.graph.fingerprint
