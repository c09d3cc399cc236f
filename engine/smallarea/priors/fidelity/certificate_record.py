"""The record that a fidelity certificate is: what was measured, what it means, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea._version import __version__
from smallarea.errors import PriorProblem
from smallarea.priors.families import Family
from smallarea.priors.fidelity.gate import GATE, failures_at
from smallarea.priors.fidelity.grid_point import GridPoint, rounded

if TYPE_CHECKING:
    import pandas as pd

Vector = NDArray[np.float64]

FORMAT = 1
# Certificates of larger maps are stored without their areas.
MOST_AREAS = 10_000


@dataclass(frozen=True)
class AreaFidelity:
    """The worst of each area over the grid.

    Attributes
    ----------
    ids : tuple of str
        Areas.
    variance_ratio : ndarray, shape (N,)
        Learned over exact variance at the value where it is furthest from 1; NaN for areas without neighbours.
    neighbour_error : ndarray, shape (N,)
        Mean over its neighbours of learned minus exact correlation, at the value where that is furthest from 0.
    """

    ids: tuple[str, ...]
    variance_ratio: Vector
    neighbour_error: Vector


@dataclass(frozen=True)
class Certificate:
    """A fidelity certificate.

    Attributes
    ----------
    points : tuple of GridPoint
        What was measured, value by value.
    parameter : str
        Name of the hyperparameter; empty if there is none, or it is integrated out.
    family : Family
        What was imitated.
    architecture : str
        By what.
    fingerprint : str
        Of the geography.
    nodes : int
        Areas with neighbours.
    seed, draws : int
        What :func:`certify` was called with.
    areas : AreaFidelity or None
        None if it was read from a file of a map of more than 10,000 areas.
    version : str
        Of smallarea.
    """

    points: tuple[GridPoint, ...]
    parameter: str
    family: Family
    architecture: str
    fingerprint: str
    nodes: int
    seed: int
    draws: int
    areas: AreaFidelity | None
    version: str = __version__

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for every bar that is missed."""
        found = [text for point in self.points for text in failures_at(point, self.place_of(point), len(self.points))]
        if all(point.posterior is None for point in self.points):
            found.append("The posterior check was not made. Certify the prior with it.")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether every bar is cleared."""
        return not self.failures

    def place_of(self, point: GridPoint) -> str:
        """Name the value of a point, for example ``rho = 0.9``; empty if it has none."""
        return f"{self.parameter} = {point.value:g}" if point.value is not None else ""

    def areas_table(self) -> pd.DataFrame:
        """Return a row an area: ``area``, ``variance_ratio``, ``neighbour_error``.

        Raises
        ------
        PriorProblem
            If the certificate came from a file without areas.
        """
        import pandas as pd

        if self.areas is None:
            raise PriorProblem("This certificate is stored without its areas. Verify the prior on the map again.")
        return pd.DataFrame(
            {
                "area": self.areas.ids,
                "variance_ratio": self.areas.variance_ratio,
                "neighbour_error": self.areas.neighbour_error,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON types that :meth:`from_json` reads; numbers have six digits."""
        areas = self.areas
        if areas is not None and len(areas.ids) > MOST_AREAS:
            areas = None
        return {
            "format": FORMAT,
            "version": self.version,
            "architecture": self.architecture,
            "family": self.family.to_json(),
            "parameter": self.parameter,
            "fingerprint": self.fingerprint,
            "nodes": self.nodes,
            "seed": self.seed,
            "draws": self.draws,
            "gate": GATE.to_json(),
            "passed": self.passed,
            "failures": list(self.failures),
            "points": [point.to_json() for point in self.points],
            "areas": None
            if areas is None
            else {
                "ids": list(areas.ids),
                "variance_ratio": rounded(areas.variance_ratio.tolist()),
                "neighbour_error": rounded(areas.neighbour_error.tolist()),
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Certificate:
        """Read what :meth:`to_json` returned.

        Raises
        ------
        PriorProblem
            If it is not a certificate, or of a later format.
        """
        try:
            if content["format"] != FORMAT:
                raise PriorProblem(
                    f"The fidelity certificate has format {str(content['format'])[:20]!r}; this engine reads {FORMAT}. "
                    "Verify the prior again."
                )
            if not content["points"]:
                raise PriorProblem("The fidelity certificate of a spatial prior is malformed: it has no points.")
            listed = content["areas"]
            areas = None if listed is None else _areas_from(listed)
            return cls(
                points=tuple(GridPoint.from_json(one) for one in content["points"]),
                parameter=str(content["parameter"]),
                family=Family.from_json(content["family"]),
                architecture=str(content["architecture"]),
                fingerprint=str(content["fingerprint"]),
                nodes=int(content["nodes"]),
                seed=int(content["seed"]),
                draws=int(content["draws"]),
                areas=areas,
                version=str(content["version"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PriorProblem(f"The fidelity certificate of a spatial prior is malformed ({error}).") from error


def _areas_from(content: Mapping[str, Any]) -> AreaFidelity:
    ids = tuple(str(i) for i in content["ids"])
    arrays = [np.array(content[name], dtype=float) for name in ("variance_ratio", "neighbour_error")]
    if any(array.shape != (len(ids),) for array in arrays):
        raise PriorProblem("The fidelity certificate of a spatial prior is malformed: its areas do not add up.")
    return AreaFidelity(ids, *arrays)
