"""Draws with known moments."""

import numpy as np
import pytest


@pytest.fixture
def theta() -> np.ndarray:
    """600 draws of twelve areas that have something in common; areas 3 and 7 have no estimate."""
    rng = np.random.default_rng(11)
    centre, spread = np.linspace(2.0, 8.0, 12), rng.uniform(0.3, 1.5, 12)
    draws = centre + spread * (0.6 * rng.normal(size=(600, 1)) + 0.8 * rng.normal(size=(600, 12)))
    draws[:, [3, 7]] = np.nan
    return draws


@pytest.fixture(params=[2**23, 1300])
def block_size(request, monkeypatch) -> int:
    """All areas at once, and two areas at a time."""
    import smallarea.results.differences
    import smallarea.results.draws
    import smallarea.results.ensemble

    for module in (smallarea.results.draws, smallarea.results.differences, smallarea.results.ensemble):
        monkeypatch.setattr(module, "BLOCK", request.param)
    return request.param
