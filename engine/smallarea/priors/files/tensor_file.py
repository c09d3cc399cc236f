"""The container of prior files: safetensors, written plainly and read with suspicion.

A safetensors file is the length of a header (8 bytes, little endian), a JSON header that maps each tensor to its type,
shape and place, and the tensors' bytes one after the other. Nothing in it can be executed, but a header can lie: about
lengths, places and shapes. Everything is therefore checked against the size of the file before any of it is believed,
and only then is memory taken, never more than the file is long.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import PriorProblem
from smallarea.priors.files.strict_json import damaged, strict_json

# A network of eight dense layers between 8,000 areas takes 2 GiB; four times that is not one of ours.
LARGEST_FILE = 8 * 2**30
# Holds the ids of a quarter of a million areas. A hostile header can take twenty times its size in memory.
LARGEST_HEADER = 8 * 2**20
MOST_TENSORS = 1000
_LONGEST_NAME = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_METADATA = "__metadata__"
_TYPES: Mapping[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
_NAMES_OF_TYPES = {np.dtype("float32"): "F32", np.dtype("int64"): "I64"}
_CHUNK = 2**24

Tensor = NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file.

    Attributes
    ----------
    name : str
        Its name.
    kind : {'F32', 'I64'}
        Its type.
    shape : tuple of int
        Its shape.
    start, stop : int
        Its bytes, counted from the end of the header.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Contents:
    """What the header of a file says, checked against its size.

    Attributes
    ----------
    metadata : mapping of str to str
        The texts of the file.
    places : tuple of Place
        The tensors in the order of their bytes.
    data_start : int
        Where the bytes of the first one begin.
    size : int
        Length of the file in bytes.
    """

    metadata: Mapping[str, str]
    places: tuple[Place, ...]
    data_start: int
    size: int


def read_contents(file: BinaryIO, name: str, size: int) -> Contents:
    """Read and check the header of a file.

    Parameters
    ----------
    file : binary file
        At its beginning.
    name : str
        For messages.
    size : int
        Its length in bytes.

    Returns
    -------
    Contents
        What it holds and where.

    Raises
    ------
    PriorProblem
        If it is no such file, too large, cut off, or its header contradicts itself or the size.
    """
    if size > LARGEST_FILE:
        raise damaged(name, f"it has {size} bytes, more than the {LARGEST_FILE} of the largest prior")
    if size < 10:
        raise damaged(name, f"it has only {size} bytes")
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER or length > size - 8 or length < 2:
        raise damaged(name, f"it claims a header of {length} bytes in a file of {size}")
    raw = file.read(length)
    if len(raw) != length:
        raise damaged(name, "it is cut off")
    header = strict_json(raw, name, "header")
    if not isinstance(header, dict):
        raise damaged(name, "its header is not a JSON object")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise damaged(name, "its metadata are not texts")
    if len(header) > MOST_TENSORS:
        raise damaged(name, f"it lists {len(header)} tensors")
    places = tuple(sorted((_place(key, entry, name) for key, entry in header.items()), key=lambda p: (p.start, p.stop)))
    _check_places(places, size - 8 - length, name)
    return Contents(metadata, places, 8 + length, size)


def read_tensors(file: BinaryIO, contents: Contents, name: str) -> tuple[dict[str, Tensor], str]:
    """Read the tensors that a checked header lists.

    Parameters
    ----------
    file : binary file
        The same file.
    contents : Contents
        Its header.
    name : str
        For messages.

    Returns
    -------
    tensors : dict
        Name to array, float32 or int64, read-only.
    digest : str
        SHA-256 of all their bytes.

    Raises
    ------
    PriorProblem
        If the file is shorter than it was.
    """
    file.seek(contents.data_start)
    digest = hashlib.sha256()
    tensors: dict[str, Tensor] = {}
    for place in contents.places:
        array = np.empty(place.shape, dtype=_TYPES[place.kind])
        view = array.reshape(-1).view(np.uint8).data
        if file.readinto(view) != place.stop - place.start:  # type: ignore[attr-defined]
            raise damaged(name, "it is cut off")
        digest.update(view)
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        native.flags.writeable = False
        tensors[place.name] = native
    return tensors, digest.hexdigest()


def laid_out(tensors: Mapping[str, NDArray[Any]]) -> tuple[Place, ...]:
    """Say where tensors will lie: whole numbers first, then by name.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        float32 or int64.

    Returns
    -------
    tuple of Place
        In the order of their bytes.

    Raises
    ------
    PriorProblem
        If one has another type or a name that a file cannot carry.
    """
    places: list[Place] = []
    start = 0
    for name, array in sorted(tensors.items(), key=lambda item: (item[1].dtype.kind != "i", item[0])):
        kind = _NAMES_OF_TYPES.get(array.dtype)
        if kind is None or not _well_named(name) or not array.size:
            raise PriorProblem(
                f"The tensor {name[:_LONGEST_NAME]!r} of type {array.dtype} and shape {array.shape} cannot be saved: "
                "tensors have plain names, float32 or int64 numbers, and are not empty."
            )
        places.append(Place(name, kind, array.shape, start, start + array.nbytes))
        start += array.nbytes
    return tuple(places)


def digest_of(tensors: Mapping[str, NDArray[Any]], places: Sequence[Place]) -> str:
    """Return the SHA-256 of the bytes that `write_tensors` will write for tensors."""
    digest = hashlib.sha256()
    for place in places:
        digest.update(_bytes_of(tensors[place.name], place))
    return digest.hexdigest()


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], places: Sequence[Place], metadata: Mapping[str, str]
) -> None:
    """Write a file; the same tensors and texts give the same bytes.

    Parameters
    ----------
    path : pathlib.Path
        Where to; not atomic in itself.
    tensors : mapping of str to ndarray
        float32 or int64.
    places : sequence of Place
        Their places, from `laid_out`.
    metadata : mapping of str to str
        Texts.

    Raises
    ------
    PriorProblem
        If the header or the whole would be larger than what can be read back.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    for place in places:
        offsets = [place.start, place.stop]
        header[place.name] = {"dtype": place.kind, "shape": list(place.shape), "data_offsets": offsets}
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    raw += b" " * (-len(raw) % 8)  # so that the numbers are aligned, as the format's own writer has them
    whole = 8 + len(raw) + sum(place.stop - place.start for place in places)
    if len(raw) > LARGEST_HEADER or whole > LARGEST_FILE:
        raise PriorProblem(
            f"The prior is too large to be saved: {len(raw)} bytes of ids and records (at most {LARGEST_HEADER}), "
            f"{whole} bytes in all (at most {LARGEST_FILE}). Use a graph-filter, or a smaller network."
        )
    with open(path, "wb") as file:
        file.write(len(raw).to_bytes(8, "little"))
        file.write(raw)
        for place in places:
            file.write(_bytes_of(tensors[place.name], place))


def check_regular(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises
    ------
    PriorProblem
        If there is no such file, or it is a folder, a pipe or a device.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise PriorProblem(
            f"Cannot read the prior file {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise PriorProblem(f"{path} is not a file. Give the path of a prior file.")
    return found.st_size


def _bytes_of(array: NDArray[Any], place: Place) -> memoryview:
    return np.asarray(array, dtype=_TYPES[place.kind], order="C").reshape(-1).view(np.uint8).data


def _well_named(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _place(key: str, entry: Any, name: str) -> Place:
    shown = key[:_LONGEST_NAME]
    if not _well_named(key):
        raise damaged(name, f"a tensor is called {shown!r}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise damaged(name, f"the entry of the tensor {shown!r} is malformed")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise damaged(name, f"the tensor {shown!r} is of type {str(kind)[:20]!r}, not F32 or I64")
    if not _whole_numbers(shape, 0, 4) or any(length < 1 for length in shape):
        raise damaged(name, f"the tensor {shown!r} has no proper shape")
    if not _whole_numbers(offsets, 2, 2):
        raise damaged(name, f"the tensor {shown!r} has no proper place")
    start, stop = offsets
    if start < 0 or stop - start != math.prod(shape) * _TYPES[kind].itemsize:
        raise damaged(name, f"shape and place of the tensor {shown!r} contradict each other")
    return Place(key, kind, tuple(shape), start, stop)


def _whole_numbers(value: Any, fewest: int, most: int) -> bool:
    """Say whether this is a list of so many whole numbers; true and false do not count as such."""
    return isinstance(value, list) and fewest <= len(value) <= most and all(type(one) is int for one in value)


def _check_places(places: Sequence[Place], available: int, name: str) -> None:
    """Refuse overlaps and gaps: the tensors fill the rest of the file, one after the other."""
    end = 0
    for place in places:
        if place.start != end:
            raise damaged(name, f"the tensor {place.name!r} overlaps another or leaves a gap")
        end = place.stop
    if end != available:
        raise damaged(name, f"its tensors take {end} bytes, but {available} follow the header")
