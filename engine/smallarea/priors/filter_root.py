"""A graph filter on one graph, taken apart: its exact modes, and the polynomial of what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.gmrf import IcarPrecision
from smallarea.gmrf.products import chebyshev_sum, chebyshev_traces
from smallarea.gmrf.spectrum import leading_modes
from smallarea.priors.exact import field_nodes
from smallarea.priors.graph_filter import MATRIX_OF, FilterSettings
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from jax import Array

Vector = NDArray[np.float64]

# Points at which functions of the stretched spectrum are looked at, and the degree at which their logarithms end.
POINTS, TRACE_DEGREE = 96, 64


@dataclass(frozen=True)
class SpectralForm:
    """A family's root on one graph as ``E g(B; r)``.

    Attributes
    ----------
    matrix : sparse array, shape (n, n)
        B on the nodes with neighbours.
    scale : ndarray, shape (n,)
        Diagonal of E, without the factor that depends on the hyperparameter.
    bound : float
        Upper bound of the Laplacian's eigenvalues; 0 where B is the scaled adjacency.
    """

    matrix: sp.csr_array
    scale: Vector
    bound: float


def spectral_form(name: str, graph: AreaGraph) -> SpectralForm:
    """Write a family as a function of a matrix of the graph.

    Proper CAR: ``(D - rho W)^{-1} = D^{-1/2} (I - rho S)^{-1} D^{-1/2}`` with ``S = D^{-1/2} W D^{-1/2}``, so B = S and
    r = rho. The others are functions of the Laplacian L = D - W. With ``B = I - 2 L / l`` for a bound l of its
    eigenvalues (Anderson and Morley 1985: the largest sum of the degrees of two neighbours), Leroux has
    ``r = rho l / (rho l + 2 (1 - rho))`` and the factor ``2 / (rho l + 2 (1 - rho))``; the intrinsic CAR has 1 and
    ``2 / l``.

    Parameters
    ----------
    name : str
        Name of the family.
    graph : AreaGraph
        The geography.

    Returns
    -------
    SpectralForm
        The matrix and its scale.
    """
    nodes, edges = field_nodes(graph)
    n = len(nodes)
    degrees = graph.degrees[nodes].astype(float)
    adjacency = sp.csr_array(graph.adjacency[nodes][:, nodes])
    if MATRIX_OF[name] == "adjacency":
        root = sp.diags_array(1.0 / np.sqrt(degrees))
        return SpectralForm(sp.csr_array(root @ adjacency @ root), 1.0 / np.sqrt(degrees), 0.0)
    bound = float((degrees[edges[:, 0]] + degrees[edges[:, 1]]).max())
    laplacian = sp.diags_array(degrees) - adjacency
    scale = np.ones(n)
    if name == "bym2":
        precision = IcarPrecision(n, edges, scaled=True)
        scale = np.sqrt(degrees / precision.diagonal(0.0))
    return SpectralForm(sp.csr_array(sp.eye_array(n) - laplacian * (2.0 / bound)), scale, bound)


@dataclass(frozen=True)
class FilterRoot:
    """A root of the filter's covariance, ``scale * (modes diag(gains) coarse + rest(fine))``, as pure JAX.

    Attributes
    ----------
    modes : array, shape (n, m)
        Orthonormal eigenvectors of the graph's matrix.
    scale : array, shape (n,)
        Diagonal matrix on the left.
    gains : callable
        ``gains(rho)``, shape (m,).
    rest : callable
        ``rest(rho, fine)`` for ``fine`` of shape (n,) orthogonal to the modes.
    left : LeftToPolynomial or None
        How else to act on what is left to ``rest``; None if nothing is.
    """

    modes: Any
    scale: Any
    gains: Callable[[Any], Array]
    rest: Callable[[Any, Any], Array]
    left: LeftToPolynomial | None


@dataclass(frozen=True)
class LeftToPolynomial:
    """Functions of the graph's matrix on the space orthogonal to the modes.

    Such a function is given by its values at the P Chebyshev points of the stretched spectrum.

    Attributes
    ----------
    gains : callable
        ``gains(rho)``: the filter's own values, shape (P,).
    series : callable
        ``series(c, y)`` is ``sum_k c_k T_k(M) y`` for c of shape (d + 1,) and y of shape (n,).
    fit : callable
        ``fit(d)``: the matrix, shape (d + 1, P), that makes coefficients of values, and its reverse, shape (P, d + 1).
    total : callable
        ``total()``: weights, shape (P,), with which the values of a smooth function add up to its trace there.
    """

    gains: Callable[[Any], Array]
    series: Callable[[Any, Any], Array]
    fit: Callable[[int], tuple[Vector, Vector]]
    total: Callable[[], Vector]


def filter_root(prior: SpatialPrior, graph: AreaGraph, dtype: str, *, every_mode: bool = False) -> FilterRoot:
    """Bind a graph filter to the nodes of a graph.

    Parameters
    ----------
    prior : SpatialPrior
        The filter. Of BYM2 it is the root of the structured part.
    graph : AreaGraph
        Any geography.
    dtype : str
        Precision of the arithmetic.
    every_mode : bool
        Whether the modes are all eigenvectors, the polynomial's values being their gains below the cut: the same
        covariance at the cost of a dense matrix.

    Returns
    -------
    FilterRoot
        The root; its hyperparameter is ignored by an intrinsic CAR and by BYM2.

    Raises
    ------
    PriorProblem
        If the weights do not fit the settings.
    """
    import jax.numpy as jnp

    settings = FilterSettings(prior.settings.get("degree"), prior.settings.get("cut"))  # type: ignore[arg-type]
    coefficients = jnp.asarray(_checked_table(prior, settings), dtype=dtype)
    form = spectral_form(prior.family.name, graph)
    values, vectors = _all_modes(form.matrix) if every_mode else leading_modes(form.matrix, settings.cut)
    constants = values >= 1.0 - 1e-10
    vectors[:, constants] = _constant_first(vectors[:, constants], form.scale)
    exact, modes = jnp.asarray(values > settings.cut), jnp.asarray(vectors, dtype=dtype)
    kind = prior.family.name
    # The intrinsic field has no part in the constants of the components.
    null = constants & (kind in ("icar", "bym2"))
    eigenvalues = jnp.asarray(np.where(null, 0.0, values), dtype=dtype)
    proper = jnp.asarray(~null, dtype=dtype)
    stretched_values = (2.0 * values + 1.0 - settings.cut) / (1.0 + settings.cut)
    powers = jnp.asarray(chebyshev.chebvander(np.minimum(stretched_values, 1.0), settings.degree), dtype=dtype)
    stretch = _stretched(form.matrix, settings.cut)
    polynomial = None if every_mode else _polynomial(stretch, dtype)
    at_points = jnp.asarray(_fit(settings.degree)[1], dtype=dtype)

    def gains(rho: Any) -> Array:
        r, factor = _strength(kind, rho, form.bound)
        out = 1.0 / jnp.sqrt(1.0 - r * eigenvalues)
        if every_mode:
            out = jnp.where(exact, out, powers @ _series(coefficients, r))
        return jnp.sqrt(factor) * proper * out

    def rest(rho: Any, fine: Any) -> Array:
        if polynomial is None:
            return jnp.zeros_like(fine)
        r, factor = _strength(kind, rho, form.bound)
        return jnp.sqrt(factor) * polynomial(_series(coefficients, r), fine)

    def rough_gains(rho: Any) -> Array:
        r, factor = _strength(kind, rho, form.bound)
        return jnp.sqrt(factor) * (at_points @ _series(coefficients, r))

    def total() -> Vector:
        traces = chebyshev_traces(stretch, TRACE_DEGREE) - chebyshev.chebvander(stretched_values, TRACE_DEGREE).sum(0)
        return _fit(TRACE_DEGREE)[0].T @ traces

    left = None if polynomial is None else LeftToPolynomial(rough_gains, polynomial, _fit, total)
    return FilterRoot(modes, jnp.asarray(form.scale, dtype=dtype), gains, rest, left)


def _fit(degree: int) -> tuple[Vector, Vector]:
    """Matrices from values at the Chebyshev points to coefficients of a series, and back."""
    angles = np.pi * (np.arange(POINTS) + 0.5) / POINTS
    back = np.cos(np.outer(angles, np.arange(degree + 1)))
    there = 2.0 / POINTS * back.T
    there[0] *= 0.5
    return there, back


def _all_modes(matrix: sp.csr_array) -> tuple[Vector, Vector]:
    """Return eigenvalues, falling, and eigenvectors."""
    values, vectors = scipy.linalg.eigh(matrix.toarray())
    return np.minimum(values[::-1], 1.0), vectors[:, ::-1].copy()


def _constant_first(modes: Vector, scale: Vector) -> Vector:
    """Turn the constants of the components, shape (n, c): first the one of the map, which an intercept stands for."""
    constant = modes.T @ (1.0 / scale)
    return modes @ np.linalg.qr(np.column_stack([constant, np.eye(len(constant))[:, 1:]]))[0]


def bound_filter(prior: SpatialPrior, graph: AreaGraph, dtype: str) -> tuple[int, Callable[[Any, Any], Array]]:
    """Turn a graph filter into a function on the nodes of a graph.

    Parameters
    ----------
    prior : SpatialPrior
        The filter.
    graph : AreaGraph
        Any geography.
    dtype : str
        Precision of the arithmetic.

    Returns
    -------
    latent_size : int
        Nodes plus smooth modes (BYM2: and nodes once more, for its independent part).
    field : callable
        ``field(z, values)``, shape (n,), pure JAX.

    Raises
    ------
    PriorProblem
        If the weights do not fit the settings.
    """
    import jax.numpy as jnp

    root = filter_root(prior, graph, dtype)
    n, m = root.modes.shape
    kind = prior.family.name

    def correlated(z: Any, rho: Any) -> Array:
        fine = z[m : m + n]
        fine = fine - root.modes @ (fine @ root.modes)
        return root.scale * (root.modes @ (root.gains(rho) * z[:m]) + root.rest(rho, fine))

    def field(z: Any, values: Any) -> Array:
        rho = values[0] if kind != "icar" else jnp.ones((), dtype=dtype)
        if kind != "bym2":
            return correlated(z, rho)
        return jnp.sqrt(rho) * correlated(z, rho) + jnp.sqrt(1.0 - rho) * z[m + n :]

    return m + n * (2 if kind == "bym2" else 1), field


def _checked_table(prior: SpatialPrior, settings: FilterSettings) -> NDArray[np.float32]:
    table = prior.weights.get("coefficients")
    if table is None or set(prior.weights) != {"coefficients"} or table.ndim != 2 or len(table) != settings.degree + 1:
        shapes = {name: list(value.shape) for name, value in prior.weights.items()}
        raise PriorProblem(
            f"A graph filter of degree {settings.degree} has one table of coefficients with {settings.degree + 1} "
            f"rows; this prior holds {shapes}. Train it again."
        )
    return table


def _strength(kind: str, rho: Any, bound: float) -> tuple[Any, Any]:
    """Return r and the factor of the covariance for a family's hyperparameter."""
    if kind == "car":
        return rho, 1.0
    if kind == "leroux":
        total = rho * bound + 2.0 * (1.0 - rho)
        return rho * bound / total, 2.0 / total
    return 1.0, 2.0 / bound


def _series(coefficients: Any, r: Any) -> Array:
    """c_k(r) for all k, shape (degree + 1,), by Clenshaw's recurrence."""
    import jax
    import jax.numpy as jnp

    x = 2.0 * jnp.asarray(r, dtype=coefficients.dtype) - 1.0

    def step(carry: tuple[Any, Any], column: Any) -> tuple[tuple[Any, Any], None]:
        later, latest = carry
        return (latest, column + 2.0 * x * latest - later), None

    zero = jnp.zeros(coefficients.shape[0], dtype=coefficients.dtype)
    (later, latest), _ = jax.lax.scan(step, (zero, zero), coefficients[:, :0:-1].T)
    return coefficients[:, 0] + x * latest - later


def _stretched(matrix: sp.csr_array, cut: float) -> sp.csr_array:
    """M: the matrix with its spectrum [-1, cut] stretched to [-1, 1]."""
    return sp.csr_array((2.0 * matrix + (1.0 - cut) * sp.eye_array(matrix.shape[0])) * (1.0 / (1.0 + cut)))


def _polynomial(stretched: sp.csr_array, dtype: str) -> Callable[[Any, Any], Array]:
    """Return ``(c, y) -> sum_k c_k T_k(M) y``."""
    series = chebyshev_sum(stretched, dtype)
    return lambda c, y: series(y[:, None], c[:, None])[:, 0]
