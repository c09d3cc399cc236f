"""Studies by simulation: small by default, full with SMALLAREA_STUDY=full."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from smallarea.area_level import CollapsedModel, StandardisedData, spatial_field
from smallarea.areas import AreaGraph

FULL = os.environ.get("SMALLAREA_STUDY") == "full"


@pytest.fixture
def size() -> Callable[[int, int], int]:
    """Choose between the size of a quick and of a full study."""
    return lambda quick, full: full if FULL else quick


@pytest.fixture
def lattice() -> Callable[[int], AreaGraph]:
    """Rook neighbours of a square grid."""

    def make(side: int) -> AreaGraph:
        number = np.arange(side * side).reshape(side, side)
        across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
        up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
        return AreaGraph.from_edges([f"a{i}" for i in range(side * side)], np.vstack([across, up]))

    return make


@pytest.fixture
def as_data() -> Callable[..., StandardisedData]:
    """Take numbers as they are, without standardising: a study knows the scale of its priors."""

    def make(y: np.ndarray, v: np.ndarray, x: np.ndarray) -> StandardisedData:
        p = x.shape[1]
        return StandardisedData(y, v, x, np.isfinite(y), 0.0, 1.0, np.zeros(p), np.ones(p), True)

    return make


@pytest.fixture
def collapsed() -> Callable[..., CollapsedModel]:
    """Set up the collapsed model of an effect ('iid', 'car', 'leroux') on a graph."""

    def make(data: StandardisedData, effect: str, iid: bool, graph: AreaGraph) -> CollapsedModel:
        return CollapsedModel(data, None if effect == "iid" else spatial_field(effect, iid, graph), iid)

    return make


@pytest.fixture
def draw_effect() -> Callable[..., np.ndarray]:
    """Draw phi + delta given the hyperparameters, from the dense covariance."""

    def draw(effect: str, iid: bool, graph: AreaGraph, hyper: dict, rng: np.random.Generator) -> np.ndarray:
        n = len(graph.ids)
        w = graph.adjacency.toarray()
        covariance = hyper["sd_delta"] ** 2 * np.eye(n) if iid else np.zeros((n, n))
        if effect != "iid":
            degrees, rho = np.diag(w.sum(axis=1)), hyper["rho"]
            q = degrees - rho * w if effect == "car" else rho * (degrees - w) + (1.0 - rho) * np.eye(n)
            covariance = covariance + hyper["sd_phi"] ** 2 * np.linalg.inv(q)
        return np.linalg.cholesky(covariance) @ rng.standard_normal(n)

    return draw
