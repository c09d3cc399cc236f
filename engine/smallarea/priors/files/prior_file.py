"""One file for one prior: weights, geography, records and certificate.

The container is safetensors (see :mod:`smallarea.priors.files.tensor_file`): the weights as F32, the edges as I64, and
one text, ``smallarea_prior``, with everything else as JSON. The JSON carries two checksums, one of the numbers and one
of itself and the list of tensors. They find damage; that a file comes from whom it says they cannot tell, which is why
nothing in a file is ever executed and every part is checked as if it were wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea._version import __version__
from smallarea.areas.graph import AreaGraph
from smallarea.errors import GraphProblem, PriorProblem, named
from smallarea.io.atomic import atomic_path, check_suffix
from smallarea.priors.families import Family
from smallarea.priors.files.prior_header import PriorHeader
from smallarea.priors.files.strict_json import damaged, strict_json
from smallarea.priors.files.tensor_file import (
    Contents,
    Place,
    check_regular,
    digest_of,
    laid_out,
    read_contents,
    read_tensors,
    write_tensors,
)
from smallarea.priors.prior import ARCHITECTURES, SpatialPrior

PathLike = str | os.PathLike[str]

FORMAT = "smallarea-prior"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
LONGEST_ID = 1000
_KEY = "smallarea_prior"
_EDGES = "edges"
_WEIGHT = "weights."
# Field of the metadata to its type.
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "format": str,
    "format_version": int,
    "smallarea": str,
    "architecture": str,
    "family": dict,
    "ids": list,
    "fingerprint": str,
    "settings": dict,
    "training": dict,
    "certificate": (dict, type(None)),
    "numbers": str,
    "checksum": str,
}


def save_prior(path: PathLike, prior: SpatialPrior) -> None:
    """Write a prior; the file appears whole or not at all, and the same prior gives the same bytes.

    Parameters
    ----------
    path : path
        File to create or replace; its name ends in ``.safetensors``.
    prior : SpatialPrior
        The prior.

    Raises
    ------
    PriorProblem
        If it holds what a file cannot carry, for example weights that are not finite.
    OutputProblem
        If it cannot be written there.
    """
    check_suffix(path, (SUFFIX,), "a spatial prior")
    with atomic_path(path) as temporary:
        write_prior(temporary, prior)


def write_prior(path: Path, prior: SpatialPrior) -> None:
    """Write a prior to a path that is being prepared; `save_prior` without the atomic rename."""
    tensors = _tensors(prior)
    unusable = [name for name, w in prior.weights.items() if w.dtype != np.float32 or not np.all(np.isfinite(w))]
    if unusable:
        raise PriorProblem(f"Weights that are not finite float32 numbers: {named(unusable)}. Train the prior again.")
    places = laid_out(tensors)
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "smallarea": __version__,
        "architecture": prior.architecture,
        "family": prior.family.to_json(),
        "ids": list(prior.ids),
        "fingerprint": prior.fingerprint,
        "settings": dict(prior.settings),
        "training": dict(prior.training),
        "certificate": None if prior.certificate is None else dict(prior.certificate),
        "numbers": digest_of(tensors, places),
    }
    try:
        document["checksum"] = _checksum(document, places)
        text = _canonical(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise PriorProblem(f"Settings, records and certificates of a prior hold JSON types only: {error}") from error
    write_tensors(path, tensors, places, {_KEY: text})


def prior_identity(prior: SpatialPrior) -> str:
    """Return the identity that the file of a prior will have; see `PriorHeader`."""
    tensors = _tensors(prior)
    places = laid_out(tensors)
    parts = (prior.architecture, prior.family.to_json(), prior.settings, prior.fingerprint, digest_of(tensors, places))
    return _identity(parts, places)


def read_header(path: PathLike) -> PriorHeader:
    """Read what a prior file says of itself, without its weights; as fast for large files as for small ones.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    PriorHeader
        Checked for form and against its own checksum. Damage among the weights is only found by `load_prior`.

    Raises
    ------
    PriorProblem
        If the file cannot be read, is not a prior file, or is damaged.
    """
    file = Path(path)
    size = check_regular(file)
    try:
        with open(file, "rb") as opened:
            contents = read_contents(opened, file.name, size)
    except OSError as error:
        raise PriorProblem(f"Cannot read the prior file {file}: {error.strerror or error}.") from error
    return _header(file, contents, _document(file.name, contents))


def load_prior(path: PathLike) -> SpatialPrior:
    """Read a prior that `save_prior` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    SpatialPrior
        The prior; its arrays are read-only.

    Raises
    ------
    PriorProblem
        If the file cannot be read, is not a prior file, was damaged or cut off, or contradicts itself.
    """
    file = Path(path)
    size = check_regular(file)
    try:
        with open(file, "rb") as opened:
            contents = read_contents(opened, file.name, size)
            document = _document(file.name, contents)
            header = _header(file, contents, document)
            tensors, digest = read_tensors(opened, contents, file.name)
    except OSError as error:
        raise PriorProblem(f"Cannot read the prior file {file}: {error.strerror or error}.") from error
    if digest != document["numbers"]:
        raise damaged(file.name, "its numbers were changed after it was written")
    graph = _graph(header, tensors.pop(_EDGES), file.name)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise damaged(file.name, f"the weight {name.removeprefix(_WEIGHT)!r} holds values that are not numbers")
        weights[name.removeprefix(_WEIGHT)] = tensor.astype(np.float32, copy=False)
    return SpatialPrior(
        header.architecture,
        header.family,
        header.ids,
        graph.edges,
        header.settings,
        weights,
        header.training,
        header.certificate,
    )


def _tensors(prior: SpatialPrior) -> dict[str, NDArray[Any]]:
    edges = {_EDGES: np.asarray(prior.edges, dtype=np.int64)}
    return {**edges, **{f"{_WEIGHT}{name}": np.asarray(weight) for name, weight in prior.weights.items()}}


def _identity(parts: tuple[Any, ...], places: tuple[Place, ...]) -> str:
    """SHA-256 over architecture, family, settings, fingerprint and numbers, and the list of tensors."""
    text = _canonical({"parts": [dict(p) if isinstance(p, Mapping) else p for p in parts], "tensors": _listed(places)})
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _canonical(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    text.encode("utf-8")  # half characters fail here and not in the middle of a file
    return text


def _checksum(document: Mapping[str, Any], places: tuple[Place, ...]) -> str:
    """SHA-256 over all that a file says, except this and the numbers, which have one of their own."""
    said = {name: value for name, value in document.items() if name != "checksum"}
    said["tensors"] = _listed(places)
    return hashlib.sha256(_canonical(said).encode("utf-8")).hexdigest()


def _listed(places: tuple[Place, ...]) -> list[list[Any]]:
    return [[place.name, place.kind, list(place.shape)] for place in places]


def _document(name: str, contents: Contents) -> dict[str, Any]:
    """Read the metadata and check their form, version and checksum."""
    text = contents.metadata.get(_KEY)
    if text is None:
        raise damaged(name, "it is a safetensors file of another program")
    document = strict_json(text, name, "metadata")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise damaged(name, "its metadata are not those of a prior")
    version = document.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise PriorProblem(
            f"{name} has format version {str(version)[:20]!r}; this engine reads {FORMAT_VERSION}. Update "
            "smallarea, or train the prior again."
        )
    if set(document) != set(_FIELDS):
        wrong = sorted(field[:40] for field in set(document) ^ set(_FIELDS))
        raise damaged(name, f"its metadata lack or should not have {named(wrong)}")
    for field, kind in _FIELDS.items():
        if not isinstance(document[field], kind):
            raise damaged(name, f"{field!r} in its metadata is of another type")
    if document["checksum"] != _checksum(document, contents.places):
        raise damaged(name, "it was changed after it was written")
    return document


def _header(file: Path, contents: Contents, document: Mapping[str, Any]) -> PriorHeader:
    name = file.name
    if document["architecture"] not in ARCHITECTURES:
        raise PriorProblem(
            f"{name} has the architecture {document['architecture'][:40]!r}, which this engine does not know. Update "
            "smallarea, or train another prior."
        )
    try:
        family = Family.from_json(document["family"])
    except PriorProblem as error:
        raise damaged(name, str(error)[:200].rstrip(".")) from error
    if family.to_json() != document["family"]:
        raise damaged(name, "the family of the prior is malformed")
    ids = document["ids"]
    if not all(isinstance(area, str) and len(area) <= LONGEST_ID for area in ids):
        raise damaged(name, f"its area ids are not texts of at most {LONGEST_ID} characters")
    edges = next((place for place in contents.places if place.name == _EDGES), None)
    if edges is None or edges.kind != "I64" or len(edges.shape) != 2 or edges.shape[1] != 2:
        raise damaged(name, "it has no list of neighbours")
    weights = [place for place in contents.places if place is not edges]
    strange = [p.name for p in weights if p.kind != "F32" or not p.name.startswith(_WEIGHT) or p.name == _WEIGHT]
    if strange or not weights:
        raise damaged(name, f"it holds {named(strange)}, which are no weights" if strange else "it has no weights")
    parts = tuple(document[part] for part in ("architecture", "family", "settings", "fingerprint", "numbers"))
    return PriorHeader(
        file,
        contents.size,
        document["smallarea"],
        document["architecture"],
        family,
        tuple(ids),
        edges.shape[0],
        document["fingerprint"],
        document["settings"],
        document["training"],
        document["certificate"],
        {place.name.removeprefix(_WEIGHT): place.shape for place in weights},
        _identity(parts, contents.places),
    )


def _graph(header: PriorHeader, edges: NDArray[Any], name: str) -> AreaGraph:
    """Make the graph; its fingerprint must be the one that the file states."""
    try:
        graph = AreaGraph(header.ids, edges)
    except GraphProblem as error:
        raise damaged(name, str(error)[:200].rstrip(".")) from error
    if graph.fingerprint != header.fingerprint:
        raise damaged(name, "its areas and neighbours are not those of its fingerprint")
    return graph
