"""What every method of imputation offers, and which there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, get_type_hints

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem
from smallarea.survey.imputation.encoded import EncodedTable

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]
# Draws some rows (all, if None), shape (rows, p), time and again, with the same parameters.
Sampler = Callable[[NDArray[np.int64] | None], Vector]


class Fitted(Protocol):
    """A model of the answers, fitted to a table."""

    @property
    def record(self) -> dict[str, Any]:
        """What was fitted, for reports: JSON types only."""

    def sampler(self, rng: np.random.Generator) -> Sampler:
        """Draw the parameters once, and return what draws rows given them.

        Skip patterns need further draws of some rows (`openings`).

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all randomness: the same state gives the same draws.

        Returns
        -------
        callable
            Takes an array of rows, or None for all. Returns working values; those to impute are drawn from their
            distribution given the observed ones. Structural cells may hold anything.
        """

    def draw(self, rng: np.random.Generator) -> Vector:
        """Complete the table once: the first draw of all rows by `sampler`, shape (n, p)."""

    def correlation(self) -> Vector:
        """Return the correlations of the working columns that the model implies, shape (p, p)."""


class Imputer(Protocol):
    """A method of imputation with its settings."""

    def fit(self, encoded: EncodedTable, *, seed: int, progress: Progress | None = None) -> Fitted:
        """Fit the model of the answers.

        Parameters
        ----------
        encoded : EncodedTable
            The answers. Methods without areas of their own take `EncodedTable.surroundings` as covariates.
        seed : int
            Of all randomness.
        progress : callable, optional
            Called with a percentage and a text.
        """


@dataclass(frozen=True)
class _Place:
    module: str
    name: str


# Modules are imported when a method is asked for: some need packages that are not always there.
METHODS: Mapping[str, _Place] = {
    "mvn": _Place("mvn", "MultivariateNormal"),
    "vae": _Place("vae", "Vae"),
    "vae-masked": _Place("vae", "MaskedVae"),
    "vae-mean": _Place("vae", "MeanVae"),
    "chained": _Place("chained", "ChainedEquations"),
    "hotdeck": _Place("hotdeck", "HotDeck"),
}


def make_imputer(method: str, settings: Mapping[str, Any] | None = None) -> Imputer:
    """Return a method with its settings.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    settings : mapping, optional
        Arguments of the method's class.

    Raises
    ------
    JobProblem
        If there is no such method or setting.
    """
    if method not in METHODS:
        raise JobProblem(f"No imputation method {method!r}. Choose one of {', '.join(METHODS)}.")
    place = METHODS[method]
    factory = getattr(import_module(f"smallarea.survey.imputation.{place.module}"), place.name)
    given = dict(settings or {})
    unknown = sorted(set(given) - set(factory.__dataclass_fields__))
    if unknown:
        raise JobProblem(
            f"Method {method!r} has no setting {', '.join(map(repr, unknown))}. "
            f"Its settings: {', '.join(factory.__dataclass_fields__) or 'none'}."
        )
    _check_numbers(factory, given)
    return factory(**given)


def _check_numbers(factory: type, given: Mapping[str, Any]) -> None:
    """Refuse settings that are not numbers where they must be."""
    hints = get_type_hints(factory)
    for name, value in given.items():
        wanted = hints[name]
        whole = wanted in (int, int | None)
        if (whole or wanted is float) and not (type(value) is int or (wanted is float and type(value) is float)):
            raise JobProblem(f"{name} is {'a whole number' if whole else 'a number'}; got {value!r}.")
