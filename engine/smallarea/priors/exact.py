"""Exact draws and covariances of the spatial priors that networks imitate, by sparse Cholesky factors.

Training data, certificates and tests all come from here. In A = P'LDL'P the root of A^{-1} is P'L^{-T}D^{-1/2}: with
the factor on the wrong side, or without the fill permutation, the covariance is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import GraphProblem, PriorProblem
from smallarea.gmrf import (
    BatchFactor,
    CarPrecision,
    Factor,
    IcarPrecision,
    LerouxPrecision,
    Precision,
    SymmetricPattern,
    batch_factoriser,
    factoriser,
)
from smallarea.priors.families import Family

if TYPE_CHECKING:
    from smallarea.areas import Areas

Vector = NDArray[np.float64]

# Numbers in a factor's work space at once; keeps the draws of large maps under about half a gigabyte.
NUMBERS_AT_ONCE = 8_000_000
SMALLEST = 2


class ExactPrior(Protocol):
    """A spatial prior of unit scale on the areas that have neighbours (n of them, the field's nodes)."""

    family: Family

    @property
    def nodes(self) -> NDArray[np.int64]:
        """Positions of the field's nodes in the graph, shape (n,)."""

    @property
    def n(self) -> int:
        """Number of nodes."""

    @property
    def latent_size(self) -> int:
        """Length of the white noise that `root` takes."""

    def root(self, values: Vector, z: Vector) -> Vector:
        """Return x_b = R(values_b) z_b, shape (B, n), with RR' the covariance.

        Parameters
        ----------
        values : ndarray, shape (B, q)
            Hyperparameters.
        z : ndarray, shape (B, latent_size)
            White noise.
        """

    def draws(self, values: Vector, rng: np.random.Generator) -> Vector:
        """Draw one field at each set of hyperparameters, shape (B, n)."""

    def covariance(self, value: Vector) -> Vector:
        """Dense covariance at one set of hyperparameters, shape (n, n)."""

    def covariance_times(self, value: Vector, x: Vector) -> Vector:
        """Product of the covariance with x, shape (n, m), without forming it where that is large."""

    def entries(self, value: Vector) -> Vector:
        """Covariances on the diagonal and on the edges between nodes, shape (n + E,)."""


def exact_prior(family: Family, graph: AreaGraph, areas: Areas | None = None) -> ExactPrior:
    """Make the exact prior of a family on a geography.

    Parameters
    ----------
    family : Family
        The family.
    graph : AreaGraph
        The geography; areas without neighbours are left out of the field.
    areas : Areas, optional
        The polygons, which a Gaussian process averages over.

    Returns
    -------
    ExactPrior
        Draws and covariances.

    Raises
    ------
    GraphProblem
        If fewer than two areas have neighbours.
    PriorProblem
        If a Gaussian process has no polygons.
    """
    if np.count_nonzero(graph.degrees) < SMALLEST:
        raise GraphProblem("No two areas of the graph are neighbours, so there is no spatial prior to learn.")
    if family.name == "gp":
        if areas is None:
            raise PriorProblem(
                "A Gaussian process is averaged over polygons. Give the polygon layer, not only a graph."
            )
        from smallarea.priors.gaussian_process import AveragedProcess

        return AveragedProcess(family, graph, areas)
    return GraphPrior(family, graph)


def field_nodes(graph: AreaGraph) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the areas with neighbours, shape (n,), and the edges between their positions among them, shape (E, 2)."""
    nodes = np.flatnonzero(graph.degrees > 0)
    place = np.full(len(graph.ids), -1, dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    return nodes, place[graph.edges]


class GraphPrior:
    """CAR, Leroux, BYM2 and intrinsic CAR.

    Parameters
    ----------
    family : Family
        One of these.
    graph : AreaGraph
        The geography.
    """

    def __init__(self, family: Family, graph: AreaGraph) -> None:
        self.family = family
        self._nodes, edges = field_nodes(graph)
        n = len(self._nodes)
        self._precision: Precision
        if family.name == "car":
            self._precision = CarPrecision(n, edges)
        elif family.name == "leroux":
            self._precision = LerouxPrecision(n, edges)
        else:
            self._precision = IcarPrecision(n, edges, scaled=family.name == "bym2")
        self.pattern: SymmetricPattern = self._precision.pattern
        self.labels = self._precision.component_labels
        self._intrinsic = family.name in ("bym2", "icar")

    @property
    def nodes(self) -> NDArray[np.int64]:
        return self._nodes

    @property
    def n(self) -> int:
        return len(self._nodes)

    @property
    def latent_size(self) -> int:
        return 2 * self.n if self.family.name == "bym2" else self.n

    @cached_property
    def _anchor(self) -> Vector:
        """Tie one node of each component down, in proportion to its scale, where the precision is singular."""
        out = np.zeros(self.n)
        if self._intrinsic:
            first = np.unique(self.labels, return_index=True)[1]
            out[first] = self._precision.diagonal(0.0)[first]
        return out

    def _entries_of_precision(self, rho: float) -> Vector:
        off = np.broadcast_to(self._precision.off_diagonal(rho), len(self.pattern.edges))
        return np.concatenate([self._precision.diagonal(rho) + self._anchor, off])

    def _centred(self, x: Vector) -> Vector:
        """Subtract the mean of each component from fields on the last axis.

        Differences between areas do not depend on which one was tied down, so what remains is the intrinsic field.
        """
        sizes = np.bincount(self.labels)
        out = x.copy()
        for label, size in enumerate(sizes):
            where = np.flatnonzero(self.labels == label)
            out[..., where] -= out[..., where].sum(axis=-1, keepdims=True) / size
        return out

    @cached_property
    def _batches(self) -> Callable[[Vector], BatchFactor]:
        return batch_factoriser(self.pattern).factor

    def _structured(self, rho: Vector, z: Vector) -> Vector:
        """Roots of inverse precisions at (B,) values of rho times z (B, n)."""
        out = np.empty_like(z)
        # One factor serves all fields with the same rho; the intrinsic precision has only one.
        single = self._intrinsic or np.all(rho == rho[0])
        at_once = max(1, NUMBERS_AT_ONCE // (4 * self.n)) if single else max(4, NUMBERS_AT_ONCE // (40 * self.n))
        for start in range(0, len(z), at_once):
            part = slice(start, start + at_once)
            if single:
                factor = self._batches(self._entries_of_precision(float(rho[0]))[:, None])
                out[part] = factor.unwhiten(factor.noise(z[part].T[:, :, None]))[:, :, 0].T
            else:
                factor = self._batches(np.column_stack([self._entries_of_precision(r) for r in rho[part].tolist()]))
                out[part] = factor.unwhiten(factor.noise(z[part].T[:, None, :]))[:, 0, :].T
        return self._centred(out) if self._intrinsic else out

    def root(self, values: Vector, z: Vector) -> Vector:
        values = np.asarray(values, dtype=float)
        rho = values[:, 0] if values.shape[1] else np.zeros(len(z))
        if self.family.name != "bym2":
            return self._structured(rho, z)
        spatial = self._structured(rho, np.ascontiguousarray(z[:, : self.n]))
        return np.sqrt(rho)[:, None] * spatial + np.sqrt(1.0 - rho)[:, None] * z[:, self.n :]

    def draws(self, values: Vector, rng: np.random.Generator) -> Vector:
        return self.root(values, rng.standard_normal((len(values), self.latent_size)))

    def _factor(self, value: Vector) -> Factor:
        entries = self._entries_of_precision(float(value[0]) if len(value) else 0.0)
        return factoriser(self.pattern).factor(entries[: self.n].copy(), entries[self.n :].copy())

    def covariance_times(self, value: Vector, x: Vector) -> Vector:
        inner = self._centred(np.asarray(x, dtype=float).T).T if self._intrinsic else np.asarray(x, dtype=float)
        product = self._factor(value).solve(np.ascontiguousarray(inner))
        if not self._intrinsic:
            return product
        product = self._centred(product.T).T
        return self._mixed(value, product, x)

    def _mixed(self, value: Vector, spatial: Vector, iid: Vector) -> Vector:
        if self.family.name != "bym2":
            return spatial
        return value[0] * spatial + (1.0 - value[0]) * iid

    def covariance(self, value: Vector) -> Vector:
        product = self.covariance_times(np.asarray(value, dtype=float), np.eye(self.n))
        return 0.5 * (product + product.T)

    def entries(self, value: Vector) -> Vector:
        value = np.asarray(value, dtype=float)
        factor = self._factor(value)
        found = factor.inverse_entries()
        if not self._intrinsic:
            return found
        # (I - J) C (I - J) on the pattern needs the row sums of C within components, which one solve gives.
        sizes = np.bincount(self.labels)
        sums = factor.solve(np.ones(self.n)) / sizes[self.labels]
        total = (np.bincount(self.labels, weights=sums) / sizes)[self.labels]
        edges = self.pattern.edges
        low, high = edges[:, 0], edges[:, 1]
        diagonal = found[: self.n] - 2.0 * sums + total
        off = found[self.n :] - sums[low] - sums[high] + total[low]
        ones = np.concatenate([np.ones(self.n), np.zeros(len(edges))])
        return self._mixed(value, np.concatenate([diagonal, off]), ones)
