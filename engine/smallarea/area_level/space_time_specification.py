"""Which space-time model is fitted: an area-level model whose responses are the periods of one quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smallarea.area_level.parameters import Parameter
from smallarea.area_level.priors import Prior
from smallarea.area_level.specification import AreaLevelSpecification, specify
from smallarea.errors import ModelProblem, named

SPACE_TIME_EFFECTS = ("car", "leroux", "bym2", "icar")
SPACE_TIME_METHODS = ("bayes", "hmc", "reml", "ml")


@dataclass(frozen=True)
class SpaceTimeSpecification(AreaLevelSpecification):
    """A Fay-Herriot model of one quantity at T equally spaced periods.

    ``direct_it ~ N(theta_it, variance_it)`` and ``theta_it = x_it' beta + phi_it + delta_it`` with common coefficients.
    phi is separable: an autoregressive process of order one in time, stationary with correlation
    ``rho_time^|t - s|``, times a spatial effect over the areas (Knorr-Held 2000, interaction of type IV, with a proper
    process in time). delta is independent between areas and periods. Standard deviations and rho are the same in all
    periods.

    The attributes are those of the base class: ``responses`` are the periods in their order, ``link`` is
    ``'time'``. With one period rho_time is absent, and the model is the spatial one.
    """

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The hyperparameters, in the order that is used everywhere."""
        kinds = ["sd_phi"]
        kinds += ["rho"] if self.random_effect != "icar" else []
        kinds += ["rho_time"] if len(self.responses) > 1 else []
        kinds += ["sd_delta"] if self.iid_part else []
        return tuple(Parameter(kind, kind) for kind in kinds)

    def __str__(self) -> str:
        first, last = self.responses[0], self.responses[-1]
        right = " + ".join([*self.terms, "phi_it", *(["delta_it"] if self.iid_part else [])])
        lines = [
            "direct_it ~ N(theta_it, variance_it)",
            f"theta_it = {right}",
            f"t = {first} to {last}, {len(self.responses)} periods; the same coefficients in all",
            f"phi ~ N(0, sd_phi^2 R x {self.covariance_shape}), R_ts = rho_time^|t - s|",
        ]
        lines += ["delta_it ~ N(0, sd_delta^2)"] if self.iid_part else []
        return "\n".join([*lines, *(f"{name} ~ {prior}" for name, prior in self.priors.items())])


def specify_space_time(
    covariates: Sequence[str] = (),
    *,
    periods: Sequence[str],
    random_effect: str = "car",
    iid_part: bool | None = None,
    intercept: bool = True,
    method: str = "bayes",
    priors: Mapping[str, str | Prior] | None = None,
) -> SpaceTimeSpecification:
    """Describe a space-time model, with defaults filled in and contradictions refused.

    Parameters
    ----------
    covariates : sequence of str
        Names of the covariates.
    periods : sequence of str, length T
        Names of the periods, in their order and equally spaced.
    random_effect : {'car', 'leroux', 'bym2', 'icar'}
        The spatial part of the effect.
    iid_part : bool, optional
        Whether an effect that is independent between areas and periods stands beside it; by default with car and icar,
        not with leroux and bym2.
    intercept : bool
        Whether to include an intercept.
    method : {'bayes', 'hmc', 'reml', 'ml'}
        How to fit.
    priors : mapping, optional
        Priors that replace the defaults: HalfNormal(1) for sd_phi and sd_delta, Uniform(0, 1) for rho and rho_time, on
        the standardised scale.

    Returns
    -------
    SpaceTimeSpecification
        The model.

    Raises
    ------
    ModelProblem
        If the parts contradict each other.
    PriorProblem
        If a prior does not fit the model.
    """
    names = tuple(periods)
    for value, known, what in (
        (random_effect, SPACE_TIME_EFFECTS, "random effect"),
        (method, SPACE_TIME_METHODS, "method"),
    ):
        if value not in known:
            raise ModelProblem(f"There is no space-time model with {what} {value!r}; there are {', '.join(known)}.")
    if not names or len(set(names)) != len(names):
        raise ModelProblem(f"A space-time model needs periods with different names; got {named(names)}.")
    plain = specify(
        covariates, random_effect=random_effect, iid_part=iid_part, intercept=intercept, method="reml", priors=None
    )
    bare = SpaceTimeSpecification(
        names, random_effect, "time", (), plain.iid_part, intercept, plain.covariates, method, {}
    )
    return bare.with_priors(priors)
