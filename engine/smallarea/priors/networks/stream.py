"""The stream of training data: exact draws that never repeat, each part a function of seed and position."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.families import Family
from smallarea.priors.networks.modules import DecoderNetwork, VaeNetwork, need_torch

if TYPE_CHECKING:
    from torch import Tensor

# Draws at a time; about 128 MB in single precision on large maps.
DRAWS = 16_384
NUMBERS = 32_000_000
# Factors cost more than solves, so many draws share one; dense factors cost more still.
STRATA, DENSE_STRATA = 32, 8
MOST_MAKERS = 8
_PURPOSES = ("start", "validation", "training", "noise", "cure")


def random_of(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the generator of one part of a training, independent of all others.

    Parameters
    ----------
    seed : int
        Seed of the training.
    purpose : {'start', 'validation', 'training', 'noise', 'cure'}
        What it is for.
    index : int
        Step from which it serves.

    Returns
    -------
    numpy.random.Generator
        The same one for the same arguments.
    """
    return np.random.default_rng([seed, _PURPOSES.index(purpose), index])


def stratified(family: Family, rng: np.random.Generator, strata: int) -> NDArray[np.float64]:
    """Draw one set of hyperparameters from each of so many equally likely strata, shape (strata, q)."""
    columns = [one.at((rng.permutation(strata) + rng.uniform(size=strata)) / strata) for one in family.hyperparameters]
    return np.column_stack(columns) if columns else np.empty((strata, 0))


@dataclass(frozen=True)
class DrawStream:
    """Fresh draws for a network.

    Attributes
    ----------
    network : VaeNetwork or DecoderNetwork
        Knows what belongs to a draw.
    seed : int
        Seed of the training.
    device : str
        Where the draws are put.
    """

    network: VaeNetwork | DecoderNetwork
    seed: int
    device: str

    @property
    def batches_at_once(self) -> int:
        """Whole batches whose draws fit into the memory; at least one."""
        exact = self.network.exact
        draws = min(DRAWS, NUMBERS // max(exact.n, exact.latent_size))
        return max(1, draws // self.network.settings.batch)

    def chunks(self, start: int) -> Generator[tuple[Tensor, ...], None, None]:
        """Yield the draws of the steps from ``start`` on; the next ones are made beside the steps.

        Close it to stop early.
        """
        at, steps = start, self.network.settings.steps
        waiting: deque[Future[tuple[Tensor, ...]]] = deque()
        pool = ThreadPoolExecutor(self.makers)
        # The work space of a factoriser serves one thread.
        idle: SimpleQueue[DrawStream] = SimpleQueue()
        for stream in (self, *(self._twin() for _ in range(self.makers - 1))):
            idle.put(stream)

        def make(index: int, batches: int) -> tuple[Tensor, ...]:
            stream = idle.get()
            try:
                return stream.draws("training", index, batches)
            finally:
                idle.put(stream)

        def order() -> None:
            nonlocal at
            while len(waiting) < self.makers and at < steps:
                batches = min(self.batches_at_once, steps - at)
                waiting.append(pool.submit(make, at, batches))
                at += batches

        try:
            order()
            while waiting:
                data = waiting.popleft().result()
                order()
                yield data
        finally:
            pool.shutdown(cancel_futures=True)

    @property
    def makers(self) -> int:
        """Threads that make draws: compiled kernels release the interpreter's lock, and a GPU outruns several."""
        # Dense factors use all processors by themselves.
        if self.device == "cpu" or self.network.exact.family.name == "gp":
            return 1
        return max(1, min(MOST_MAKERS, (os.cpu_count() or 1) // 2))

    def _twin(self) -> DrawStream:
        """Return the same stream for another thread."""
        return replace(self, network=replace(self.network, exact=deepcopy(self.network.exact)))

    def draws(self, purpose: str, index: int, batches: int) -> tuple[Tensor, ...]:
        """Draw so many batches.

        Many draws share a set of hyperparameters. The sets are one from each of equally likely strata, and every
        batch holds them all.

        Parameters
        ----------
        purpose : {'validation', 'training'}
            What for.
        index : int
            Step from which they serve.
        batches : int
            Number of batches.

        Returns
        -------
        tuple of tensors in single precision
            What the network's loss takes, the draws along the first axis.
        """
        torch = need_torch()
        rng = random_of(self.seed, purpose, index)
        family = self.network.exact.family
        strata = DENSE_STRATA if family.name == "gp" else STRATA
        wanted = batches * self.network.settings.batch
        each = -(-wanted // strata)
        parts = [
            self.network.batch(np.broadcast_to(value, (each, len(value))), rng)
            for value in stratified(family, rng, strata)
        ]
        out = []
        for columns in zip(*parts, strict=True):
            mixed = np.stack(columns, axis=1).astype(np.float32)
            out.append(torch.from_numpy(mixed.reshape(-1, *mixed.shape[2:])[:wanted]).to(self.device))
        return tuple(out)
