"""How draws are compared with other draws: by Monte Carlo error from effective sample sizes."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from smallarea.convergence import convergence

pytest.importorskip("numpyro")


@pytest.fixture
def agree() -> Callable[..., None]:
    """Compare means and SDs of draws (S, m) in C chains with independent draws (R, m), in Monte Carlo errors."""

    def check(draws: np.ndarray, chains: int, other: np.ndarray, names: Sequence[object], limit: float = 4.5) -> None:
        def moments(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
            split = values.reshape(count, -1, values.shape[1])
            ess = convergence(split)[1]
            return values.mean(axis=0), values.var(axis=0) / ess

        for what, of in (("mean", lambda v: v), ("square", lambda v: (v - other.mean(axis=0)) ** 2)):
            (a, a_error), (b, b_error) = moments(of(draws), chains), moments(of(other), 1)
            gap = np.abs(a - b) / np.sqrt(a_error + b_error)
            worst = int(np.argmax(gap))
            assert gap[worst] < limit, f"{what} of {names[worst]}: {a[worst]:.4f} against {b[worst]:.4f}"

    return check
