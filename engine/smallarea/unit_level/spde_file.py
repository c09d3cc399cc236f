"""A linear baseline's posterior in one file: arrays and a JSON head, no code."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import OutputProblem, SmallareaError
from smallarea.gmrf.mesh import Mesh
from smallarea.gmrf.spde import MeshError
from smallarea.io.atomic import atomic_path, check_suffix
from smallarea.io.planar import as_crs
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.spde_linear import SpdePosterior, SpdeSettings

_FORMAT, _KIND = 1, "smallarea SPDE posterior"
_DRAWS = ("sigma_e", "range", "sigma_m", "coefficients", "nodes")
_CLUSTERS = ("coordinates", "covariates", "sizes", "means", "within")
Arrays = dict[str, NDArray[Any]]


def save_spde(posterior: SpdePosterior, path: str | os.PathLike[str]) -> None:
    """Write a posterior, whole or not at all.

    Parameters
    ----------
    posterior : SpdePosterior
        The draws.
    path : path
        A file ending in ``.npz``.

    Raises
    ------
    OutputProblem
        If the file cannot be written.
    """
    check_suffix(path, (".npz",), "a posterior")
    clusters, mesh = posterior.clusters, posterior.mesh
    head = {
        "kind": _KIND,
        "format": _FORMAT,
        "settings": asdict(posterior.settings),
        "field_prior": asdict(posterior.field_prior),
        "clusters": {
            "ids": clusters.ids,
            "names": clusters.names,
            "smallest": clusters.smallest,
            "largest": clusters.largest,
            "strata": clusters.strata,
        },
        "crs": None if mesh.crs is None else as_crs(mesh.crs).to_wkt(),
        "ess": posterior.ess,
        "error": asdict(posterior.error),
        "notes": posterior.notes,
    }
    arrays: Arrays = {name: getattr(posterior, name) for name in _DRAWS}
    arrays |= {f"cluster_{name}": getattr(clusters, name) for name in _CLUSTERS}
    arrays |= {f"mesh_{name}": getattr(mesh, name) for name in ("points", "triangles", "inner")}
    if clusters.weights is not None:
        arrays["cluster_weights"] = clusters.weights
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]


def load_spde(path: str | os.PathLike[str]) -> SpdePosterior:
    """Read a posterior back; it predicts what it predicted before.

    Parameters
    ----------
    path : path
        A file by :func:`save_spde`.

    Returns
    -------
    SpdePosterior
        The draws.

    Raises
    ------
    OutputProblem
        If there is no such file, or it is something else, damaged, or of another version.
    """
    damaged = f"{path} is no saved posterior of a linear model, or is damaged. Save it anew."
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            head = json.loads(str(stored["head"]))
            arrays: Arrays = {name: stored[name] for name in stored.files if name != "head"}
        kind, version = head["kind"], head["format"]
    except FileNotFoundError as error:
        raise OutputProblem(f"There is no file {path}. Name a saved posterior.") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise OutputProblem(damaged) from error
    if kind != _KIND:
        raise OutputProblem(f"{path} holds something else than the posterior of a linear model.")
    if version != _FORMAT:
        raise OutputProblem(f"{path} was saved by another version (format {version}). Fit anew.")
    try:
        return _assembled(head, arrays)
    except (KeyError, TypeError, ValueError, SmallareaError) as error:
        raise OutputProblem(damaged) from error


def _assembled(head: dict[str, Any], arrays: Arrays) -> SpdePosterior:
    told, settings = head["clusters"], dict(head["settings"])
    if settings["field_prior"] is not None:
        settings["field_prior"] = PcPrior(**settings["field_prior"])
    clusters = Clusters(
        ids=tuple(told["ids"]),
        names=tuple(told["names"]),
        smallest=told["smallest"],
        largest=told["largest"],
        weights=arrays.get("cluster_weights"),
        strata=None if told["strata"] is None else tuple(told["strata"]),
        candidates=None,
        **{name: arrays[f"cluster_{name}"] for name in _CLUSTERS},
    )
    mesh = Mesh(arrays["mesh_points"], arrays["mesh_triangles"], arrays["mesh_inner"], head["crs"])
    return SpdePosterior(
        clusters=clusters,
        settings=SpdeSettings(**settings),
        field_prior=PcPrior(**head["field_prior"]),
        mesh=mesh,
        ess=head["ess"],
        error=MeshError(**head["error"]),
        notes=tuple(head["notes"]),
        **{name: arrays[name] for name in _DRAWS},
    )
