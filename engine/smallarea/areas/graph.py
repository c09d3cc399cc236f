"""The adjacency graph of areas: ids, edges, and where they came from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph

from smallarea.errors import GraphProblem, named
from smallarea.io.atomic import atomic_path
from smallarea.io.ids import repeated

FORMAT = "smallarea-graph"
FORMAT_VERSION = 1
# A graph of a million areas takes about 100 MB; what is larger is not one of ours.
LARGEST_FILE = 512 * 2**20


@dataclass(frozen=True, eq=False)
class AreaGraph:
    """Which areas are neighbours. Immutable; make one with `from_edges`, `from_adjacency` or `load`.

    Attributes
    ----------
    ids : tuple of str
        Area ids; the order is that of every array that belongs to the graph.
    edges : numpy.ndarray
        Integer array of shape (E, 2), read-only: positions i < j of neighbours, sorted, each pair once.
    provenance : dict
        How the graph was made: ``contiguity``, ``islands`` (the rule), ``links_added`` (what the rule added),
        ``source``, and whatever else the maker knew. JSON types only.
    """

    ids: tuple[str, ...]
    edges: np.ndarray
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the parts and take copies that nobody else can change."""
        ids = tuple(self.ids)
        edges = np.array(self.edges, dtype=np.int64).reshape(-1, 2)
        _check_ids(ids)
        _check_edges(ids, edges)
        edges.flags.writeable = False
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "provenance", _plain(self.provenance))

    @classmethod
    def from_edges(
        cls,
        ids: Sequence[str],
        edges: np.ndarray | Iterable[Sequence[int]],
        provenance: Mapping[str, Any] | None = None,
    ) -> AreaGraph:
        """Make a graph from pairs of positions.

        Parameters
        ----------
        ids : sequence of str
            Area ids, each once.
        edges : array or iterable of pairs of int
            Positions in ``ids``, shape (E, 2). Each pair may come in either direction, and repeatedly.
        provenance : mapping, optional
            How the graph was made.

        Raises
        ------
        GraphProblem
            If ids are repeated, or an edge joins an area to itself or to a position that does not exist.
        """
        pairs = np.asarray(edges if isinstance(edges, np.ndarray) else list(edges))
        if pairs.size == 0:
            pairs = np.empty((0, 2), dtype=np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
            raise GraphProblem(
                f"Edges are pairs of whole numbers; got an array of shape {pairs.shape} and type {pairs.dtype}."
            )
        pairs = np.unique(np.sort(pairs.astype(np.int64), axis=1), axis=0)
        return cls(tuple(ids), pairs, provenance or {})

    @classmethod
    def from_adjacency(
        cls, ids: Sequence[str], adjacency: Any, provenance: Mapping[str, Any] | None = None
    ) -> AreaGraph:
        """Make a graph from a square matrix whose non-zero entries are neighbours.

        Parameters
        ----------
        ids : sequence of str
            Area ids in the order of the rows.
        adjacency : array or sparse matrix
            Shape (n, n), symmetric, with a zero diagonal. Weights are not kept.
        provenance : mapping, optional
            How the graph was made.

        Raises
        ------
        GraphProblem
            If the matrix has another shape, is not symmetric, or has entries on the diagonal.
        """
        matrix = sp.csr_array(adjacency)
        if matrix.shape != (len(ids), len(ids)):
            raise GraphProblem(f"The adjacency matrix has shape {matrix.shape}, but there are {len(ids)} ids.")
        pattern = sp.csr_array(matrix != 0)
        one_way = sp.coo_array(pattern != pattern.T)
        if one_way.nnz:
            areas = dict.fromkeys(str(ids[row]) for row in one_way.coords[0])
            raise GraphProblem(f"The adjacency matrix is not symmetric at {named(areas)}.")
        rows, columns = pattern.nonzero()
        return cls.from_edges(ids, np.column_stack([rows, columns]), provenance)

    @cached_property
    def adjacency(self) -> sp.csr_array:
        """Symmetric 0/1 matrix of shape (n, n), float64, with an empty diagonal."""
        rows, columns = self.edges[:, 0], self.edges[:, 1]
        ones = np.ones(2 * len(rows))
        both = (np.concatenate([rows, columns]), np.concatenate([columns, rows]))
        matrix = sp.csr_array((ones, both), shape=(len(self.ids), len(self.ids)))
        matrix.sort_indices()
        return matrix

    @cached_property
    def degrees(self) -> np.ndarray:
        """Number of neighbours of each area, shape (n,), integer."""
        return _frozen(np.bincount(self.edges.ravel(), minlength=len(self.ids)))

    @cached_property
    def component_labels(self) -> np.ndarray:
        """Component of each area, shape (n,), numbered from 0 in the order of first occurrence."""
        if not self.ids:
            return _frozen(np.empty(0, dtype=np.int64))
        labels = csgraph.connected_components(self.adjacency, directed=False)[1]
        _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return _frozen(rank[inverse])

    @cached_property
    def n_components(self) -> int:
        """Number of connected components; an island is one of its own."""
        return int(self.component_labels.max()) + 1 if len(self.ids) else 0

    @cached_property
    def islands(self) -> tuple[str, ...]:
        """Ids of the areas without a neighbour."""
        return tuple(self.ids[i] for i in np.flatnonzero(self.degrees == 0))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids and pairs of neighbours, whatever their order: the same geography, the same text."""
        pairs = sorted(sorted((self.ids[i], self.ids[j])) for i, j in self.edges.tolist())
        text = json.dumps([sorted(self.ids), pairs], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Compare ids in the same order and same edges; the provenance does not matter."""
        if not isinstance(other, AreaGraph):
            return NotImplemented
        return self.ids == other.ids and np.array_equal(self.edges, other.edges)

    def __hash__(self) -> int:
        return hash((self.ids, self.edges.tobytes()))

    def __repr__(self) -> str:
        return (
            f"AreaGraph({len(self.ids)} areas, {len(self.edges)} edges, {self.n_components} components, "
            f"{len(self.islands)} islands)"
        )

    def reorder(self, ids: Sequence[str]) -> AreaGraph:
        """Return the same graph with the areas in another order.

        Raises
        ------
        GraphProblem
            If the ids are not those of the graph; the message names the difference.
        """
        wanted = tuple(ids)
        _check_ids(wanted)
        ours, theirs = set(self.ids), set(wanted)
        missing = [i for i in self.ids if i not in theirs]
        unknown = [i for i in wanted if i not in ours]
        if missing or unknown:
            parts = [
                f"{len(group)} {text}: {named(group)}"
                for group, text in ((missing, "only in the graph"), (unknown, "only among the areas"))
                if group
            ]
            raise GraphProblem(f"The graph is of other areas ({'; '.join(parts)}). Build it from this map.")
        position = {area: row for row, area in enumerate(wanted)}
        new = np.array([position[area] for area in self.ids], dtype=np.int64)
        return AreaGraph.from_edges(wanted, new[self.edges], self.provenance)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph as JSON; the file appears whole or not at all.

        Raises
        ------
        OutputProblem
            If the folder is missing or not writable.
        """
        content = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "provenance": self.provenance,
            "ids": list(self.ids),
            "edges": self.edges.tolist(),
        }
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AreaGraph:
        """Read a graph that `save` wrote.

        Raises
        ------
        GraphProblem
            If the file is missing, too large, not such a graph, or was changed since it was written.
        """
        name = Path(path).name
        content = _read_json(Path(path))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise GraphProblem(f"{name} is not a graph file of smallarea. Build the graph again.")
        if content.get("version") != FORMAT_VERSION:
            raise GraphProblem(
                f"{name} has format version {str(content.get('version'))[:20]!r}; this engine reads {FORMAT_VERSION}."
            )
        ids, edges, provenance = content.get("ids"), content.get("edges"), content.get("provenance", {})
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise GraphProblem(f"{name} is damaged: its ids are not a list of texts. Build the graph again.")
        if not isinstance(edges, list) or not all(map(_is_pair, edges)) or not isinstance(provenance, dict):
            raise GraphProblem(f"{name} is damaged: its edges are not pairs of positions. Build the graph again.")
        graph = cls.from_edges(ids, _edge_array(edges, name), provenance)
        if graph.fingerprint != content.get("fingerprint"):
            raise GraphProblem(f"{name} was changed after it was written: the fingerprint differs. Build it again.")
        return graph


def _check_ids(ids: tuple[str, ...]) -> None:
    if not all(isinstance(i, str) for i in ids):
        raise GraphProblem(f"Area ids are text; got {named([i for i in ids if not isinstance(i, str)])}.")
    twice = repeated(ids)
    if twice:
        raise GraphProblem(f"{len(twice)} area ids are repeated: {named(twice)}. Give each area its own id.")


def _check_edges(ids: tuple[str, ...], edges: np.ndarray) -> None:
    if not len(edges):
        return
    if edges.min() < 0 or edges.max() >= len(ids):
        raise GraphProblem(f"An edge names a position outside 0 to {len(ids) - 1}. Build the graph again.")
    loops = edges[edges[:, 0] == edges[:, 1], 0]
    if len(loops):
        raise GraphProblem(f"Areas cannot be their own neighbours: {named(ids[i] for i in loops)}.")
    tidy = np.unique(np.sort(edges, axis=1), axis=0)
    if not np.array_equal(tidy, edges):
        raise GraphProblem("Edges must be sorted pairs i < j, each once; use AreaGraph.from_edges.")


def _plain(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Copy through JSON: what cannot be saved is refused now and not after an hour of fitting."""
    try:
        return dict(json.loads(json.dumps(dict(provenance), allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise GraphProblem(f"The provenance of a graph holds JSON types only: {error}") from error


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _read_json(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise GraphProblem(f"{path.name} has {size} bytes, more than any graph. Build the graph again.")
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise GraphProblem(f"Cannot read the graph file {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, absurd numbers, absurd nesting
        raise GraphProblem(f"{path.name} is not a graph file of smallarea ({error}). Build it again.") from error


def _is_pair(pair: object) -> bool:
    """Two whole numbers; true and false do not count as such."""
    return isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and type(pair[1]) is int


def _edge_array(edges: list[list[int]], name: str) -> np.ndarray:
    try:
        return np.array(edges, dtype=np.int64).reshape(-1, 2)
    except OverflowError as error:
        raise GraphProblem(f"{name} is damaged: a position is too large. Build the graph again.") from error
