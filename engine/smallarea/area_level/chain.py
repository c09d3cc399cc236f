"""The generalised multivariate CAR of a chain of responses (GMCAR; Jin, Carlin and Banerjee 2005).

With responses in an order from the most conditional one (position 0) to the marginal one (position K - 1)::

    phi_j | phi_{j+1} ~ N(A_j phi_{j+1}, sd_j^2 Q(rho_j)^{-1}),   A_j = eta0_j I + eta1_j W,   phi_{K-1} ~ N(0, ...)

The unknowns are ``u_0 = phi_0 - A_0 phi_1`` and ``u_j = phi_j`` for j > 0. In these coordinates the prior of the first
two positions is one hop wide and the data add two hops; with phi_0 itself as an unknown, ``A_0' Q A_0`` would reach
three, and the factor of a large map would cost five times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from smallarea.area_level.fields import Constraints
from smallarea.area_level.hyperparameters import Hyperparameters
from smallarea.gmrf import CarPrecision, LerouxPrecision, SymmetricPattern

Vector = NDArray[np.float64]
Nodes = NDArray[np.int64]
Add = Callable[[str, Vector], None]


class _Places:
    """Collects the places of a symmetric matrix that terms write to, and then says where each term's values go."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._keys: dict[str, Nodes] = {}

    def add(self, name: str, rows: Nodes, columns: Nodes) -> None:
        """Register a term; no place may come twice in it."""
        self._keys[name] = np.minimum(rows, columns) * self._n + np.maximum(rows, columns)

    def finish(self) -> tuple[SymmetricPattern, dict[str, Nodes]]:
        """Return the pattern and, for each term, the index of its values among diagonal and edges."""
        keys = np.unique(np.concatenate(list(self._keys.values())))
        rows, columns = np.divmod(keys, self._n)
        edge = rows != columns
        place = np.empty(len(keys), dtype=np.int64)
        place[~edge] = rows[~edge]
        place[edge] = self._n + np.arange(int(edge.sum()))
        pattern = SymmetricPattern(self._n, np.column_stack([rows[edge], columns[edge]]))
        return pattern, {name: place[np.searchsorted(keys, wanted)] for name, wanted in self._keys.items()}


class ChainField:
    """A chain of conditional fields.

    Parameters
    ----------
    precision : CarPrecision or LerouxPrecision
        Unit-scale precision on M nodes, the same for all positions but for rho.
    nodes : ndarray of int, shape (M,)
        Area of each node.
    areas : int
        N.
    order : sequence of int, length K
        Responses from the most conditional one to the marginal one.
    coupled : bool
        Whether data weights couple responses of an area.
    """

    constraints: Constraints | None = None
    couples = False

    def __init__(
        self,
        precision: CarPrecision | LerouxPrecision,
        nodes: Nodes,
        areas: int,
        order: Sequence[int],
        *,
        coupled: bool,
    ) -> None:
        m = len(nodes)
        self.precision = precision
        self.nodes = nodes
        self.labels = precision.component_labels
        self._areas = areas
        self._order = list(order)
        self._coupled = coupled
        self._edges = precision.pattern.edges
        self._directed = np.concatenate([self._edges, self._edges[:, ::-1]])
        ones = np.ones(len(self._directed))
        self._w = sp.csr_array((ones, (self._directed[:, 0], self._directed[:, 1])), shape=(m, m))
        two = sp.coo_array(sp.triu(self._w @ self._w))
        self._two = np.column_stack(two.coords).astype(np.int64)
        self._paths = _common_neighbours(self._w, self._two)
        self._fixed: dict[str, Vector] = {}
        places = _Places(len(order) * m)
        self._register(places, m)
        self.pattern, self._at = places.finish()

    def _register(self, places: _Places, m: int) -> None:
        """Say which places of P each term of :meth:`assemble` writes to."""
        k = len(self._order)
        node = np.arange(m)
        for j in range(k):
            places.add(f"node {j} {j}", j * m + node, j * m + node)
            places.add(f"edge {j}", j * m + self._edges[:, 0], j * m + self._edges[:, 1])
        places.add("node 0 1", node, m + node)
        places.add("link 0 1", self._directed[:, 0], m + self._directed[:, 1])
        places.add("two", m + self._two[:, 0], m + self._two[:, 1])
        for j in range(1, k - 1):
            for name, matrix, upper in _conditional_basis(self._w, self.precision.degrees):
                entries = sp.coo_array(sp.triu(matrix) if upper else matrix)
                rows, columns = (np.asarray(c, dtype=np.int64) for c in entries.coords)
                self._fixed[name] = entries.data
                places.add(f"{name} {j}", (j + upper) * m + rows, (j + 1) * m + columns)
        # Only coupled data write here, but the covariances of an area are read here; the factor fills it anyway.
        for a in range(k):
            for b in range(max(a + 1, 2), k):
                places.add(f"node {a} {b}", a * m + node, b * m + node)
        for j in range(2, k):
            places.add(f"link 1 {j}", m + self._directed[:, 0], j * m + self._directed[:, 1])

    def assemble(self, hyper: Hyperparameters, weights: Vector) -> Vector:
        out = np.zeros((self.pattern.n + len(self.pattern.edges), hyper.size))

        def add(name: str, values: Vector) -> None:
            out[self._at[name]] += values

        coefficients = self._coefficients(hyper)
        weight = self._cell_weights(weights)
        for j, (a, b, c) in enumerate(coefficients):
            add(f"node {j} {j}", a * self.precision.degrees[:, None] + b + weight(j, j))
            add(f"edge {j}", c[None])
        self._add_first_link(add, weight(0, 0), hyper)
        for j in range(1, len(self._order) - 1):
            self._add_conditional(add, j, coefficients[j], hyper.eta0[j], hyper.eta1[j])
        if self._coupled:
            self._add_coupling(add, weight, hyper)
        return out

    def _coefficients(self, hyper: Hyperparameters) -> list[tuple[Vector, Vector, Vector]]:
        """Coefficients a, b, c of ``Q_j / sd_j^2 = a D + b I + c W`` for each position, each of shape (B,)."""
        out = []
        for response in self._order:
            parts = np.array([self.precision.coefficients(rho) for rho in hyper.rho[response].tolist()])
            a, b, c = parts.T / hyper.sd_phi[response] ** 2
            out.append((a, b, c))
        return out

    def _cell_weights(self, weights: Vector) -> Callable[[int, int], Vector]:
        """Weights of the data between two positions on the nodes, shape (M, B)."""
        here = weights[self.nodes]
        order = self._order
        if self._coupled:
            return lambda a, b: here[:, order[a], order[b]]
        return lambda a, _: here[:, order[a]]

    def _add_first_link(self, add: Add, first: Vector, hyper: Hyperparameters) -> None:
        """H' W H for phi_0 = u_0 + A_0 u_1: diag(w) A_0 between them, A_0' diag(w) A_0 on u_1."""
        eta0, eta1 = hyper.eta0[0], hyper.eta1[0]
        add("node 0 1", eta0 * first)
        add("link 0 1", eta1 * first[self._directed[:, 0]])
        add("node 1 1", eta0**2 * first)
        add("edge 1", eta0 * eta1 * (first[self._edges[:, 0]] + first[self._edges[:, 1]]))
        add("two", eta1**2 * (self._paths @ first))

    def _add_conditional(
        self, add: Add, j: int, coefficients: tuple[Vector, Vector, Vector], eta0: Vector, eta1: Vector
    ) -> None:
        """-Q_j A_j between positions j and j + 1, A_j' Q_j A_j on j + 1."""
        a, b, c = coefficients
        between = {"D": eta0 * a, "I": eta0 * b, "W": eta0 * c + eta1 * b, "DW": eta1 * a, "WW": eta1 * c}
        around = {
            "D": eta0**2 * a,
            "I": eta0**2 * b,
            "W": eta0**2 * c + 2.0 * eta0 * eta1 * b,
            "DW + WD": eta0 * eta1 * a,
            "WW": 2.0 * eta0 * eta1 * c + eta1**2 * b,
            "WDW": eta1**2 * a,
            "WWW": eta1**2 * c,
        }
        for name, factor in between.items():
            add(f"between {name} {j}", -self._fixed[f"between {name}"][:, None] * factor)
        for name, factor in around.items():
            add(f"around {name} {j}", self._fixed[f"around {name}"][:, None] * factor)

    def _add_coupling(self, add: Add, weight: Callable[[int, int], Vector], hyper: Hyperparameters) -> None:
        """Terms of H' W H from weights between different responses of one area."""
        k = len(self._order)
        eta0, eta1 = hyper.eta0[0], hyper.eta1[0]
        cross = weight(0, 1)
        add("node 1 1", 2.0 * eta0 * cross)
        add("edge 1", eta1 * (cross[self._edges[:, 0]] + cross[self._edges[:, 1]]))
        for a in range(k):
            for b in range(a + 1, k):
                add(f"node {a} {b}", weight(a, b))
        for j in range(2, k):
            far = weight(0, j)
            add(f"node 1 {j}", eta0 * far)
            add(f"link 1 {j}", eta1 * far[self._directed[:, 1]])

    def logdet(self, hyper: Hyperparameters) -> Vector:
        # Unit Jacobian: the chain is triangular.
        m = len(self.nodes)
        total = np.zeros(hyper.size)
        for response in self._order:
            total += [self.precision.logdet(rho) for rho in hyper.rho[response].tolist()]
            total -= 2.0 * m * np.log(hyper.sd_phi[response])
        return total

    def _by_neighbours(self, values: Vector) -> Vector:
        """W times values of shape (M, ...)."""
        return (self._w @ values.reshape(len(values), -1)).reshape(values.shape)

    def effect(self, u: Vector, hyper: Hyperparameters) -> Vector:
        m, k = len(self.nodes), len(self._order)
        parts = u.reshape(k, m, *u.shape[1:]).copy()
        parts[0] += hyper.eta0[0] * parts[1] + hyper.eta1[0] * self._by_neighbours(parts[1])
        out = np.zeros((self._areas, k, *u.shape[1:]))
        for position, response in enumerate(self._order):
            out[self.nodes, response] = parts[position]
        return out

    def adjoint(self, c: Vector, hyper: Hyperparameters) -> Vector:
        parts = np.stack([c[self.nodes, response] for response in self._order])
        parts[1] += hyper.eta0[0] * parts[0] + hyper.eta1[0] * self._by_neighbours(parts[0])
        return parts.reshape(-1, *c.shape[2:])

    def covariance(self, inverse: Vector, hyper: Hyperparameters) -> Vector:
        k = len(self._order)
        eta0, eta1 = hyper.eta0[0], hyper.eta1[0]
        z = {name: inverse[at] for name, at in self._at.items()}
        m = len(self.nodes)

        def around(values: Vector, end: int = 0) -> Vector:
            """Sum of values at directed pairs (a, b) over b for each a, or over a for each b."""
            places = (self._directed[:, end], np.arange(len(values)))
            return sp.csr_array((np.ones(len(values)), places), shape=(m, len(values))) @ values

        near = around(np.concatenate([z["edge 1"], z["edge 1"]]))  # sum over neighbours b of Z11_ab
        multiplicity = np.where(self._two[:, 0] == self._two[:, 1], 1.0, 2.0)[:, None]
        out = np.zeros((self._areas, k, k, hyper.size))
        cells = np.zeros((m, k, k, hyper.size))
        for j in range(1, k):
            cells[:, j, j] = z[f"node {j} {j}"]
        cells[:, 0, 0] = (
            z["node 0 0"]
            + 2.0 * eta0 * z["node 0 1"]
            + 2.0 * eta1 * around(z["link 0 1"])
            + eta0**2 * z["node 1 1"]
            + 2.0 * eta0 * eta1 * near
            + eta1**2 * (self._paths.T @ (multiplicity * z["two"]))
        )
        cells[:, 0, 1] = z["node 0 1"] + eta0 * z["node 1 1"] + eta1 * near
        for j in range(2, k):
            cells[:, 1, j] = z[f"node 1 {j}"]
            cells[:, 0, j] = z[f"node 0 {j}"] + eta0 * z[f"node 1 {j}"] + eta1 * around(z[f"link 1 {j}"], 1)
        for a in range(2, k):
            for b in range(a + 1, k):
                cells[:, a, b] = z[f"node {a} {b}"]
        for a in range(k):
            for b in range(a, k):
                ra, rb = self._order[a], self._order[b]
                out[self.nodes, ra, rb] = out[self.nodes, rb, ra] = cells[:, a, b]
        return out

    def extra_covariance(self, hyper: Hyperparameters) -> Vector | None:  # noqa: ARG002 - nothing is integrated out
        return None


def _conditional_basis(w: sp.csr_array, degrees: Vector) -> list[tuple[str, sp.csr_array, bool]]:
    """Products of D, I and W in Q A (all entries) and in A'QA (upper triangle), by name."""
    one = sp.eye_array(w.shape[0], format="csr")
    d = sp.diags_array(degrees, format="csr")
    between = {"D": d, "I": one, "W": w, "DW": d @ w, "WW": w @ w}
    around = {"D": d, "I": one, "W": w, "DW + WD": d @ w + w @ d, "WW": w @ w, "WDW": w @ d @ w, "WWW": w @ w @ w}
    return [(f"between {name}", matrix, False) for name, matrix in between.items()] + [
        (f"around {name}", matrix, True) for name, matrix in around.items()
    ]


def _common_neighbours(w: sp.csr_array, pairs: Nodes) -> sp.csr_array:
    """Matrix with a 1 where area i is a neighbour of both ends of a pair, shape (pairs, M)."""
    return sp.csr_array(w[pairs[:, 0]].multiply(w[pairs[:, 1]]))
