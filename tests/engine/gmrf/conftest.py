"""Maps of many shapes: lattices, random planar graphs, islands, several components, areas in no order."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import Delaunay

MAPS = ("path", "lattice", "planar", "two components", "islands", "one pair", "no edges")


def lattice(rows: int, columns: int) -> tuple[int, np.ndarray]:
    """Rook neighbours of a grid."""
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
    up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
    return rows * columns, np.vstack([across, up])


def planar(n: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """Delaunay triangulation of random points."""
    triangles = Delaunay(rng.uniform(size=(n, 2))).simplices
    return n, np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])


def beside(*parts: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
    """Put maps side by side, without a common edge."""
    total, edges = 0, [np.empty((0, 2), dtype=np.int64)]
    for n, own in parts:
        edges.append(own + total)
        total += n
    return total, np.vstack(edges)


def shuffled(n: int, edges: np.ndarray, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """Number the areas anew; pairs i < j, each once, in no order."""
    edges = np.unique(np.sort(rng.permutation(n)[edges], axis=1), axis=0)
    return n, rng.permutation(edges)


@pytest.fixture
def make_map() -> Callable[[str], tuple[int, np.ndarray]]:
    """Return (n, edges) of a map by its name."""

    def make(name: str) -> tuple[int, np.ndarray]:
        rng = np.random.default_rng(20)
        none = np.empty((0, 2), dtype=np.int64)
        maps = {
            "path": lambda: (12, np.column_stack([np.arange(11), np.arange(1, 12)])),
            "lattice": lambda: lattice(7, 9),
            "planar": lambda: planar(80, rng),
            "two components": lambda: beside(planar(40, rng), lattice(4, 5)),
            "islands": lambda: beside((1, none), planar(30, rng), (1, none), lattice(3, 3), (1, none)),
            "one pair": lambda: (2, np.array([[0, 1]])),
            "no edges": lambda: (4, none),
            "large": lambda: lattice(40, 40),
            "large in two parts": lambda: beside(lattice(20, 20), planar(500, rng)),
        }
        return shuffled(*maps[name](), rng)

    return make


@pytest.fixture(params=MAPS)
def area_map(request: pytest.FixtureRequest, make_map: Callable) -> tuple[int, np.ndarray]:
    """Each map in turn."""
    return make_map(request.param)


@pytest.fixture
def adjacency() -> Callable[[int, np.ndarray], np.ndarray]:
    """Return the dense 0/1 matrix W of a map."""

    def make(n: int, edges: np.ndarray) -> np.ndarray:
        w = np.zeros((n, n))
        w[edges[:, 0], edges[:, 1]] = w[edges[:, 1], edges[:, 0]] = 1.0
        return w

    return make
