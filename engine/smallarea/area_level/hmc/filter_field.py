"""A spatial effect through a graph filter, in coordinates that are nearly independent given the data.

The filter's root is diagonal in the eigenvectors of the graph's matrix, and to the data of most maps so is, nearly, the
information: with weight lambda, the mode j of gain f_j has the posterior precision ``1 + lambda f_j^2`` where its prior
has 1. So its white noise is made of the sampler's unknown u as ::

    z_j = a_j u_j + a_j^2 f_j t_j,   a_j = (1 + lambda f_j^2)^{-1/2},

with t the data's part along the mode. White noise itself as the unknown is a poor choice where data are plentiful: with
every new sd_phi all of it has to move. A mode that a covariate could stand for is known to the data only as far as the
covariates leave it, which shrinks its lambda. Large maps have a coordinate for each smooth mode; on what is left to
the filter's polynomial p(M), a is a polynomial as well, ``a(M)`` near ``(1 + lambda p(M)^2)^{-1/2}``. The determinant
is that of the polynomial itself: the sum of log a over the eigenvalues, which traces of Chebyshev polynomials give.

These are coordinates only: the density is that of the model at every point (``docs/methods/counts.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.hmc.whitening import Pull, evened
from smallarea.areas.graph import AreaGraph
from smallarea.priors.exact import field_nodes
from smallarea.priors.filter_root import LeftToPolynomial, filter_root
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from jax import Array

    from smallarea.area_level.hmc.natural import Natural

Vector = NDArray[np.float64]

# Up to here all eigenvectors are taken: dense products cost more than the polynomial, but steps are longer.
EVERY_MODE_UP_TO = 2_000
# Degrees of a and of the centre, which may be any smooth functions: they choose coordinates only.
DEGREE, DEGREE_OF_CENTRE = 12, 8
# Above this many nodes traces take minutes, and a is one number.
TRACED_UP_TO = 20_000


class FilterField:
    """K fields of unit scale through a graph filter.

    Parameters
    ----------
    prior : SpatialPrior
        A graph filter.
    graph : AreaGraph
        The geography.
    designs : list of ndarray, shape (N, p_k)
        Covariates of each response.
    weights : ndarray, shape (N, K)
        What the covariates' least squares is weighted with.
    """

    def __init__(self, prior: SpatialPrior, graph: AreaGraph, designs: list[Vector], weights: Vector) -> None:
        self._areas, self._responses = weights.shape
        self._nodes, _ = field_nodes(graph)
        self._alone = np.flatnonzero(graph.degrees == 0)
        self._kind = prior.family.name
        if self._kind not in ("leroux", "bym2"):
            self._alone = self._alone[:0]
        n = len(self._nodes)
        self._root = filter_root(prior, graph, "float64", every_mode=n <= EVERY_MODE_UP_TO)
        self._n, self._m = self._root.modes.shape
        self._left = self._n - self._m
        left = self._root.left
        if left is not None:
            traced = n <= TRACED_UP_TO
            self._fit, self._back = left.fit(DEGREE if traced else 0)
            self._fit_of_centre = left.fit(DEGREE_OF_CENTRE if traced else 0)[0]
            self._total = left.total() if traced else np.full(len(self._back), self._left / len(self._back))
        modes = np.asarray(self._root.modes) * np.asarray(self._root.scale)[:, None]
        self._share = np.column_stack(
            [
                _share_left(modes, design[self._nodes], weight)
                for design, weight in zip(designs, weights[self._nodes].T, strict=True)
            ]
        )

    @property
    def shape(self) -> tuple[int, int]:
        own = self._n if self._kind == "bym2" else 0
        return self._m + (self._n if self._left else 0) + len(self._alone) + own, self._responses

    def unit(self, unknowns: Any, natural: Natural, pull: Pull) -> tuple[Array, Array]:
        """Fields on all areas, shape (N, K), and the log density of the unknowns."""
        import jax.numpy as jnp

        psi, white, log_derivative = self.fields(unknowns, natural, pull)
        return psi, log_derivative - 0.5 * jnp.sum(white**2)

    def fields(self, unknowns: Any, natural: Natural, pull: Pull) -> tuple[Array, Array, Array]:
        """Fields and the white noise that they are made of.

        Parameters
        ----------
        unknowns : array, shape (L, K)
            The sampler's unknowns: for modes, for what is left of each node, for the independent part of BYM2, for
            areas without neighbours.
        natural : Natural
            Hyperparameters.
        pull : Pull
            The data, on all areas.

        Returns
        -------
        psi : array, shape (N, K)
            Fields of unit scale.
        white : array, shape (L, K)
            White noise that the prior's root takes to psi.
        log_derivative : array, shape ()
            Log determinant of d white / d unknowns.
        """
        import jax.numpy as jnp

        left = self._n if self._left else 0
        ends = np.cumsum([self._m + left, self._n if self._kind == "bym2" else 0])
        noise, own, alone = jnp.split(unknowns, ends)
        gain = natural.sd_phi[:, None] * natural.root
        here = _on(pull, self._nodes)
        if self._kind == "bym2":
            psi, noise, log_derivative = self._mixed(noise, own, natural, gain, here)
        else:
            psi, noise, log_derivative = self._correlated(noise, natural.rho, gain, here)
        out = jnp.zeros((self._areas, self._responses)).at[self._nodes].set(psi)
        if len(self._alone):
            scale = jnp.ones_like(natural.rho) if self._kind == "bym2" else 1.0 / jnp.sqrt(natural.rho_complement)
            alone, change = _independent(alone, gain * scale, _on(pull, self._alone))
            out, log_derivative = out.at[self._alone].set(scale * alone), log_derivative + change
        return out, jnp.concatenate([noise, alone]), log_derivative

    def _mixed(self, noise: Any, own: Any, natural: Natural, gain: Any, pull: Pull) -> tuple[Array, Array, Array]:
        """BYM2: a structured part as if the independent one were part of the sampling error, then the latter."""
        import jax.numpy as jnp

        structured, unstructured = jnp.sqrt(natural.rho), jnp.sqrt(natural.rho_complement)
        independent = jnp.sum((gain * unstructured) ** 2, axis=1)
        first = Pull(pull.weights / (1.0 + pull.weights * independent), pull.residual)
        psi, noise, first_change = self._correlated(noise, natural.rho, gain * structured, first)
        psi = structured * psi
        own, change = _independent(own, gain * unstructured, Pull(pull.weights, pull.residual - psi @ gain.T))
        return psi + unstructured * own, jnp.concatenate([noise, own]), first_change + change

    def _correlated(self, noise: Any, rho: Any, gain: Any, pull: Pull) -> tuple[Array, Array, Array]:
        """Fields on the nodes, shape (n, K)."""
        import jax
        import jax.numpy as jnp

        root, scale = self._root, self._root.scale[:, None]
        weights = pull.weights * scale**2
        mean_weight = jnp.mean(weights, axis=0)
        information = jnp.sum(gain**2 * mean_weight[:, None], axis=0)
        target = (evened(weights, mean_weight) * pull.residual / scale) @ gain
        gains = jax.vmap(root.gains, out_axes=1)(rho)
        along = root.modes.T @ target
        coarse, log_derivative = _pulled(noise[: self._m], gains, information * self._share, along * self._share)
        psi = root.modes @ (gains * coarse)
        if root.left is None:
            return scale * psi, coarse, log_derivative
        # Along the modes the fine noise has no effect and stays white.
        idle = root.modes @ (root.modes.T @ noise[self._m :])
        fine, change = self._pulled_rest(
            root.left, rho, noise[self._m :] - idle, information, target - root.modes @ along
        )
        psi = psi + jax.vmap(root.rest, in_axes=(0, 1), out_axes=1)(rho, fine)
        return scale * psi, jnp.concatenate([coarse, fine + idle]), log_derivative + change

    def _pulled_rest(
        self, left: LeftToPolynomial, rho: Any, unknowns: Any, information: Any, target: Any
    ) -> tuple[Array, Array]:
        """White noise on what is left to the polynomial, shape (n, K), and the log determinant."""
        import jax
        import jax.numpy as jnp

        gains = jax.vmap(left.gains, out_axes=1)(rho)
        squares = 1.0 / (1.0 + information * gains**2)
        series = jax.vmap(left.series, in_axes=(1, 1), out_axes=1)
        narrow = self._fit @ jnp.sqrt(squares)
        white = series(narrow, unknowns) + series(self._fit_of_centre @ (squares * gains), target)
        return white, jnp.sum(self._total @ jnp.log(self._back @ narrow))


def _on(pull: Pull, places: NDArray[np.int64]) -> Pull:
    return Pull(pull.weights[places], pull.residual[places])


def _independent(unknowns: Any, gain: Any, pull: Pull) -> tuple[Array, Array]:
    """White noise of single areas, shape (n, K), and the log determinant; ``gain`` is that of `Whitening`."""
    import jax.numpy as jnp

    return _pulled(unknowns, jnp.ones(()), pull.weights @ gain**2, (pull.weights * pull.residual) @ gain)


def _pulled(unknowns: Any, gains: Any, information: Any, target: Any) -> tuple[Array, Array]:
    """White noise made of the sampler's unknowns, and the log determinant of its derivative."""
    import jax.numpy as jnp

    narrow = 1.0 / jnp.sqrt(1.0 + information * gains**2)
    white = narrow * unknowns + narrow**2 * gains * target
    return white, jnp.sum(jnp.log(narrow))


def _share_left(modes: Vector, design: Vector, weights: Vector) -> Vector:
    """Share of each mode's weighted square that a regression on the design leaves, shape (m,)."""
    root = np.sqrt(weights)[:, None]
    basis = np.linalg.svd(root * design, full_matrices=False)
    kept = basis[0][:, basis[1] > 1e-10 * max(basis[1].max(initial=0.0), 1e-300)]
    weighted = root * modes
    whole = np.sum(weighted**2, axis=0)
    explained = np.sum((kept.T @ weighted) ** 2, axis=0)
    return np.asarray(np.clip(1.0 - explained / np.maximum(whole, 1e-300), 0.0, 1.0))
