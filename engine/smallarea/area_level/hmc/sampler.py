"""Vectorised chains of NumPyro's no-U-turn sampler, a few steps at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.drawn import Progress
from smallarea.area_level.hmc.model import HmcModel
from smallarea.errors import EngineUnavailable

Vector = NDArray[np.float64]

# Steps of all chains between two words to the caller: often enough to cancel, seldom enough to cost nothing.
SECONDS_BETWEEN_WORDS = 2.0
LARGEST_CHUNK = 50
TREE_DEPTH = 10
# The first steps of the warm-up are far too short whatever one does; without a limit each would cost 1,023 gradients.
WARMUP_DEPTH = 6
# Of coordinates of scale 1 in thousands of dimensions.
FIRST_STEP = 0.1
ACCEPTANCE = 0.8


@dataclass(frozen=True)
class Chains:
    """Draws of C chains, S each.

    Attributes
    ----------
    values, beta : ndarray, shapes (C, S, q), (C, S, P)
        Hyperparameters and coefficients.
    linear : ndarray, shape (C, S, N, K)
        Linear predictor (normal: theta).
    synthetic : ndarray, shape (N, K)
        Mean of the inverse link of X beta.
    leapfrogs : ndarray of int, shape (C, S)
        Gradients of each step.
    diverging : ndarray of bool, shape (C, S)
        Whether the integrator lost its way.
    seconds : mapping
        Stage to seconds.
    """

    values: Vector
    beta: Vector
    linear: Vector
    synthetic: Vector
    leapfrogs: NDArray[np.int64]
    diverging: NDArray[np.bool_]
    seconds: dict[str, float]


def need_numpyro() -> Any:
    """Import NumPyro.

    Returns
    -------
    module
        ``numpyro``.

    Raises
    ------
    EngineUnavailable
        If it is not installed.
    """
    try:
        import numpyro
    except ImportError as error:
        raise EngineUnavailable(
            "Hamiltonian Monte Carlo runs on NumPyro, which is not installed. Install it: "
            'pip install "smallarea[learned]"'
        ) from error
    return numpyro


def run_chains(
    model: HmcModel,
    start: dict[str, Vector],
    *,
    covariance: Vector | None,
    warmup: int,
    draws: int,
    seed: int,
    progress: Progress | None,
) -> Chains:
    """Run the chains; JAX's x64 mode must be on.

    Parameters
    ----------
    model : HmcModel
        The model.
    start : dict
        Unknowns by name, with a leading axis of chains.
    covariance : ndarray, shape (d, d), or None
        Rough covariance of the hyperparameters' coordinates, for the first mass matrix.
    warmup, draws : int
        Steps of each chain.
    seed : int
        Seed.
    progress : callable, optional
        ``progress(percent, text)``; may raise to cancel.

    Returns
    -------
    Chains
        The draws.
    """
    import jax
    from jax import lax
    from numpyro.infer import NUTS

    chains = len(start["beta"])
    block = tuple(sorted({"beta", "hyper"} & set(start)))
    kernel = NUTS(
        potential_fn=lambda unknowns: -model.log_density(unknowns),
        target_accept_prob=ACCEPTANCE,
        max_tree_depth=(WARMUP_DEPTH, TREE_DEPTH),
        step_size=FIRST_STEP,
        dense_mass=[block],
        inverse_mass_matrix=_first_mass(start, block, covariance),
    )
    clock = time.perf_counter()
    keys = jax.random.split(jax.random.PRNGKey(seed), chains)
    # Compiled as a whole: operation by operation it takes three times as long.
    state = jax.jit(lambda keys, start: kernel.init(keys, warmup, start))(keys, start)

    @jax.jit
    def warm(state: Any, steps: Any) -> Any:
        return lax.fori_loop(0, steps, lambda _, s: kernel.sample(s, (), {}), state)

    @jax.jit
    def keep(state: Any, keys: Any) -> Any:
        def step(state: Any, key: Any) -> Any:
            state = kernel.sample(state, (), {})
            draw = jax.vmap(model.draw)(state.z, jax.random.split(key, chains))
            return state, (draw.values, draw.beta, draw.theta, draw.regression, state.num_steps, state.diverging)

        return lax.scan(step, state, keys)

    tell = _Teller(progress, warmup + draws)
    done = 0
    while done < warmup:
        steps = min(tell.chunk, warmup - done)
        state = jax.block_until_ready(warm(state, steps))
        done += steps
        tell.said(done, "warm-up")
    warmed = time.perf_counter()
    out = _Kept(chains, draws, model.observations.inverse_link)
    length = min(tell.chunk, draws)
    draw_keys = jax.random.split(jax.random.fold_in(jax.random.PRNGKey(seed), 1), draws + length)
    for begin in range(0, draws, length):
        state, kept = keep(state, draw_keys[begin : begin + length])
        out.take(begin, [np.asarray(part) for part in kept])
        tell.said(warmup + min(begin + length, draws), "drawing")
    return out.finish({"warm-up": warmed - clock, "drawing": time.perf_counter() - warmed})


def _first_mass(
    start: dict[str, Vector], block: tuple[str, ...], covariance: Vector | None
) -> dict[tuple[str, ...], Vector] | None:
    """Inverse mass matrix at the start: effects and coefficients have coordinates of scale 1."""
    if covariance is None:
        return None
    coefficients = start["beta"].shape[1]
    dense = np.eye(coefficients + len(covariance))
    dense[coefficients:, coefficients:] = covariance
    rest = tuple(sorted(set(start) - set(block)))
    sizes = sum(int(np.prod(start[name].shape[1:])) for name in rest)
    return {block: dense} | ({rest: np.ones(sizes)} if rest else {})


class _Teller:
    """Says how far the run is, and how many steps to take until the next word."""

    def __init__(self, progress: Progress | None, steps: int) -> None:
        self._progress, self._steps = progress, steps
        self._begun = self._last = time.perf_counter()
        self._done = 0
        # The first steps are the shortest-sighted and the first call compiles.
        self.chunk = 1

    def said(self, done: int, what: str) -> None:
        now = time.perf_counter()
        if self._progress is not None:
            left = (now - self._begun) / done * (self._steps - done)
            self._progress(100.0 * done / self._steps, f"{what}: step {done} of {self._steps}, about {left:.0f} s left")
        self.chunk = self._next(now, done)
        self._last, self._done = now, done

    def _next(self, now: float, done: int) -> int:
        """Powers of two, so that few lengths are compiled."""
        each = (now - self._last) / (done - self._done)
        if each * self.chunk * 2 <= SECONDS_BETWEEN_WORDS:
            return min(2 * self.chunk, LARGEST_CHUNK)
        return max(1, self.chunk // 2) if each * self.chunk > 2 * SECONDS_BETWEEN_WORDS else self.chunk


class _Kept:
    """Draws as they come; what X beta alone would say is only averaged."""

    def __init__(self, chains: int, draws: int, inverse_link: Callable[[Vector], Vector]) -> None:
        self._chains, self._draws, self._inverse_link = chains, draws, inverse_link
        self._arrays: dict[str, Any] = {}
        self._synthetic: Any = 0.0

    def take(self, begin: int, parts: list[Any]) -> None:
        size = min(len(parts[0]), self._draws - begin)
        names = ("values", "beta", "linear", "regression", "leapfrogs", "diverging")
        for name, part in zip(names, parts, strict=True):
            moved = np.moveaxis(part[:size], 0, 1)
            if name == "regression":
                self._synthetic = self._synthetic + self._inverse_link(moved).sum(axis=(0, 1))
                continue
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._chains, self._draws, *moved.shape[2:]), dtype=part.dtype)
            self._arrays[name][:, begin : begin + size] = moved

    def finish(self, seconds: dict[str, float]) -> Chains:
        return Chains(**self._arrays, synthetic=self._synthetic / (self._chains * self._draws), seconds=seconds)
