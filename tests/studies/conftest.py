"""Studies by simulation: small by default, full with SMALLAREA_STUDY=full."""

import os
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from dense_model import effect_covariance
from smallarea.area_level import AreaLevelSpecification, StackedData, StandardisedData, stack
from smallarea.areas import AreaGraph

FULL = os.environ.get("SMALLAREA_STUDY") == "full"


@pytest.fixture
def size() -> Callable[[int, int], int]:
    """Choose between the size of a quick and of a full study."""
    return lambda quick, full: full if FULL else quick


@pytest.fixture
def lattice() -> Callable[..., AreaGraph]:
    """Rook neighbours of a square grid, and an island if asked."""

    def make(side: int, island: bool = False) -> AreaGraph:
        number = np.arange(side * side).reshape(side, side)
        across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
        up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
        return AreaGraph.from_edges([f"a{i}" for i in range(side * side + island)], np.vstack([across, up]))

    return make


@pytest.fixture
def as_data() -> Callable[..., StackedData]:
    """Take numbers as they are, without standardising: a study knows the scale of its priors.

    ``y`` and ``v`` have shape (N, K), missing cells are NaN in ``y``; all responses have the design ``x``.
    """

    def make(y: np.ndarray, v: np.ndarray, x: np.ndarray, correlation: np.ndarray | None = None) -> StackedData:
        p = x.shape[1]
        responses = []
        for own, variance in zip(y.T, v.T, strict=True):
            seen = np.isfinite(own)
            variance = np.where(seen, variance, np.nan)
            responses.append(StandardisedData(own, variance, x, seen, 0.0, 1.0, np.zeros(p), np.ones(p), True))
        return stack(responses, correlation)

    return make


@pytest.fixture
def draw_effect() -> Callable[..., np.ndarray]:
    """Draw phi + delta given the hyperparameters, from the dense covariance, shape (N, K)."""

    def draw(
        specification: AreaLevelSpecification,
        graph: AreaGraph,
        hyper: Mapping[str, float],
        rng: np.random.Generator,
    ) -> np.ndarray:
        covariance = effect_covariance(specification, graph, hyper)
        values, vectors = np.linalg.eigh(covariance)
        drawn = vectors @ (np.sqrt(np.maximum(values, 0.0)) * rng.standard_normal(len(values)))
        return drawn.reshape(len(graph.ids), len(specification.responses))

    return draw
