"""Training of an imputing network: Adam, early stopping on held-out rows, back to the best weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.survey.imputation.networks import NumericNetwork, need_torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[float, str], None]

FEWEST_ROWS = 50


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its best weights.

    Attributes
    ----------
    network : NumericNetwork
        What the weights belong to.
    weights : dict of str to Tensor
        Weights at the epoch with the smallest held-out loss.
    record : dict
        How training went, JSON types.
    """

    network: NumericNetwork
    weights: dict[str, Tensor]
    record: dict[str, Any]

    @property
    def latent(self) -> int:
        """Latent dimensions."""
        return self.network.latent

    @property
    def needs_complete_rows(self) -> bool:
        """Whether the encoder looks at the values of missing cells."""
        return self.network.needs_complete_rows

    def encode(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of ``q(z | x)``."""
        return self.network.encode(self.weights, x, observed)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the columns given z."""
        return self.network.decode(self.weights, z)


def train_network(
    network: NumericNetwork,
    values: Matrix,
    observed: Mask,
    *,
    seed: int,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train a network.

    Parameters
    ----------
    network : NumericNetwork
        The network and its settings.
    values : ndarray, shape (n, p)
        Standardised values; those of cells that are not observed are not looked at.
    observed : ndarray of bool, shape (n, p)
        Cells that count in the loss.
    seed : int
        Seed of start, split, order and noise: the same seed gives the same weights on the same machine.
    progress : callable, optional
        Called with percent and text after each epoch; may raise to cancel.

    Returns
    -------
    TrainedNetwork
        Best weights on the held-out rows. They are copied when they are found: a reference to the weights would go on
        with the training.

    Raises
    ------
    ModelProblem
        If there are fewer than 50 rows, or the loss is not a number any more.
    EngineUnavailable
        If PyTorch is not installed.
    """
    if len(values) < FEWEST_ROWS:
        raise ModelProblem(
            f"A network cannot be trained on {len(values)} rows; it needs at least {FEWEST_ROWS}. Take the method mvn."
        )
    with one_thread():
        return _Run(network, values, observed, seed).train(progress)


@contextmanager
def one_thread() -> Iterator[None]:
    """Give PyTorch one thread: matrices of a batch are too small to share."""
    torch = need_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Run:
    """One training."""

    def __init__(self, network: NumericNetwork, values: Matrix, observed: Mask, seed: int) -> None:
        torch = need_torch()
        self.network, self.settings = network, network.settings
        self.generator: Generator = torch.Generator()
        self.generator.manual_seed(int(np.random.default_rng(seed).integers(2**62)))
        start = network.initial(self.generator)
        # One tensor for all weights: the optimiser takes one step instead of many small ones.
        self.names, self.shapes = list(start), [tensor.shape for tensor in start.values()]
        self.flat = torch.cat([tensor.reshape(-1) for tensor in start.values()]).requires_grad_()
        x = torch.from_numpy(np.where(observed, values, 0.0).astype(np.float32))
        seen = torch.from_numpy(observed.astype(np.float32))
        order = torch.randperm(len(x), generator=self.generator)
        kept = max(1, round(self.settings.held_out * len(x)))
        self.held_out = x[order[:kept]], seen[order[:kept]]
        self.rows = x[order[kept:]], seen[order[kept:]]
        # The same noise at every epoch, so that luck does not decide which is the best.
        self.noise = torch.randn((kept, network.latent), generator=self.generator)

    def weights(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in self.shapes])
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def train(self, progress: Progress | None) -> TrainedNetwork:
        torch = need_torch()
        optimiser = torch.optim.Adam([self.flat], lr=self.settings.rate)
        started = time.monotonic()
        best, lowest, best_epoch, without = self.flat.detach().clone(), np.inf, 0, 0
        losses: list[float] = []
        for epoch in range(1, self.settings.epochs + 1):
            self._epoch(optimiser)
            losses.append(self._held_out_loss(epoch))
            improved = losses[-1] < lowest - self.settings.tolerance
            without = 0 if improved else without + 1
            if losses[-1] < lowest:
                lowest, best_epoch = losses[-1], epoch
                best.copy_(self.flat.detach())
            if progress is not None:
                progress(100.0 * epoch / self.settings.epochs, f"Training: epoch {epoch}, loss {losses[-1]:.5g}")
            if without >= self.settings.patience:
                break
        record = {
            "rows": len(self.rows[0]) + len(self.held_out[0]),
            "batch": self.settings.batch_for(len(self.rows[0])),
            "latent": self.network.latent,
            "epochs": len(losses),
            "best_epoch": best_epoch,
            "best_loss": lowest,
            "stopped_early": without >= self.settings.patience,
            "seconds": round(time.monotonic() - started, 1),
        }
        return TrainedNetwork(self.network, self.weights(best), record)

    def _epoch(self, optimiser: Any) -> None:
        """Pass once over the training rows in a new order."""
        torch = need_torch()
        n = len(self.rows[0])
        order = torch.randperm(n, generator=self.generator)
        x, seen = self.rows[0][order], self.rows[1][order]
        noise = torch.randn((n, self.network.latent), generator=self.generator)
        batch = self.settings.batch_for(n)
        for start in range(0, n, batch):
            part = slice(start, start + batch)
            optimiser.zero_grad()
            loss = self.network.loss(self.weights(self.flat), x[part], seen[part], noise[part], self.generator)
            loss.backward()
            optimiser.step()

    def _held_out_loss(self, epoch: int) -> float:
        with need_torch().no_grad():
            loss = float(self.network.loss(self.weights(self.flat), *self.held_out, self.noise))
        if not np.isfinite(loss):
            raise ModelProblem(
                f"The loss of the network is not a number any more after {epoch} epochs. Set a smaller rate."
            )
        return loss
