"""Which prior each free parameter has, and how a chain's unknowns become the parameters.

Priors are those of `bayes`, on the scale of standardised items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.latent.marginal_density import log_density
from smallarea.survey.latent.model import LatentModel, Parameter
from smallarea.survey.latent.patterns import Answers

if TYPE_CHECKING:
    from jax import Array

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class LatentPriors:
    """Priors on the scale of standardised items.

    Attributes
    ----------
    loading_mean, loading_sd : float
        Normal prior of loadings.
    path_sd : float
        Normal prior of regressions, about zero.
    lkj : float
        Concentration of the correlation matrix of factors.
    residual : {'half_normal', 'inverse_gamma'}
        Prior of the items' residual standard deviations.
    """

    loading_mean: float = 1.0
    loading_sd: float = 0.5
    path_sd: float = 1.0
    lkj: float = 2.0
    residual: Literal["half_normal", "inverse_gamma"] = "half_normal"


class PriorLayout:
    """Which prior each free parameter has, and how unknowns become matrices."""

    def __init__(self, model: LatentModel, answers: Answers, priors: LatentPriors) -> None:
        self.model, self.priors = model, priors
        self._unit = _units(model, answers)
        first = {one.index: one for one in reversed(model.parameters) if one.index >= 0}
        listed = [first[i] for i in range(len(model.names))]
        self.loadings = [one for one in listed if one.kind == "loading"]
        self.paths = [one for one in listed if one.kind == "regression"]
        self.items = [one for one in listed if one.kind == "variance" and one.row < len(model.observed)]
        self.factors = [one for one in listed if one.kind == "variance" and one.row >= len(model.observed)]
        self.blocks = _blocks(model)
        block_of = {variable: number for number, block in enumerate(self.blocks) for variable in block}
        covariances = [one for one in listed if one.kind == "covariance"]
        same = [one for one in covariances if block_of.get(one.row, -1) == block_of.get(one.column, -2)]
        self.in_block = sorted(same, key=lambda one: block_of[one.row])
        self.alone = [one for one in covariances if one not in same]
        self.fixed_variance = {
            one.row: one.fixed for one in model.parameters if one.kind == "variance" and one.index < 0
        }
        self._variance_index = {one.row: one.index for one in model.parameters if one.kind == "variance"}

    def scale(self, one: Parameter) -> float:
        """Return what a standardised value is multiplied by."""
        if one.in_effects:
            return float(self._unit[one.row] / self._unit[one.column])
        return float(self._unit[one.row])

    def numpyro_model(self, answers: Answers) -> Callable[[], None]:
        """Return the model as a function of NumPyro."""
        import jax.numpy as jnp
        import numpyro

        density = log_density(self.model, answers)

        def model() -> None:
            theta = self._theta()
            numpyro.deterministic("theta", theta)
            value = density(theta)
            # Where no covariance matrix belongs to the parameters, the density is zero.
            numpyro.factor("answers", jnp.where(jnp.isnan(value), -jnp.inf, value))

        return model

    def _theta(self) -> Array:
        """Draw the free parameters, in the units of the items; few operations, because each is compiled many times."""
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        loading = dist.Normal(self.priors.loading_mean, self.priors.loading_sd)
        parts, sds = [], []
        for name, some, prior in (
            ("loading", self.loadings, loading),
            ("path", self.paths, dist.Normal(0.0, self.priors.path_sd)),
            ("item_sd", self.items, self._item_prior()),
            ("factor_sd", self.factors, dist.HalfNormal(1.0)),
        ):
            if some:
                scale = np.array([self.scale(one) for one in some])
                values = numpyro.sample(name, prior.expand([len(some)]).to_event(1)) * scale
                parts.append(values**2 if name.endswith("sd") else values)
                sds += [values] if name.endswith("sd") else []
        correlations = self._correlations()
        if len(correlations):
            fixed = np.sqrt(np.array(list(self.fixed_variance.values())))
            at = {index: i for i, index in enumerate(one.index for one in [*self.items, *self.factors])}
            place = {row: at[index] for row, index in self._variance_index.items() if index >= 0}
            place |= {row: len(at) + i for i, row in enumerate(self.fixed_variance)}
            known = jnp.concatenate([*sds, fixed])
            pairs = np.array([(place[one.row], place[one.column]) for one in [*self.in_block, *self.alone]])
            parts.append(correlations * known[pairs[:, 0]] * known[pairs[:, 1]])
        listed = [*self.loadings, *self.paths, *self.items, *self.factors, *self.in_block, *self.alone]
        return jnp.concatenate(parts)[np.argsort(_index(listed))]

    def _item_prior(self) -> Any:
        import numpyro.distributions as dist

        return dist.InverseGamma(3.0, 4.0) if self.priors.residual == "inverse_gamma" else dist.HalfNormal(1.0)

    def _correlations(self) -> Array:
        """Draw the correlations, those of blocks of factors first."""
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        parts = []
        for number, block in enumerate(self.blocks):
            root = numpyro.sample(f"correlation_{number}", dist.LKJCholesky(len(block), self.priors.lkj))
            at = {variable: i for i, variable in enumerate(block)}
            pairs = np.array([(at[o.row], at[o.column]) for o in self.in_block if o.row in at and o.column in at])
            parts.append((root @ root.T)[pairs[:, 0], pairs[:, 1]])
        if self.alone:
            uniform = dist.Uniform(-1.0, 1.0).expand([len(self.alone)]).to_event(1)
            parts.append(numpyro.sample("correlation", uniform))
        return jnp.concatenate(parts) if parts else jnp.zeros(0)

    def sites(self, theta: Vector) -> dict[str, Vector]:
        """Return the unknowns at which the parameters are near `theta`."""
        found: dict[str, Vector] = {}
        for name, listed in (("loading", self.loadings), ("path", self.paths)):
            found[name] = np.array([theta[one.index] / self.scale(one) for one in listed])
        for name, listed in (("item_sd", self.items), ("factor_sd", self.factors)):
            sds = np.array([np.sqrt(max(theta[one.index], 0.0)) / self.scale(one) for one in listed])
            found[name] = np.maximum(sds, 0.1)  # a Heywood case begins inside the parameter space
        for number, block in enumerate(self.blocks):
            root = np.linalg.cholesky(self._block_correlation(theta, block))
            found[f"correlation_{number}"] = np.asarray(root, dtype=np.float64)
        found["correlation"] = np.array([self._correlation(theta, one) for one in self.alone])
        return {name: value for name, value in found.items() if value.size}

    def _correlation(self, theta: Vector, one: Parameter) -> float:
        _, s = self.model.matrices(theta)
        sds = np.sqrt(np.maximum([s[one.row, one.row], s[one.column, one.column]], 1e-12))
        return float(np.clip(s[one.row, one.column] / sds.prod(), -0.9, 0.9))

    def _block_correlation(self, theta: Vector, block: list[int]) -> Vector:
        correlation = np.eye(len(block))
        for one in self.in_block:
            if one.row in block and one.column in block:
                i, j = block.index(one.row), block.index(one.column)
                correlation[i, j] = correlation[j, i] = self._correlation(theta, one)
        lowest = np.linalg.eigvalsh(correlation)[0]
        if lowest < 0.05:
            correlation = (correlation + (0.05 - lowest) * np.eye(len(block))) / (1.05 - lowest)
        return correlation


def _index(listed: list[Parameter]) -> NDArray[np.int64]:
    return np.array([one.index for one in listed], dtype=np.int64)


def _units(model: LatentModel, answers: Answers) -> Vector:
    """Return the unit of each variable: an item's standard deviation; a factor has that of its marker, or one."""
    p = len(model.observed)
    units = np.ones(len(model.variables))
    for j in range(p):
        units[j] = np.nanstd(np.where(answers.weights > 0.0, answers.values[:, j], np.nan))
    # Factors of factors come after those that measure them.
    for _ in range(len(model.latent)):
        for one in reversed(model.parameters):
            if one.kind == "loading" and one.index < 0 and one.fixed != 0.0:
                units[one.column] = units[one.row] / abs(one.fixed)
    return units


def _blocks(model: LatentModel) -> list[list[int]]:
    """Return sets of two or more factors whose covariances are all free and have no common label."""
    p = len(model.observed)
    names = [one.index for one in model.parameters if one.index >= 0]
    free = {
        frozenset((one.row, one.column))
        for one in model.parameters
        if one.kind == "covariance" and min(one.row, one.column) >= p and one.index >= 0 and names.count(one.index) == 1
    }
    found: list[list[int]] = []
    for variable in range(p, len(model.variables)):
        linked = [b for b in found if any(frozenset((variable, other)) in free for other in b)]
        if len(linked) == 1 and all(frozenset((variable, other)) in free for other in linked[0]):
            linked[0].append(variable)
        else:
            found.append([variable])
    return [block for block in found if len(block) > 1]
