"""Settings of the imputing networks: size, training, length of the chains."""

from __future__ import annotations

from dataclasses import dataclass

from smallarea.errors import JobProblem, named

# Rows above which batches grow, so that an epoch never takes more than about 300 steps.
SMALL_TABLE, STEPS_AN_EPOCH = 10_000, 300


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a network that imputes.

    Attributes
    ----------
    latent : int or None
        Latent dimensions; by default two thirds of the columns and at least 8 (``vae``, ``vae-mean``), or as many as
        columns and at least 12 (``vae-masked``).
    hidden : int
        Width of the hidden layers.
    dropout : float
        Share of hidden units of the mask-aware encoder that are left out in training; the other networks have none. The
        study took 0.2; none holds correlations better.
    rate : float
        Learning rate of Adam.
    batch : int or None
        Rows a step; by default 32 up to 10,000 rows, then the power of two with which an epoch takes at most 300 steps.
    epochs : int
        Passes over the training rows at most.
    patience : int
        Epochs without improvement after which training stops.
    tolerance : float
        Smallest improvement of the held-out loss that counts.
    held_out : float
        Share of rows that the stopping rule looks at.
    sweeps : int
        Most steps of the Markov chain before a draw is taken.
    networks : int
        Above 1, so many networks are trained, each on a bootstrap sample of the rows, and every draw takes one of them,
        so that draws carry the uncertainty of the weights too.
    """

    latent: int | None = None
    hidden: int = 64
    dropout: float = 0.0
    rate: float = 1e-3
    batch: int | None = None
    epochs: int = 1_000
    patience: int = 10
    tolerance: float = 1e-4
    held_out: float = 0.2
    sweeps: int = 50
    networks: int = 1

    def __post_init__(self) -> None:
        whole = {name: getattr(self, name) for name in ("hidden", "epochs", "patience", "sweeps", "networks")}
        whole |= {name: given for name in ("latent", "batch") if (given := getattr(self, name)) is not None}
        if wrong := [name for name, value in whole.items() if type(value) is not int or value < 1]:
            raise JobProblem(f"Settings of the network that must be whole numbers from 1: {named(wrong)}.")
        others = {name: getattr(self, name) for name in ("dropout", "rate", "tolerance", "held_out")}
        if wrong := [name for name, value in others.items() if type(value) not in (int, float)]:
            raise JobProblem(f"Settings of the network that must be numbers: {named(wrong)}.")
        if not 0.0 <= self.dropout < 1.0:
            raise JobProblem(f"dropout is {self.dropout:g}; it is a share from 0 to below 1.")
        if not 0.0 < self.held_out < 1.0:
            raise JobProblem(f"held_out is {self.held_out:g}; it is a share between 0 and 1.")
        if not self.rate > 0.0 or not self.tolerance >= 0.0:
            raise JobProblem("rate must be above 0 and tolerance not below 0.")

    def batch_for(self, rows: int) -> int:
        """Rows a step for a table with so many training rows."""
        if self.batch is not None:
            return self.batch
        batch = 32
        while rows > SMALL_TABLE and batch * STEPS_AN_EPOCH < rows:
            batch *= 2
        return batch
