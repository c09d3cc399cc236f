"""Named priors of hyperparameters.

Every prior maps a standard normal coordinate x to its parameter by quantiles, ``parameter = F^{-1}(Phi(x))``. In that
coordinate
each prior is N(0, 1), boundaries are at infinity and no mass is lost near them, which is what the sampler works with.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from scipy import special

from smallarea.errors import PriorProblem


class Prior(ABC):
    """A prior of one hyperparameter; printable as it is written."""

    @abstractmethod
    def quantile(self, lower: float, upper: float) -> float:
        """Parameter with ``lower`` probability below and ``upper = 1 - lower`` above (both given, for both tails)."""

    def from_normal(self, x: float) -> float:
        """Parameter at the standard normal coordinate ``x``."""
        return self.quantile(float(special.ndtr(x)), float(special.ndtr(-x)))

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""

    @property
    def fixed(self) -> bool:
        """Whether the parameter is known."""
        return False

    def __str__(self) -> str:
        arguments = ", ".join(f"{getattr(self, f.name):g}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True)
class HalfNormal(Prior):
    """|N(0, scale^2)|."""

    scale: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        if lower < 0.5:
            return self.scale * math.sqrt(2.0) * float(special.erfinv(lower))
        return -self.scale * float(special.ndtri(0.5 * upper))

    @property
    def support(self) -> tuple[float, float]:
        return (0.0, math.inf)


@dataclass(frozen=True)
class HalfStudentT(Prior):
    """|t_df| times scale."""

    df: float = 3.0
    scale: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        if lower < 0.5:
            return self.scale * float(special.stdtrit(self.df, 0.5 + 0.5 * lower))
        # SciPy's quantile of 0 is infinite with either sign.
        return self.scale * abs(float(special.stdtrit(self.df, 0.5 * upper)))

    @property
    def support(self) -> tuple[float, float]:
        return (0.0, math.inf)


@dataclass(frozen=True)
class HalfCauchy(Prior):
    """|Cauchy(0, scale)|."""

    scale: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        if lower < 0.5:
            return self.scale * math.tan(0.5 * math.pi * lower)
        return self.scale / math.tan(0.5 * math.pi * upper) if upper > 0.0 else math.inf

    @property
    def support(self) -> tuple[float, float]:
        return (0.0, math.inf)


@dataclass(frozen=True)
class Exponential(Prior):
    """Exponential with the given rate."""

    rate: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        if lower < 0.5:
            return -math.log1p(-lower) / self.rate
        return -math.log(upper) / self.rate if upper > 0.0 else math.inf

    @property
    def support(self) -> tuple[float, float]:
        return (0.0, math.inf)


@dataclass(frozen=True)
class PC(Prior):
    """Penalised complexity prior of a standard deviation: P(sd > upper) = tail (Simpson et al. 2017)."""

    upper: float = 1.0
    tail: float = 0.05

    def quantile(self, lower: float, upper: float) -> float:
        return Exponential(-math.log(self.tail) / self.upper).quantile(lower, upper)

    @property
    def support(self) -> tuple[float, float]:
        return (0.0, math.inf)


@dataclass(frozen=True)
class Uniform(Prior):
    """Uniform between lower and upper."""

    lower: float = 0.0
    upper: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        width = self.upper - self.lower
        return self.lower + width * lower if lower < 0.5 else self.upper - width * upper

    @property
    def support(self) -> tuple[float, float]:
        return (self.lower, self.upper)


@dataclass(frozen=True)
class Beta(Prior):
    """Beta(a, b) on (0, 1)."""

    a: float = 1.0
    b: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        if lower < 0.5:
            return _beta_quantile(self.a, self.b, lower)
        return 1.0 - _beta_quantile(self.b, self.a, upper)

    @property
    def support(self) -> tuple[float, float]:
        return (0.0, 1.0)


@dataclass(frozen=True)
class Normal(Prior):
    """N(mean, sd^2)."""

    mean: float = 0.0
    sd: float = 1.0

    def quantile(self, lower: float, upper: float) -> float:
        return self.mean + self.sd * float(special.ndtri(lower) if lower < 0.5 else -special.ndtri(upper))

    @property
    def support(self) -> tuple[float, float]:
        return (-math.inf, math.inf)


@dataclass(frozen=True)
class LKJ(Prior):
    """Correlation matrix with density proportional to its determinant to the power eta - 1.

    Drawn through canonical partial correlations, each a symmetric beta variable (Lewandowski, Kurowicka and Joe 2009).
    As it stands it is the prior of the one correlation of two responses.
    """

    eta: float = 2.0

    def quantile(self, lower: float, upper: float) -> float:
        if lower < 0.5:
            return 2.0 * _beta_quantile(self.eta, self.eta, lower) - 1.0
        return 1.0 - 2.0 * _beta_quantile(self.eta, self.eta, upper)

    def partial(self, given: int, responses: int) -> LKJ:
        """Prior of a partial correlation given that many of the responses."""
        return LKJ(self.eta + 0.5 * (responses - 2 - given))

    @property
    def support(self) -> tuple[float, float]:
        return (-1.0, 1.0)


@dataclass(frozen=True)
class Fixed(Prior):
    """A known value; the sampler leaves it alone."""

    value: float

    def quantile(self, lower: float, upper: float) -> float:  # noqa: ARG002 - constant
        return self.value

    @property
    def support(self) -> tuple[float, float]:
        return (self.value, self.value)

    @property
    def fixed(self) -> bool:
        return True


def _beta_quantile(a: float, b: float, probability: float) -> float:
    """Quantile of a beta distribution; 0 at probabilities so small that SciPy's search fails."""
    found = float(special.betaincinv(a, b, probability))
    return 0.0 if math.isnan(found) else found


_KNOWN: dict[str, Callable[..., Prior]] = {
    prior.__name__.lower(): prior
    for prior in (HalfNormal, HalfStudentT, HalfCauchy, Exponential, PC, Uniform, Beta, Normal, LKJ, Fixed)
}

# methods: default specification of the area-level models, on the standardised scale.
DEFAULT_PRIORS: Mapping[str, Prior] = {
    "sd_phi": HalfNormal(1.0),
    "rho": Uniform(0.0, 1.0),
    # In units of the map's diameter; a learned prior knows a part of it.
    "range": Uniform(0.0, 1.0),
    "rho_time": Uniform(0.0, 1.0),
    "sd_delta": HalfNormal(1.0),
    "correlation": LKJ(2.0),
    "eta0": Normal(0.0, 1.0),
    "eta1": Normal(0.0, 1.0),
}


def parse_prior(name: str, text: str | Prior) -> Prior:
    """Read a prior such as ``HalfNormal(1)``.

    Parameters
    ----------
    name : str
        The hyperparameter that it is for: a key of ``DEFAULT_PRIORS``, with the responses in brackets if it has any.
    text : str or Prior
        The prior; a Prior is checked and passed on.

    Returns
    -------
    Prior
        The prior.

    Raises
    ------
    PriorProblem
        If the hyperparameter or the prior is unknown, an argument is not a number, or the support does not fit.
    """
    kind = name.partition("[")[0]
    if kind not in DEFAULT_PRIORS:
        raise PriorProblem(f"Unknown hyperparameter {name!r} in priors; there are {', '.join(DEFAULT_PRIORS)}.")
    if not isinstance(text, Prior | str):
        raise PriorProblem(f"The prior of {name} must be a text such as 'HalfNormal(1)' or a Prior, got {text!r}.")
    prior = text if isinstance(text, Prior) else _parse(name, text)
    low, high = prior.support
    if kind in ("rho", "rho_time", "correlation"):
        # At exactly 1 a CAR is improper; a fixed rho must stay inside, a continuous prior never reaches its ends.
        inside = -1.0 < low <= high < 1.0 if prior.fixed else -1.0 <= low < high <= 1.0
        if not inside:
            raise PriorProblem(f"The prior of {name} must lie between -1 and 1, got {prior}.")
    elif kind == "range" and (low < 0.0 or (prior.fixed and low == 0.0)):
        raise PriorProblem(f"The prior of {name}, a distance, must be positive, got {prior}.")
    elif kind.startswith("sd_") and (low < 0.0 or (prior.fixed and low == 0.0)):
        raise PriorProblem(f"The prior of {name}, a standard deviation, must be positive, got {prior}.")
    return prior


def _parse(name: str, text: str) -> Prior:
    known = ", ".join(kind.__name__ for kind in _KNOWN.values())
    match = re.fullmatch(r"\s*([A-Za-z]+)\s*\(([^()]*)\)\s*", text)
    if match is None or match[1].lower() not in _KNOWN:
        raise PriorProblem(
            f"Cannot read the prior {text!r} of {name}. Write, for example, HalfNormal(1); known priors are {known}."
        )
    kind = _KNOWN[match[1].lower()]
    try:
        arguments = [float(part) for part in match[2].split(",") if part.strip()]
        prior = kind(*arguments)
    except (TypeError, ValueError) as error:
        names = ", ".join(f.name for f in fields(kind))  # type: ignore[arg-type]
        raise PriorProblem(f"The prior {text!r} of {name} needs numbers for: {names}.") from error
    _check_arguments(name, prior)
    return prior


def _check_arguments(name: str, prior: Prior) -> None:
    values = {f.name: getattr(prior, f.name) for f in fields(prior)}  # type: ignore[arg-type]
    if not all(math.isfinite(value) for value in values.values()):
        raise PriorProblem(f"The prior {prior} of {name} has an argument that is not a finite number.")
    if isinstance(prior, Uniform):
        if prior.lower >= prior.upper:
            raise PriorProblem(f"The prior {prior} of {name} needs lower < upper.")
    elif isinstance(prior, PC):
        if not (0.0 < prior.tail < 1.0 and prior.upper > 0.0):
            raise PriorProblem(f"The prior {prior} of {name} needs upper > 0 and a tail probability between 0 and 1.")
    elif isinstance(prior, Normal):
        if prior.sd <= 0.0:
            raise PriorProblem(f"The prior {prior} of {name} needs a positive sd.")
    elif not isinstance(prior, Fixed) and min(values.values()) <= 0.0:
        raise PriorProblem(f"The arguments of {prior}, the prior of {name}, must be positive.")
