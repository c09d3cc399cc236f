"""The graph filter: a spatial prior whose weights know no geography.

All four families are functions of one symmetric matrix B of the graph with eigenvalues b in [-1, 1]: their root is
``E g(B; r)`` with ``g(b; r) = (1 - r b)^{-1/2}``, E diagonal and r in [0, 1] (see ``spectral_form``). The filter
splits B's spectrum at a cut. Below it g is a polynomial of B, ``sum_k c_k(r) T_k``, whose coefficients c_k, a table
over r, are all that is learned; above it, where g grows towards its pole, the graph's few smooth modes are taken
exactly:

    x = E ( U (g(lambda; r) * z_coarse) + p(B; r) (I - U U') z_fine ).

A polynomial alone needs a degree that grows like (1 - rho)^{-1/2}; with the modes the degree depends on the cut only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft
import scipy.sparse as sp
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.gmrf import IcarPrecision
from smallarea.gmrf.products import chebyshev_sum
from smallarea.gmrf.spectrum import leading_modes
from smallarea.priors.exact import field_nodes
from smallarea.priors.families import Family
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from jax import Array

Vector = NDArray[np.float64]

# Degree of the polynomial and cut of the spectrum, by the matrix that a family is a function of. Degrees of nodes vary,
# so the Laplacian's spectrum is wider than the bulk of its eigenvalues, and its cut has to lie closer to the end.
DEFAULTS: Mapping[str, tuple[int, float]] = {"adjacency": (16, 0.95), "laplacian": (32, 0.98)}
MATRIX_OF: Mapping[str, str] = {"car": "adjacency", "leroux": "laplacian", "bym2": "laplacian", "icar": "laplacian"}
# Nodes of the table over r: g is smooth there up to r = 1 because the polynomial ends below the pole.
NODES_IN_R = 128
NODES_IN_B = 512


@dataclass(frozen=True)
class FilterSettings:
    """Settings of a graph filter.

    Attributes
    ----------
    degree : int
        Degree of the polynomial: multiplications by the graph's matrix for one field.
    cut : float
        Eigenvalues above it belong to modes that are taken exactly.
    """

    degree: int
    cut: float

    def __post_init__(self) -> None:
        """Refuse settings that make no filter."""
        if not (isinstance(self.degree, int) and 1 <= self.degree <= 512):
            raise PriorProblem(f"The degree of a graph filter is a whole number from 1 to 512; got {self.degree!r}.")
        if not (isinstance(self.cut, int | float) and 0.0 < self.cut < 1.0):
            raise PriorProblem(f"The cut of a graph filter lies between 0 and 1; got {self.cut!r}.")

    @classmethod
    def of(cls, family: Family, degree: int | None = None, cut: float | None = None) -> FilterSettings:
        """Fill in the defaults of a family.

        Raises
        ------
        PriorProblem
            If the family is not a function of the graph, or the settings make no filter.
        """
        if family.name not in MATRIX_OF:
            raise PriorProblem(
                f"A graph-filter is a function of the graph and cannot imitate the family {family.name!r}. Choose the "
                "architecture 'decoder' or 'beta-vae'."
            )
        usual = DEFAULTS[MATRIX_OF[family.name]]
        return cls(usual[0] if degree is None else degree, usual[1] if cut is None else cut)

    def to_json(self) -> dict[str, Any]:
        """Return JSON types."""
        return {"degree": self.degree, "cut": self.cut}


def train_filter(settings: FilterSettings) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Fit the coefficients of the filter.

    Parameters
    ----------
    settings : FilterSettings
        Degree and cut.

    Returns
    -------
    weights : dict
        ``coefficients``, shape (degree + 1, R): c_k(r) = sum_j coefficients[k, j] T_j(2 r - 1).
    record : dict
        ``largest_error``: of the covariance function p^2 against g^2, relative to g^2, over the whole range.

    Notes
    -----
    Interpolation at Chebyshev nodes in b on [-1, cut] and in r on [0, 1] (Trefethen 2013, Approximation Theory and
    Approximation Practice, chapters 3 and 8). The error falls like degree^{-1/2} s^-degree with
    s = a + sqrt(a^2 - 1) and a = 1 + 2 (1 - cut) / (1 + cut), whatever the graph.
    """
    r = 0.5 * (1.0 + chebyshev.chebpts1(NODES_IN_R))
    b = _to_spectrum(chebyshev.chebpts1(NODES_IN_B), settings.cut)
    values = 1.0 / np.sqrt(1.0 - b[:, None] * r[None, :])
    in_b = _chebyshev_coefficients(values)[: settings.degree + 1]
    table = _chebyshev_coefficients(in_b.T).T
    # What is below single precision's rounding is noise and only costs time.
    kept = int(np.flatnonzero(np.abs(table).max(axis=0) > 1e-9)[-1]) + 1
    weights = {"coefficients": np.ascontiguousarray(table[:, :kept], dtype=np.float32)}
    return weights, {"largest_error": _largest_error(weights["coefficients"], settings.cut)}


def _to_spectrum(x: Vector, cut: float) -> Vector:
    """Map [-1, 1] to [-1, cut]."""
    return 0.5 * ((1.0 + cut) * x + cut - 1.0)


def _chebyshev_coefficients(values: Vector) -> Vector:
    """Coefficients of the interpolants through columns of values at ``chebpts1`` (which rise)."""
    n = len(values)
    coefficients = scipy.fft.dct(values[::-1], type=2, axis=0) / n
    coefficients[0] *= 0.5
    return coefficients


def _largest_error(table: NDArray[np.float32], cut: float) -> float:
    r = np.linspace(0.0, 1.0, 201)
    x = np.linspace(-1.0, 1.0, 801)
    in_r = chebyshev.chebval(2.0 * r - 1.0, table.astype(float).T)
    polynomial = chebyshev.chebval(x, in_r)
    exact = 1.0 / (1.0 - _to_spectrum(x, cut)[None, :] * r[:, None])
    return float(np.max(np.abs(polynomial**2 / exact - 1.0)))


def standard_filter(
    family: Family, graph: AreaGraph, degree: int | None = None, cut: float | None = None
) -> SpatialPrior:
    """Make a graph filter for a family: an exact spatial prior in non-centred form, up to the stated error.

    Parameters
    ----------
    family : Family
        CAR, Leroux, BYM2 or intrinsic CAR.
    graph : AreaGraph
        The geography that is written into the prior; the weights do not depend on it.
    degree, cut : optional
        See `FilterSettings`; by default those of the family.

    Returns
    -------
    SpatialPrior
        The prior.

    Raises
    ------
    PriorProblem
        If the family is not a function of the graph.
    """
    settings = FilterSettings.of(family, degree, cut)
    weights, record = train_filter(settings)
    return SpatialPrior("graph-filter", family, graph.ids, graph.edges, settings.to_json(), weights, record)


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

    settings = FilterSettings(prior.settings.get("degree"), prior.settings.get("cut"))  # type: ignore[arg-type]
    table = _checked_table(prior, settings)
    form = spectral_form(prior.family.name, graph)
    values, vectors = leading_modes(form.matrix, settings.cut)
    n, m = vectors.shape
    modes, eigenvalues = jnp.asarray(vectors, dtype=dtype), jnp.asarray(values, dtype=dtype)
    coefficients, scale = jnp.asarray(table, dtype=dtype), jnp.asarray(form.scale, dtype=dtype)
    polynomial = _polynomial(form.matrix, settings.cut, dtype)
    kind, bound = prior.family.name, form.bound
    # The intrinsic field has no part in the constants of the components.
    proper = jnp.asarray(values < 1.0 - 1e-10, dtype=dtype)

    def correlated(z: Any, rho: Any) -> Array:
        r, factor = _strength(kind, rho, bound)
        fine = z[m : m + n]
        fine = fine - modes @ (fine @ modes)
        gain = (
            proper / jnp.sqrt(jnp.where(proper > 0, 1.0 - eigenvalues, 1.0))
            if kind in ("icar", "bym2")
            else (1.0 / jnp.sqrt(1.0 - r * eigenvalues))
        )
        smooth = modes @ (gain * z[:m])
        return scale * jnp.sqrt(factor) * (smooth + polynomial(_series(coefficients, r), fine))

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


def _polynomial(matrix: sp.csr_array, cut: float, dtype: str) -> Callable[[Any, Any], Array]:
    """Return ``(c, y) -> sum_k c_k T_k(M) y``, with M the matrix whose spectrum [-1, cut] is stretched to [-1, 1]."""
    stretched = sp.csr_array((2.0 * matrix + (1.0 - cut) * sp.eye_array(matrix.shape[0])) * (1.0 / (1.0 + cut)))
    series = chebyshev_sum(stretched, dtype)
    return lambda c, y: series(y[:, None], c[:, None])[:, 0]
