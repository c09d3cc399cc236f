"""Small maps and data sets with everything that can be missing."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from scipy.spatial import Delaunay
from smallarea.area_level import AreaLevelSpecification, StackedData, StandardisedData, stack
from smallarea.area_level.hyperparameters import Hyperparameters
from smallarea.area_level.parameters import as_arrays
from smallarea.areas import AreaGraph


@pytest.fixture
def planar_graph() -> Callable[..., AreaGraph]:
    """Random planar graph in two components with islands, its areas in no order."""

    def make(n: int, islands: int = 0, seed: int = 3) -> AreaGraph:
        rng = np.random.default_rng(seed)
        linked = n - islands
        first = (2 * linked) // 3
        edges = []
        for start, count in ((0, first), (first, linked - first)):
            triangles = Delaunay(rng.uniform(size=(count, 2))).simplices + start
            edges += [triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]]
        order = rng.permutation(n)
        return AreaGraph.from_edges([f"a{i}" for i in range(n)], order[np.vstack(edges)])

    return make


@pytest.fixture
def scaled_data() -> Callable[..., StandardisedData]:
    """Standardised data with an intercept and two covariates; a fifth of the areas not sampled if asked."""

    def make(n: int, missing: bool = True, seed: int = 4) -> StandardisedData:
        rng = np.random.default_rng(seed)
        x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
        v = rng.uniform(0.02, 0.6, size=n)
        y = x @ [0.1, 0.5, -0.4] + rng.normal(size=n) * np.sqrt(0.3 + v)
        sampled = rng.uniform(size=n) > 0.2 if missing else np.ones(n, dtype=bool)
        y[~sampled] = v[~sampled] = np.nan
        zero, one = np.zeros(3), np.ones(3)
        return StandardisedData(y, v, x, sampled, 0.0, 1.0, zero, one, True)

    return make


@pytest.fixture
def stacked() -> Callable[..., StackedData]:
    """Several responses on one map, each with a design of its own.

    ``missing``: 'none', 'scattered' (a fifth of the cells), or 'component' (and the last response is nowhere observed
    in the graph's smaller component and on its islands).
    """

    def make(graph: AreaGraph, k: int, missing: str = "scattered", coupled: bool = False, seed: int = 4) -> StackedData:
        rng = np.random.default_rng(seed)
        n = len(graph.ids)
        labels = np.asarray(graph.component_labels)
        small = labels != np.argmax(np.bincount(labels))
        responses = []
        for response in range(k):
            # The second response has a covariate less: coefficients are not alike in number.
            x = np.column_stack([np.ones(n), rng.normal(size=(n, 1 if response == 1 else 2))])
            v = rng.uniform(0.02, 0.6, size=n)
            y = x @ [0.1, 0.5, -0.4][: x.shape[1]] + rng.normal(size=n) * np.sqrt(0.3 + v)
            sampled = rng.uniform(size=n) > 0.2 if missing != "none" else np.ones(n, dtype=bool)
            if missing == "component" and response == k - 1:
                sampled &= ~small
            y[~sampled] = v[~sampled] = np.nan
            p = x.shape[1]
            responses.append(StandardisedData(y, v, x, sampled, 0.0, 1.0, np.zeros(p), np.ones(p), True))
        if not coupled:
            return stack(responses)
        loadings = rng.normal(size=(n, k, k + 1))
        covariance = loadings @ loadings.swapaxes(1, 2)
        sd = np.sqrt(np.einsum("nkk->nk", covariance))
        return stack(responses, covariance / (sd[:, :, None] * sd[:, None, :]))

    return make


@pytest.fixture
def arrays() -> Callable[..., Hyperparameters]:
    """Arrange sets of hyperparameters, given by name, for the collapsed model."""

    def make(model: AreaLevelSpecification, hypers: Sequence[Mapping[str, float]]) -> Hyperparameters:
        values = np.array([[hyper[name] for name in model.hyperparameters] for hyper in hypers])
        order = tuple(model.responses.index(name) for name in model.order)
        return as_arrays(model.layout, order, len(model.responses), values)

    return make
