"""Posterior draws on the scale of the input, and their way to ArviZ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable

if TYPE_CHECKING:
    import os

Vector = NDArray[np.float64]

# The draws are independent; they are laid out as this many chains so that ArviZ can compute what needs chains.
CHAINS = 4


@dataclass(frozen=True)
class PosteriorDraws:
    """Equally weighted draws from the joint posterior.

    Attributes
    ----------
    areas : tuple of str, length N
        Area ids.
    terms : tuple of str, length p
        Names of the coefficients.
    theta : ndarray, shape (S, N)
        The quantity of each area; NaN for an area without an estimate.
    beta : ndarray, shape (S, p)
        Coefficients on the scale of the input.
    hyperparameters : mapping
        Name to draws of shape (S,); standard deviations on the scale of the input.
    direct, variance : ndarray, shape (N,)
        The direct estimates and sampling variances that were used, NaN where none.
    attributes : mapping
        Texts and numbers to store beside the draws (model, seed, version).
    """

    areas: tuple[str, ...]
    terms: tuple[str, ...]
    theta: Vector
    beta: Vector
    hyperparameters: Mapping[str, Vector]
    direct: Vector
    variance: Vector
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.theta)

    def exceedance(self, threshold: float) -> Vector:
        """Probability that each area's quantity is above a threshold.

        Parameters
        ----------
        threshold : float
            In the units of the input.

        Returns
        -------
        ndarray, shape (N,)
            Share of draws above; NaN for an area without an estimate.
        """
        share = np.mean(self.theta > threshold, axis=0)
        return np.where(np.isnan(self.theta).all(axis=0), np.nan, share)

    def to_arviz(self) -> Any:
        """Return the draws as ArviZ data with groups ``posterior`` and ``observed_data``.

        Returns
        -------
        arviz.InferenceData or xarray.DataTree
            What the installed ArviZ uses. Draws are independent and laid out as four chains.

        Raises
        ------
        EngineUnavailable
            If ArviZ is not installed.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # ArviZ announces its next major version at import
                import arviz
            import xarray
        except ImportError as error:
            raise EngineUnavailable(
                "Posterior draws in ArviZ's layout need the package arviz. Install it with: "
                "pip install 'smallarea[posterior]'."
            ) from error
        each = len(self) // CHAINS

        def chains(draws: Vector) -> Vector:
            return draws[: CHAINS * each].reshape(CHAINS, each, *draws.shape[1:])

        sample = ("chain", "draw")
        places = {"chain": np.arange(CHAINS), "draw": np.arange(each)}
        variables: dict[str, Any] = {
            "theta": ((*sample, "area"), chains(self.theta)),
            "beta": ((*sample, "term"), chains(self.beta)),
        }
        variables |= {name: (sample, chains(draws)) for name, draws in self.hyperparameters.items()}
        attributes = {name: str(value) for name, value in self.attributes.items()}
        area = {"area": list(self.areas)}
        groups = {
            "posterior": xarray.Dataset(variables, {**places, **area, "term": list(self.terms)}, attributes),
            "observed_data": xarray.Dataset(
                {"direct": ("area", self.direct), "variance": ("area", self.variance)}, area, attributes
            ),
        }
        # Until version 1 ArviZ had a class of its own; since then its functions take xarray's tree.
        if hasattr(arviz, "InferenceData"):
            return arviz.InferenceData(posterior=groups["posterior"], observed_data=groups["observed_data"])
        return xarray.DataTree.from_dict(groups)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the draws as NetCDF in ArviZ's layout.

        Parameters
        ----------
        path : path
            The file to write.

        Raises
        ------
        EngineUnavailable
            If ArviZ or the NetCDF backend is not installed.
        """
        data = self.to_arviz()
        try:
            import h5netcdf  # noqa: F401 - asked for by name below
        except ImportError as error:
            raise EngineUnavailable(
                "Writing NetCDF needs the package h5netcdf. Install it with: pip install 'smallarea[posterior]'."
            ) from error
        data.to_netcdf(str(path), engine="h5netcdf")
