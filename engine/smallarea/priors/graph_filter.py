"""The graph filter: a spatial prior whose weights know no geography.

All four families are functions of one symmetric matrix B of the graph with eigenvalues b in [-1, 1]: their root is
``E g(B; r)`` with ``g(b; r) = (1 - r b)^{-1/2}``, E diagonal and r in [0, 1] (see `filter_root`). The filter
splits B's spectrum at a cut. Below it g is a polynomial of B, ``sum_k c_k(r) T_k``, whose coefficients c_k, a table
over r, are all that is learned; above it, where g grows towards its pole, the graph's few smooth modes are taken
exactly:

    x = E ( U (g(lambda; r) * z_coarse) + p(B; r) (I - U U') z_fine ).

A polynomial alone needs a degree that grows like (1 - rho)^{-1/2}; with the modes the degree depends on the cut only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors.families import Family
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    pass

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
