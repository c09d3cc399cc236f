"""A BARTSIMP posterior in one file: arrays and a JSON head, no code."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import OutputProblem
from smallarea.gmrf.mesh import Mesh
from smallarea.io import atomic_path
from smallarea.trees import Cuts, ForestTrace, TreePrior
from smallarea.unit_level.candidates import Candidates
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.posterior import BartsimpPosterior, Diagnostics
from smallarea.unit_level.settings import BartsimpSettings, Scales

_FORMAT = 1
_DRAWS = ("ranges", "sigma_e", "sigma_m", "range_at", "field")
_MESH_ARRAYS = ("points", "triangles", "inner")
_CANDIDATE_ARRAYS = ("starts", "coordinates", "covariates", "weights")
_CLUSTER_ARRAYS = ("coordinates", "covariates", "sizes", "means", "within")
Arrays = dict[str, NDArray[np.generic]]
Taken = TypeVar("Taken")


def save_posterior(
    posterior: BartsimpPosterior, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None
) -> None:
    """Write a posterior, whole or not at all.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.
    path : path
        The file, by custom ending in ``.npz``.
    about : mapping, optional
        What JSON can hold of where the data came from, for :func:`load_about`.

    Raises
    ------
    OutputProblem
        If the file cannot be written.
    """
    c, d = posterior.clusters, posterior.diagnostics
    head = {
        "format": _FORMAT,
        "about": dict(about or {}),
        "settings": asdict(posterior.settings),
        "scales": asdict(posterior.scales),
        "clusters": {"ids": c.ids, "names": c.names, "ends": [c.smallest, c.largest], "strata": c.strata},
        "diagnostics": {
            "r_hat": d.r_hat, "ess": d.ess, "acceptance": d.acceptance, "range_resolved": d.range_resolved,
            "at_bounds": d.at_bounds, "rank_error": d.rank_error,
        },
    }  # fmt: skip
    arrays: Arrays = {name: getattr(posterior, name) for name in _DRAWS}
    arrays |= {f"cluster_{name}": getattr(c, name) for name in _CLUSTER_ARRAYS}
    arrays |= {"f_r_hat": d.f_r_hat, "f_ess": d.f_ess, **posterior.forest.arrays()}
    arrays |= {"cut_counts": posterior.cuts.counts, "cut_points": np.concatenate([*posterior.cuts.points, np.empty(0)])}
    if c.weights is not None:
        arrays["cluster_weights"] = c.weights
    if c.candidates is not None and posterior.positions is not None:
        arrays |= {f"candidate_{name}": getattr(c.candidates, name) for name in _CANDIDATE_ARRAYS}
        arrays["positions"] = posterior.positions
    if posterior.mesh is not None:
        arrays |= {f"mesh_{name}": getattr(posterior.mesh, name) for name in _MESH_ARRAYS}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]


def load_posterior(path: str | os.PathLike[str]) -> BartsimpPosterior:
    """Read a posterior back; it predicts what it predicted before.

    Parameters
    ----------
    path : path
        A file by :func:`save_posterior`.

    Returns
    -------
    BartsimpPosterior

    Raises
    ------
    OutputProblem
        If there is no such file, or it is something else, damaged, or of another version.
    """
    return _read(Path(path), _assembled)


def load_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save_posterior` was told about the data; empty if nothing.

    Parameters
    ----------
    path : path
        A file by :func:`save_posterior`.

    Returns
    -------
    dict

    Raises
    ------
    OutputProblem
        As in :func:`load_posterior`.
    """
    return _read(Path(path), lambda head, _: dict(head.get("about", {})))


def _read(source: Path, take: Callable[[dict[str, Any], Arrays], Taken]) -> Taken:
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            head = json.loads(str(stored["head"]))
            arrays: Arrays = {name: stored[name] for name in stored.files if name != "head"}
        if head.get("format") != _FORMAT:
            raise OutputProblem(f"{source} was saved by another version (format {head.get('format')}). Fit anew.")
        return take(head, arrays)
    except FileNotFoundError as error:
        raise OutputProblem(f"There is no file {source}. Name a saved posterior.") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise OutputProblem(f"{source} is not a saved posterior of BARTSIMP, or is damaged. Save it anew.") from error


def _assembled(head: dict[str, Any], arrays: Arrays) -> BartsimpPosterior:
    settings = dict(head["settings"])
    settings["trees"] = TreePrior(**{**settings["trees"], "moves": tuple(settings["trees"]["moves"])})
    if settings["field_prior"] is not None:
        settings["field_prior"] = PcPrior(**settings["field_prior"])
    if settings["range_bounds"] is not None:
        settings["range_bounds"] = tuple(settings["range_bounds"])
    scales = {**head["scales"], "field_prior": PcPrior(**head["scales"]["field_prior"])}
    told, looked = head["clusters"], head["diagnostics"]
    clusters = Clusters(
        ids=tuple(told["ids"]),
        names=tuple(told["names"]),
        smallest=told["ends"][0],
        largest=told["ends"][1],
        weights=_floats(arrays, "cluster_weights") if "cluster_weights" in arrays else None,
        strata=None if told["strata"] is None else tuple(told["strata"]),
        candidates=_candidates(arrays),
        **{name: _floats(arrays, f"cluster_{name}") for name in _CLUSTER_ARRAYS},
    )
    ends = np.cumsum(arrays["cut_counts"])[:-1]
    points = np.split(_floats(arrays, "cut_points"), ends) if len(clusters.names) else []
    return BartsimpPosterior(
        clusters=clusters,
        settings=BartsimpSettings(**settings),
        scales=Scales(**scales),
        cuts=Cuts(tuple(points), clusters.names),
        ranges=_floats(arrays, "ranges"),
        forest=ForestTrace.from_arrays(arrays),
        sigma_e=_floats(arrays, "sigma_e"),
        sigma_m=_floats(arrays, "sigma_m"),
        range_at=np.asarray(arrays["range_at"], np.int64),
        field=_floats(arrays, "field"),
        mesh=_mesh(arrays),
        positions=np.asarray(arrays["positions"], np.int16) if "positions" in arrays else None,
        diagnostics=Diagnostics(f_r_hat=_floats(arrays, "f_r_hat"), f_ess=_floats(arrays, "f_ess"), **looked),
    )


def _candidates(arrays: Arrays) -> Candidates | None:
    if "candidate_starts" not in arrays:
        return None
    own = {name: _floats(arrays, f"candidate_{name}") for name in _CANDIDATE_ARRAYS[1:]}
    return Candidates(np.asarray(arrays["candidate_starts"], np.int64), **own)


def _mesh(arrays: Arrays) -> Mesh | None:
    if "mesh_points" not in arrays:
        return None
    return Mesh(
        _floats(arrays, "mesh_points"), np.asarray(arrays["mesh_triangles"], np.int64),
        np.asarray(arrays["mesh_inner"], np.bool_),
    )  # fmt: skip


def _floats(arrays: Arrays, name: str) -> NDArray[np.float64]:
    return np.asarray(arrays[name], np.float64)
