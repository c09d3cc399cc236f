"""Two responses on a small map in two parts with an island, some cells not observed, and the engine's moments."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from smallarea.area_level import StackedData, StandardisedData, build_model, specify, stack
from smallarea.area_level.parameters import as_arrays
from smallarea.areas import AreaGraph

HYPER = {
    "sd_phi[a]": 0.9, "sd_phi[b]": 0.6, "rho": 0.8, "sd_delta[a]": 0.4, "sd_delta[b]": 0.5, "correlation[a,b]": 0.6,
}  # fmt: skip


class Case:
    """A model, its data, and both ways to fit it at given hyperparameters."""

    def __init__(self, graph: AreaGraph, responses: int, correlation: float) -> None:
        rng = np.random.default_rng(8)
        n = len(graph.ids)
        x = np.column_stack([np.ones(n), rng.normal(size=n)])
        parts = []
        for k in range(responses):
            y = 0.3 * k + x @ [0.2, 0.5] + rng.normal(size=n)
            v = rng.uniform(0.05, 0.9, size=n)
            sampled = np.ones(n, dtype=bool)
            sampled[3 * k : 3 * k + 2] = False
            y[~sampled] = v[~sampled] = np.nan
            zero, one = np.zeros(2), np.ones(2)
            parts.append(StandardisedData(y, v, x, sampled, 4.0 + k, 2.0 + k, zero, one, True))
        matrix = np.full((n, responses, responses), correlation)
        self.graph = graph
        self.data = stack(parts, matrix if responses > 1 and correlation else None)
        names = ("a", "b")[:responses]
        self.model = specify(["x"], responses=names, random_effect="car")
        self.hyper = {name: HYPER.get(name, HYPER.get(f"{name}[a]")) for name in self.model.hyperparameters}
        self.correlation = matrix if responses > 1 and correlation else None

    def moments(self, hypers: list[dict[str, float]]) -> tuple[np.ndarray, np.ndarray]:
        """Means (M, N, K) and covariances (M, N, K, K) of the engine."""
        values = np.array([[hyper[name] for name in self.model.hyperparameters] for hyper in hypers])
        collapsed = build_model(self.model, self.data, self.graph)
        found = collapsed.moments(collapsed.condition(as_arrays(self.model.layout, (), self.data.shape[1], values)))
        return np.moveaxis(found.theta, -1, 0), np.moveaxis(found.covariances[0], -1, 0)

    def without(self, area: int, responses: list[int]) -> StackedData:
        """The data without some cells of an area."""
        parts = []
        for k, response in enumerate(self.data.responses):
            sampled = response.sampled.copy()
            sampled[area] &= k not in responses
            y, v = (np.where(sampled, value, np.nan) for value in (response.y, response.v))
            parts.append(replace(response, y=y, v=v, sampled=sampled))
        return stack(parts, self.correlation)


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """A ring with chords, a path, and an island."""

    def make(responses: int = 2, correlation: float = 0.4) -> Case:
        ring = [(i, (i + 1) % 9) for i in range(9)] + [(0, 4), (2, 7)]
        path = [(9, 10), (10, 11), (11, 12)]
        graph = AreaGraph.from_edges([f"a{i}" for i in range(14)], np.array(ring + path))
        return Case(graph, responses, correlation)

    return make
