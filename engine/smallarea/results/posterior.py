"""Posterior draws on the scale of the input, and their way to ArviZ."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable, JobProblem, TableProblem, named

if TYPE_CHECKING:
    import xarray

Vector = NDArray[np.float64]
PathLike = str | os.PathLike[str]

_SAMPLE = ("chain", "draw")
_NAME, _SLASH = "hyperparameter", "\N{DIVISION SLASH}"
_POSTERIOR = {"theta": (*_SAMPLE, "area", "response"), "beta": (*_SAMPLE, "term", "response")}
_OBSERVED = {"direct": ("area", "response"), "variance": ("area", "response")}


@dataclass(frozen=True)
class PosteriorDraws:
    """Equally weighted draws from the joint posterior.

    Attributes
    ----------
    areas : tuple of str, length N
        Area ids.
    responses : tuple of str, length K
        Names of the direct estimates' fields.
    terms : tuple of str, length p
        Names of the coefficients.
    theta : ndarray, shape (S, N, K)
        The quantity of each area in the units of the input; NaN for an area without an estimate.
    beta : ndarray, shape (S, p, K)
        Coefficient of each term for each response, on the scale of the input.
    hyperparameters : mapping
        Name to draws of shape (S,); standard deviations on the scale of the input.
    direct, variance : ndarray, shape (N, K)
        The direct estimates and sampling variances that were used, NaN where none.
    attributes : mapping
        Texts and numbers to store beside the draws (model, seed, version).
    chains : int or None
        Chains that the draws come from, one after the other; None for draws that are independent.
    """

    areas: tuple[str, ...]
    responses: tuple[str, ...]
    terms: tuple[str, ...]
    theta: Vector
    beta: Vector
    hyperparameters: Mapping[str, Vector]
    direct: Vector
    variance: Vector
    attributes: Mapping[str, Any] = field(default_factory=dict)
    chains: int | None = None

    def __len__(self) -> int:
        return len(self.theta)

    def of(self, response: str | None) -> Vector:
        """Draws of one response, or of the only one.

        Parameters
        ----------
        response : str or None
            Its name; None if there is only one.

        Returns
        -------
        ndarray, shape (S, N)
            A view.

        Raises
        ------
        JobProblem
            If there is no such response, or several and none is named.
        """
        if response is None and len(self.responses) == 1:
            return self.theta[:, :, 0]
        if response not in self.responses:
            said = "Say which response is meant" if response is None else f"There is no response {response!r}"
            raise JobProblem(f"{said}: the draws hold {named(self.responses)}.")
        return self.theta[:, :, self.responses.index(response)]

    def exceedance(self, threshold: float, response: str | None = None) -> Vector:
        """Probability that each area's quantity is above a threshold.

        Parameters
        ----------
        threshold : float
            In the units of the input.
        response : str, optional
            One response; all of them if not given.

        Returns
        -------
        ndarray, shape (N, K), or (N,) for one named response
            Share of draws above; NaN for an area without an estimate.
        """
        theta = self.theta if response is None else self.of(response)
        share = np.mean(theta > threshold, axis=0)
        return np.where(np.isnan(theta).all(axis=0), np.nan, share)

    def to_arviz(self) -> Any:
        """Return the draws as ArviZ data with groups ``posterior`` and ``observed_data``.

        Returns
        -------
        arviz.InferenceData or xarray.DataTree
            What the installed ArviZ uses. Independent draws are laid out as four chains, or as three, two or one where
            their number asks for it, so that none is left out.

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
        count = self.chains or next(chains for chains in (4, 3, 2, 1) if len(self) % chains == 0)
        each = len(self) // count

        def chains(draws: Vector) -> Vector:
            return draws.reshape(count, each, *draws.shape[1:])

        variables: dict[str, Any] = {name: (dims, chains(getattr(self, name))) for name, dims in _POSTERIOR.items()}
        for name, draws in self.hyperparameters.items():
            # A slash would be a group in the file, and responses are called what fields are called.
            variables[name.replace("/", _SLASH)] = (_SAMPLE, chains(draws), {_NAME: name})
        observed = {name: (dims, getattr(self, name)) for name, dims in _OBSERVED.items()}
        attributes = {name: _storable(value) for name, value in self.attributes.items()}
        places = {"area": list(self.areas), "response": list(self.responses)}
        sample = {"chain": np.arange(count), "draw": np.arange(each), "term": list(self.terms)}
        groups = {
            "posterior": xarray.Dataset(variables, {**sample, **places}, attributes),
            "observed_data": xarray.Dataset(observed, places, attributes),
        }
        # Until version 1 ArviZ had a class of its own; since then its functions take xarray's tree.
        if hasattr(arviz, "InferenceData"):
            return arviz.InferenceData(posterior=groups["posterior"], observed_data=groups["observed_data"])
        return xarray.DataTree.from_dict(groups)

    def save(self, path: PathLike) -> None:
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

    @classmethod
    def load(cls, path: PathLike) -> PosteriorDraws:
        """Read draws that `save` has written.

        Parameters
        ----------
        path : path
            The NetCDF file.

        Returns
        -------
        PosteriorDraws
            As they were saved.

        Raises
        ------
        TableProblem
            If there is no such file, it is damaged, or it does not hold what `save` writes.
        EngineUnavailable
            If xarray or the NetCDF backend is not installed.
        """
        try:
            import h5netcdf  # noqa: F401 - asked for by name below
            import xarray
        except ImportError as error:
            raise EngineUnavailable(
                "Reading NetCDF needs the packages xarray and h5netcdf. Install them with: "
                "pip install 'smallarea[posterior]'."
            ) from error
        if not os.path.isfile(path):
            raise TableProblem(f"There is no file {os.fspath(path)}. Give the posterior draws that a fit has written.")
        groups = {}
        for name in ("posterior", "observed_data"):
            try:
                groups[name] = xarray.load_dataset(path, group=name, engine="h5netcdf")
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise TableProblem(
                    f"{os.fspath(path)} cannot be read as posterior draws ({name}: {error}). It is damaged, or another "
                    "kind of file; write it again with the output 'posterior' of a fit."
                ) from error
        _check_layout(groups, os.fspath(path))
        return cls._of_groups(groups["posterior"], groups["observed_data"])

    @classmethod
    def _of_groups(cls, posterior: xarray.Dataset, observed: xarray.Dataset) -> PosteriorDraws:
        def draws(name: str) -> Vector:
            values = np.asarray(posterior[name].to_numpy(), dtype=np.float64)
            return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])

        def names(dimension: str) -> tuple[str, ...]:
            return tuple(str(value) for value in posterior[dimension].to_numpy().tolist())

        others = [str(name) for name in posterior.data_vars if name not in _POSTERIOR]
        attributes = {
            str(name): value.item() if isinstance(value, np.generic) else value
            for name, value in posterior.attrs.items()
        }
        return cls(
            names("area"),
            names("response"),
            names("term"),
            draws("theta"),
            draws("beta"),
            {str(posterior[name].attrs.get(_NAME, name)): draws(name) for name in others},
            np.asarray(observed["direct"].to_numpy(), dtype=np.float64),
            np.asarray(observed["variance"].to_numpy(), dtype=np.float64),
            attributes,
        )


def _storable(value: Any) -> str | int | float:
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else str(value)


def _check_layout(groups: Mapping[str, xarray.Dataset], path: str) -> None:
    """Refuse a file that another program, or another version, has written differently."""
    for group, wanted in (("posterior", _POSTERIOR), ("observed_data", _OBSERVED)):
        data = groups[group]
        others = {str(n): _SAMPLE for n in data.data_vars if n not in wanted} if group == "posterior" else {}
        for name, dims in {**wanted, **others}.items():
            if name not in data.data_vars:
                raise TableProblem(
                    f"{path} holds no posterior draws of smallarea: {group} has no variable {name!r}. Write it again "
                    "with the output 'posterior' of a fit."
                )
            if data[name].dims != dims:
                raise TableProblem(
                    f"{path} holds no posterior draws of smallarea: {name!r} has the dimensions "
                    f"{named(map(str, data[name].dims))} and not {named(dims)}. Write it again with the output "
                    "'posterior' of a fit."
                )
    lacking = [name for name in ("area", "response", "term") if name not in groups["posterior"].coords]
    if lacking:
        raise TableProblem(
            f"{path} does not name its dimensions {named(lacking)}. Write it again with the output 'posterior' of a "
            "fit."
        )
    for name in ("area", "response"):
        if groups["posterior"].sizes[name] != groups["observed_data"].sizes[name]:
            raise TableProblem(
                f"{path} has {groups['posterior'].sizes[name]} values of {name} among the draws and "
                f"{groups['observed_data'].sizes[name]} beside them. It is damaged; write it again."
            )
