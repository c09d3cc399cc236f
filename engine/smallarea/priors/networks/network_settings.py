"""Settings of the dense architectures and the shapes of their weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from smallarea.errors import PriorProblem

CURES: Mapping[str, str] = {
    "none": "decode standard normal noise, as the published code does",
    "aggregate": "decode from the Gaussian fitted to the aggregate posterior of the latent variables",
    "close": "the same, then the linear map of least displacement that makes mean and covariance exact",
}
STARTS: Mapping[str, str] = {
    "roots": "matrices fitted to exact roots by least squares, then trained",
    "random": "random matrices; training alone has to find them",
}
LARGEST = 100_000_000


class _Settings:
    """Conversion to and from JSON, and the checks that both architectures share."""

    batch: int
    steps: int
    rate: float
    last_rate: float
    patience: int

    def to_json(self) -> dict[str, Any]:
        """Return JSON types that :meth:`from_json` reads."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` returned.

        Raises
        ------
        PriorProblem
            If a setting is unknown or has a value that means nothing.
        """
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(map(str, content)) - known)
        if unknown:
            raise PriorProblem(f"Unknown settings {', '.join(unknown)}; there are {', '.join(sorted(known))}.")
        return cls(**content)

    def _check_training(self) -> None:
        for name in ("batch", "steps", "patience"):
            _whole(name, getattr(self, name))
        _positive("rate", self.rate)
        _positive("last_rate", self.last_rate)
        if self.last_rate > self.rate:
            raise PriorProblem(f"last_rate is at most rate; got {self.last_rate} and {self.rate}.")


@dataclass(frozen=True)
class BetaVaeSettings(_Settings):
    """A variational autoencoder of the field, hyperparameters integrated out.

    Attributes
    ----------
    latent : int or None
        Number of latent variables J; the number of the field's nodes if None.
    width : int or None
        Width of the hidden layers; the number of the field's nodes if None.
    beta : float or None
        Weight of the divergence in the loss; 1 / J if None.
    cure : {'close', 'aggregate', 'none'}
        What is done about latent variables that are not standard normal, see ``CURES``.
    batch : int
        Draws a step.
    steps : int
        Steps at most.
    rate, last_rate : float
        Learning rate of Adamax at the first and, decaying exponentially, at the last step.
    patience : int
        Checks on the validation set without an improvement before training stops.
    """

    latent: int | None = None
    width: int | None = None
    beta: float | None = None
    cure: str = "close"
    batch: int = 256
    steps: int = 6_000
    rate: float = 1e-2
    last_rate: float = 1e-5
    patience: int = 40

    architecture: ClassVar[str] = "beta-vae"

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        self._check_training()
        for name in ("latent", "width"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name))
        if self.beta is not None:
            _positive("beta", self.beta)
        if not isinstance(self.cure, str) or self.cure not in CURES:
            raise PriorProblem(f"Unknown cure {self.cure!r}; there are {', '.join(CURES)}.")

    def sizes(self, n: int) -> tuple[int, int]:
        """Latent size J and width for n nodes."""
        return self.latent or n, self.width or n

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights that decode; matrices are (in, out)."""
        latent, width = self.sizes(n)
        return {
            "hidden_weight": (latent, width),
            "hidden_bias": (width,),
            "output_weight": (width, n),
            "output_bias": (n,),
        }


@dataclass(frozen=True)
class DecoderSettings(_Settings):
    """A supervised decoder, conditional on the hyperparameters and linear in the noise.

    Attributes
    ----------
    terms : int
        Number of matrices.
    degree : int
        Degree of the polynomials that mix them.
    start : {'roots', 'random'}
        Where training starts, see ``STARTS``.
    batch : int
        Pairs a step.
    steps : int
        Steps at most.
    rate, last_rate : float
        Learning rate of Adam at the first and, decaying exponentially, at the last step.
    patience : int
        Checks on the validation set without an improvement before training stops.
    """

    terms: int = 6
    degree: int = 15
    start: str = "roots"
    batch: int = 256
    steps: int = 3_000
    rate: float = 1e-4
    last_rate: float = 1e-7
    patience: int = 10

    architecture: ClassVar[str] = "decoder"

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        self._check_training()
        _whole("terms", self.terms)
        _whole("degree", self.degree)
        if self.terms > self.degree + 1:
            raise PriorProblem(
                f"Polynomials of degree {self.degree} tell at most {self.degree + 1} matrices apart; got terms = "
                f"{self.terms}."
            )
        if not isinstance(self.start, str) or self.start not in STARTS:
            raise PriorProblem(f"Unknown start {self.start!r}; there are {', '.join(STARTS)}.")

    def polynomial(self, conditional: bool) -> tuple[int, int]:
        """Return the numbers of matrices and of polynomial coefficients; one each without hyperparameters."""
        return (self.terms, self.degree + 1) if conditional else (1, 1)

    def shapes(self, n: int, latent: int, conditional: bool) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights for n nodes and noise of a given length."""
        terms, coefficients = self.polynomial(conditional)
        return {"matrices": (terms, latent, n), "mixing": (coefficients, terms), "scale": (coefficients,)}


NetworkSettings = BetaVaeSettings | DecoderSettings


def network_settings(architecture: str, content: Mapping[str, Any]) -> NetworkSettings:
    """Read the settings of a dense architecture.

    Parameters
    ----------
    architecture : {'beta-vae', 'decoder'}
        The architecture.
    content : mapping
        What ``to_json`` returned, or the settings that differ from their defaults.

    Returns
    -------
    BetaVaeSettings or DecoderSettings
        The settings.

    Raises
    ------
    PriorProblem
        If the architecture is another one, or a setting is unknown or means nothing.
    """
    kinds: dict[str, type[BetaVaeSettings] | type[DecoderSettings]] = {
        kind.architecture: kind for kind in (BetaVaeSettings, DecoderSettings)
    }
    if architecture not in kinds:
        raise PriorProblem(f"{architecture!r} is no dense architecture; there are {', '.join(kinds)}.")
    return kinds[architecture].from_json(content)


def _whole(name: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= LARGEST:
        raise PriorProblem(f"{name} is a whole number of at least 1; got {value!r}.")


def _positive(name: str, value: object) -> None:
    if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:  # type: ignore[operator, arg-type]
        raise PriorProblem(f"{name} is a positive number; got {value!r}.")
