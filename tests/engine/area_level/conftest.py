"""Small maps and data sets with everything that can be missing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay
from smallarea.area_level import StandardisedData
from smallarea.areas import AreaGraph

REFERENCE = Path(__file__).resolve().parents[3].parent / "shared" / "reference"


@pytest.fixture
def reference() -> Callable[[str], Path]:
    """Folder of a reference case; the test is skipped where the folders are not there."""

    def find(case: str) -> Path:
        folder = REFERENCE / case
        if not folder.is_dir():
            pytest.skip(f"the reference results of {case} are not on this machine")
        return folder

    return find


@pytest.fixture
def planar_graph() -> Callable[..., AreaGraph]:
    """Random planar graph in two components with islands, its areas in no order."""

    def make(n: int, islands: int = 0, seed: int = 3) -> AreaGraph:
        rng = np.random.default_rng(seed)
        linked = n - islands
        first = (2 * linked) // 3
        edges = []
        for start, count in ((0, first), (first, linked - first)):
            triangles = Delaunay(rng.uniform(size=(count, 2))).simplices + start
            edges += [triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]]
        order = rng.permutation(n)
        return AreaGraph.from_edges([f"a{i}" for i in range(n)], order[np.vstack(edges)])

    return make


@pytest.fixture
def scaled_data() -> Callable[..., StandardisedData]:
    """Standardised data with an intercept and two covariates; a fifth of the areas not sampled if asked."""

    def make(n: int, missing: bool = True, seed: int = 4) -> StandardisedData:
        rng = np.random.default_rng(seed)
        x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
        v = rng.uniform(0.02, 0.6, size=n)
        y = x @ [0.1, 0.5, -0.4] + rng.normal(size=n) * np.sqrt(0.3 + v)
        sampled = rng.uniform(size=n) > 0.2 if missing else np.ones(n, dtype=bool)
        y[~sampled] = v[~sampled] = np.nan
        zero, one = np.zeros(3), np.ones(3)
        return StandardisedData(y, v, x, sampled, 0.0, 1.0, zero, one, True)

    return make
