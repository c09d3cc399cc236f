"""Which spatial prior is imitated, and from which distribution its hyperparameters are drawn in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import PriorProblem

Vector = NDArray[np.float64]

FAMILY_NAMES: Mapping[str, str] = {
    "car": "proper CAR, precision D - rho W",
    "leroux": "Leroux, precision rho (D - W) + (1 - rho) I",
    "bym2": "BYM2, sqrt(rho) scaled intrinsic CAR + sqrt(1 - rho) iid",
    "icar": "intrinsic CAR, precision D - W, effects that sum to zero in each connected part",
    "gp": "Gaussian process averaged over polygons, Matern covariance with smoothness 3/2",
}
DISTRIBUTIONS: Mapping[str, str] = {
    "uniform": "uniform",
    "closeness": "uniform in -log(1 - rho), which puts as much weight between 0.9 and 0.99 as between 0.99 and 0.999",
}


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter of a family with its range and its distribution in training.

    Attributes
    ----------
    name : str
        ``rho``, or ``range`` of a Gaussian process (in units of the map's diameter).
    lower, upper : float
        Range, both ends included.
    distribution : {'uniform', 'closeness'}
        How training draws it.
    """

    name: str
    lower: float
    upper: float
    distribution: str

    def __post_init__(self) -> None:
        """Refuse ranges that mean nothing."""
        if self.distribution not in DISTRIBUTIONS:
            raise PriorProblem(
                f"Unknown distribution {self.distribution!r} of {self.name}; there are {', '.join(DISTRIBUTIONS)}."
            )
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise PriorProblem(f"The range of {self.name} needs lower < upper; got {self.lower} and {self.upper}.")
        if self.name == "rho" and not (self.lower >= 0.0 and self.upper < 1.0):
            raise PriorProblem(f"The range of rho lies in [0, 1); got {self.lower} to {self.upper}.")
        if self.name == "range" and (self.lower <= 0.0 or self.distribution != "uniform"):
            raise PriorProblem("The range of a Gaussian process is positive and its distribution uniform.")

    def draw(self, rng: np.random.Generator, size: int) -> Vector:
        """Draw from the training distribution, shape (size,)."""
        return self.at(rng.uniform(size=size))

    def at(self, probability: Vector) -> Vector:
        """Quantiles of the training distribution."""
        if self.distribution == "uniform":
            return self.lower + (self.upper - self.lower) * probability
        low, high = -math.log1p(-self.lower), -math.log1p(-self.upper)
        return -np.expm1(-(low + (high - low) * probability))


@dataclass(frozen=True)
class Family:
    """A spatial prior of unit scale, with its hyperparameters.

    Attributes
    ----------
    name : str
        A key of ``FAMILY_NAMES``.
    hyperparameters : tuple of Hyperparameter, length q
        One (rho or range), or none for the intrinsic CAR.
    """

    name: str
    hyperparameters: tuple[Hyperparameter, ...]

    def draw(self, rng: np.random.Generator, size: int) -> Vector:
        """Draw hyperparameters from their training distribution, shape (size, q)."""
        columns = [h.draw(rng, size) for h in self.hyperparameters]
        return np.column_stack(columns) if columns else np.empty((size, 0))

    def to_json(self) -> dict[str, Any]:
        """Return JSON types that :meth:`from_json` reads."""
        return {
            "name": self.name,
            "hyperparameters": [
                {"name": h.name, "lower": h.lower, "upper": h.upper, "distribution": h.distribution}
                for h in self.hyperparameters
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Family:
        """Read what :meth:`to_json` returned.

        Raises
        ------
        PriorProblem
            If it is not a family.
        """
        try:
            listed = [
                Hyperparameter(str(h["name"]), float(h["lower"]), float(h["upper"]), str(h["distribution"]))
                for h in content["hyperparameters"]
            ]
            found = cls(str(content["name"]), tuple(listed))
        except (KeyError, TypeError, ValueError) as error:
            raise PriorProblem(f"The family of a spatial prior is malformed ({error}).") from error
        expected = _hyperparameter_names(found.name)
        if tuple(h.name for h in listed) != expected:
            raise PriorProblem(f"The family {found.name!r} has the hyperparameters {expected}.")
        return found


def _hyperparameter_names(name: str) -> tuple[str, ...]:
    if name not in FAMILY_NAMES:
        raise PriorProblem(f"Unknown spatial prior {name!r}; there are {', '.join(FAMILY_NAMES)}.")
    return {"icar": (), "gp": ("range",)}.get(name, ("rho",))


def family(
    name: str, *, lower: float | None = None, upper: float | None = None, distribution: str | None = None
) -> Family:
    """Make a family with a range and a training distribution of its hyperparameter.

    Parameters
    ----------
    name : {'car', 'leroux', 'bym2', 'icar', 'gp'}
        The prior to imitate.
    lower, upper : float, optional
        Range of rho, by default 0 to 0.99; of the range of a Gaussian process, by default 0.05 to 0.5 of the map's
        diameter.
    distribution : {'uniform', 'closeness'}, optional
        How training draws it; uniform by default.

    Returns
    -------
    Family
        The family.

    Raises
    ------
    PriorProblem
        If the name is unknown or the range is not one.
    """
    names = _hyperparameter_names(name)
    if not names:
        if lower is not None or upper is not None or distribution is not None:
            raise PriorProblem("An intrinsic CAR has no hyperparameter; leave its range and distribution out.")
        return Family(name, ())
    low, high = (0.05, 0.5) if name == "gp" else (0.0, 0.99)
    one = Hyperparameter(
        names[0], low if lower is None else lower, high if upper is None else upper, distribution or "uniform"
    )
    return Family(name, (one,))
