"""Data for the benchmarks: a layer of the reader's own, or a simulated map of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from smallarea.area_level import StackedData, area_level_data, build_model, specify, stack, standardise
from smallarea.area_level.parameters import as_arrays
from smallarea.areas import AreaGraph


@dataclass(frozen=True)
class Case:
    """Direct estimates (N, K), sampling variances (N, K), covariates (N, p) and neighbours."""

    name: str
    graph: AreaGraph
    responses: tuple[str, ...]
    direct: np.ndarray
    variance: np.ndarray
    covariates: np.ndarray

    @property
    def stacked(self) -> StackedData:
        """The data as the model takes them."""
        names = [f"x{j}" for j in range(self.covariates.shape[1])]
        return stack(
            [
                standardise(area_level_data(self.graph.ids, y, v, self.covariates, names), True)
                for y, v in zip(self.direct.T, self.variance.T, strict=True)
            ]
        )

    def specify(self, **model):
        """Return a specification for these data."""
        names = [f"x{j}" for j in range(self.covariates.shape[1])]
        return specify(names, responses=self.responses, **model)

    def one(self, k: int) -> Case:
        """Return the case of one response."""
        return Case(
            self.name,
            self.graph,
            self.responses[k : k + 1],
            self.direct[:, [k]],
            self.variance[:, [k]],
            self.covariates,
        )

    def copies(self, times: int) -> Case:
        """Return this map side by side with copies of itself, which do not touch."""
        n = len(self.graph.ids)
        edges = np.concatenate([self.graph.edges + k * n for k in range(times)])
        graph = AreaGraph.from_edges([f"{k}-{i}" for k in range(times) for i in self.graph.ids], edges)
        parts = (np.tile(part, (times, 1)) for part in (self.direct, self.variance, self.covariates))
        return Case(f"{times} x {self.name}", graph, self.responses, *parts)


def delaunay_graph(n: int, seed: int = 1) -> AreaGraph:
    """Return the neighbours of n random points, those of their Voronoi polygons."""
    from scipy.spatial import Delaunay

    corners = Delaunay(np.random.default_rng(seed).uniform(size=(n, 2))).simplices
    pairs = np.sort(np.vstack([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1)
    return AreaGraph.from_edges([f"a{i:06d}" for i in range(n)], np.unique(pairs, axis=0))


# What simulated maps are drawn with: like income and poverty of census tracts.
TRUTH = {"sd_phi": 0.9, "rho": 0.99, "sd_delta": 0.2, "correlation": -0.8}


def simulated(n: int, responses: int = 2, seed: int = 1) -> Case:
    """Simulate a separable model with two covariates on n random areas."""
    return simulate_on(delaunay_graph(n, seed), responses, np.random.default_rng(seed), f"{n} random areas")


def simulate_on(graph: AreaGraph, responses: int, rng: np.random.Generator, name: str) -> Case:
    """Simulate a separable model with two covariates on a graph."""
    n = len(graph.ids)
    names = tuple(f"y{k}" for k in range(responses))
    x = rng.standard_normal((n, 2))
    model = specify(["x0", "x1"], responses=names)
    values = [TRUTH[parameter.kind] for parameter in model.layout]
    hyper = as_arrays(model.layout, (), responses, np.array([values]))
    # A prior draw is a draw given data that say nothing.
    flat = Case(
        name,
        graph,
        names,
        x @ np.ones((2, responses)) + rng.normal(size=(n, responses)),
        np.full((n, responses), 1e6),
        x,
    )
    built = build_model(model, flat.stacked, graph)
    field = built.field
    weights = np.zeros((n, responses, 1))
    white = built._factoriser.factor(field.assemble(hyper, weights))
    phi = field.effect(white.unwhiten(white.noise(rng.standard_normal((field.pattern.n, 1, 1)))), hyper)[:, :, 0, 0]
    theta = (
        x @ rng.normal(scale=0.4, size=(2, responses)) + phi + TRUTH["sd_delta"] * rng.standard_normal((n, responses))
    )
    variance = 0.06 * rng.gamma(2.0, 0.5, (n, responses))
    direct = theta + np.sqrt(variance) * rng.standard_normal((n, responses))
    return Case(name, graph, names, direct, variance, x)


def from_layer(arguments: list[str], responses: int) -> Case:
    """Read LAYER ID_FIELD then DIRECT VARIANCE for each response, then covariates."""
    from smallarea.areas import build_adjacency, read_areas

    layer, id_field, *fields = arguments
    areas = read_areas(layer, id_field=id_field)
    pairs, covariates = fields[: 2 * responses], fields[2 * responses :]
    columns = {name: areas.frame[name].to_numpy(float) for name in fields}
    return Case(
        layer,
        build_adjacency(areas),
        tuple(pairs[::2]),
        np.column_stack([columns[name] for name in pairs[::2]]),
        np.column_stack([columns[name] for name in pairs[1::2]]),
        np.column_stack([columns[name] for name in covariates]) if covariates else np.empty((len(areas.ids), 0)),
    )
