"""Training of the dense architectures on fresh exact draws."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable, ModelProblem, PriorProblem
from smallarea.priors.exact import ExactPrior
from smallarea.priors.networks.modules import DecoderNetwork, VaeNetwork, Weights, need_torch
from smallarea.priors.networks.network_settings import BetaVaeSettings, DecoderSettings, NetworkSettings
from smallarea.priors.networks.stream import DrawStream, random_of
from smallarea.priors.networks.training_checkpoint import TrainingCheckpoint, TrainingState

if TYPE_CHECKING:
    from torch import Tensor

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

DEVICES = ("auto", "cpu", "cuda")
VALIDATION = 4_096
CLIP = 1.0
# Between checkpoints, and as a multiple of what the last one took to write.
SECONDS_BETWEEN_CHECKPOINTS, TIMES_ITS_WRITING = 30.0, 20.0
CURVE = 100
# An improvement of the validation loss that is smaller than this does not count.
IMPROVEMENT = 1e-5


@dataclass(frozen=True)
class Trained:
    """What training found.

    Attributes
    ----------
    weights : dict of str to float32 ndarray
        Weights that decode.
    record : dict
        How it went, JSON types.
    """

    weights: dict[str, NDArray[np.float32]]
    record: dict[str, Any]


def train_network(
    exact: ExactPrior,
    architecture: str,
    settings: NetworkSettings,
    *,
    seed: int,
    device: str = "auto",
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train a dense network on a stream of exact draws that never repeats.

    Parameters
    ----------
    exact : ExactPrior
        What the network learns.
    architecture : {'beta-vae', 'decoder'}
        The network.
    settings : BetaVaeSettings or DecoderSettings
        Its settings.
    seed : int
        Seed of weights, draws and noise: the same seed gives the same weights on the same machine.
    device : {'auto', 'cpu', 'cuda'}
        Where to train; ``auto`` takes a GPU where there is one.
    progress : callable, optional
        Called with percent and text; may raise to cancel.
    checkpoint : path, optional
        File (.npz) from which a stopped training goes on to the same result; removed at the end.

    Returns
    -------
    Trained
        Best weights on the validation set, and the record.

    Raises
    ------
    PriorProblem
        If architecture and settings do not belong together, or the device is unknown.
    ModelProblem
        If the loss is not a number any more.
    EngineUnavailable
        If PyTorch or the GPU is not there.
    OutputProblem
        If the checkpoint is something else, belongs to another training or cannot be written.
    """
    if settings.architecture != architecture:
        raise PriorProblem(f"These are settings of {settings.architecture!r}, not of {architecture!r}.")
    network = VaeNetwork(exact, settings) if isinstance(settings, BetaVaeSettings) else DecoderNetwork(exact, settings)
    return train(network, seed=seed, device=device, progress=progress, checkpoint=checkpoint)


def train(
    network: VaeNetwork | DecoderNetwork,
    *,
    seed: int,
    device: str = "auto",
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train a network; parameters, result and errors are those of :func:`train_network`."""
    run = _Run(network, seed, chosen_device(device), progress or _silent)
    run.prepare(TrainingCheckpoint(checkpoint) if checkpoint is not None else None)
    run.train()
    return run.finish()


def chosen_device(device: str) -> str:
    """Return 'cpu' or 'cuda'.

    Raises
    ------
    PriorProblem
        If the name is unknown.
    EngineUnavailable
        If a GPU is asked for and PyTorch sees none.
    """
    if device not in DEVICES:
        raise PriorProblem(f"Unknown device {device!r}; there are {', '.join(DEVICES)}.")
    there = need_torch().cuda.is_available()
    if device == "cuda" and not there:
        raise EngineUnavailable(
            "PyTorch sees no GPU. Train on the CPU (device 'cpu' or 'auto'), or install a PyTorch with CUDA."
        )
    return "cuda" if there and device != "cpu" else "cpu"


def _silent(percent: float, text: str) -> None:
    """Report to nobody."""


@dataclass
class _Run:
    """One training: everything at step s follows from settings, seed and the state, so that it can be resumed."""

    network: VaeNetwork | DecoderNetwork
    seed: int
    device: str
    progress: Progress
    _checkpoint: TrainingCheckpoint | None = None
    _names: list[str] = field(default_factory=list)
    _shapes: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def settings(self) -> BetaVaeSettings | DecoderSettings:
        return self.network.settings

    def prepare(self, checkpoint: TrainingCheckpoint | None) -> None:
        """Make the start, or read where a stopped training was."""
        torch = need_torch()
        self.progress(0.0, "Preparing the start of the training")
        self._stream = DrawStream(self.network, self.seed, self.device)
        weights = self.network.initial(random_of(self.seed, "start"))
        self._names, self._shapes = list(weights), [w.shape for w in weights.values()]
        flat = np.concatenate([w.ravel() for w in weights.values()]).astype(np.float32)
        # One tensor for all weights: the optimiser takes a few large steps instead of many small ones.
        self._flat = torch.tensor(flat, device=self.device, requires_grad=True)
        self._fixed = {
            name: torch.tensor(w, dtype=torch.float32, device=self.device) for name, w in self.network.fixed().items()
        }
        self._optimiser = getattr(torch.optim, self.network.optimiser)([self._flat], lr=self.settings.rate)
        self._validation = self._stream.draws("validation", 0, max(1, VALIDATION // self.settings.batch))
        self._probe = np.concatenate([part[0].double().cpu().numpy().ravel() for part in self._validation])
        self._checkpoint = checkpoint
        self.state = TrainingState()
        self._best = self._flat.detach().clone()
        found = checkpoint.load(self._identity, self._probe, len(flat)) if checkpoint else None
        if found is None:
            self._note_validation(training=None)
            self.state.start_loss = self.state.best_loss
        else:
            self._restore(found)

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "architecture": self.settings.architecture,
            "settings": self.settings.to_json(),
            "family": self.network.exact.family.to_json(),
            "seed": self.seed,
            "device": self.device,
        }

    def _weights(self, flat: Tensor) -> dict[str, Tensor]:
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        parts = flat.split(sizes)
        named_parts = zip(self._names, parts, self._shapes, strict=True)
        return {name: part.view(shape) for name, part, shape in named_parts} | self._fixed

    def train(self) -> None:
        """Take steps until they are used up or nothing improves."""
        started = time.monotonic() - self.state.seconds
        next_save = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        total = self.settings.steps
        with closing(self._stream.chunks(self.state.step)) as chunks:
            for data in chunks:
                losses = self._steps(data)
                self.state.seconds = time.monotonic() - started
                self._note_validation(losses)
                try:
                    self.progress(95.0 * self.state.step / total, self._text())
                except BaseException:
                    self._save()
                    raise
                if time.monotonic() > next_save:
                    spent = self._save()
                    next_save = time.monotonic() + max(SECONDS_BETWEEN_CHECKPOINTS, TIMES_ITS_WRITING * spent)
                if self.state.without >= self.settings.patience:
                    break

    def _steps(self, data: tuple[Tensor, ...]) -> float:
        """Take one step a batch, and return the mean loss."""
        torch = need_torch()
        generator = torch.Generator(self.device)
        generator.manual_seed(int(random_of(self.seed, "noise", self.state.step).integers(2**62)))
        group = self._optimiser.param_groups[0]
        ratio = self.settings.last_rate / self.settings.rate
        total = torch.zeros((), device=self.device)
        batches = len(data[0]) // self.settings.batch
        for k in range(batches):
            part = tuple(a[k * self.settings.batch : (k + 1) * self.settings.batch] for a in data)
            group["lr"] = self.settings.rate * ratio ** (self.state.step / self.settings.steps)
            self._optimiser.zero_grad()
            loss = self._loss(self._flat, part, generator)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([self._flat], CLIP)
            self._optimiser.step()
            total += loss.detach()
            self.state.step += 1
        return float(total) / batches

    def _loss(self, flat: Tensor, data: tuple[Tensor, ...], generator: Any) -> Tensor:
        torch = need_torch()
        mixed = self.network.mixed_precision and self.device == "cuda"
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=mixed):
            return self.network.loss(self._weights(flat), data, generator)

    def _note_validation(self, training: float | None) -> None:
        """Measure on the validation set, and keep a copy of the weights if they are the best."""
        torch = need_torch()
        generator = torch.Generator(self.device)
        generator.manual_seed(self.seed % 2**63)
        with torch.no_grad():
            loss = float(self._loss(self._flat, self._validation, generator))
        if not np.isfinite(loss):
            raise ModelProblem(
                f"The loss is not a number any more after {self.state.step} steps. Train with a smaller rate."
            )
        improved = loss < self.state.best_loss * (1.0 - IMPROVEMENT)
        self.state.without = 0 if improved else self.state.without + 1
        if loss < self.state.best_loss:
            self._best.copy_(self._flat.detach())
            self.state.best_loss, self.state.best_step = loss, self.state.step
        self.state.losses.append((self.state.step, training, loss))

    def _text(self) -> str:
        state, total = self.state, self.settings.steps
        left = state.seconds / max(state.step, 1) * (total - state.step)
        _, training, validation = state.losses[-1]
        return (
            f"Training: step {state.step:,} of {total:,}, loss {training:.5g}, on fresh draws {validation:.5g} "
            f"(best {state.best_loss:.5g}), at most {left:.0f} s left"
        )

    def _save(self) -> float:
        """Write the checkpoint, if there is to be one, and return the seconds that it took."""
        start = time.monotonic()
        if self._checkpoint is not None:
            stored = self._optimiser.state_dict()["state"].get(0, {})
            self.state.best = self._best.cpu().numpy()
            self.state.weights = self._flat.detach().cpu().numpy()
            self.state.optimiser = {name: value.cpu().numpy() for name, value in stored.items()}
            self._checkpoint.save(self.state, self._identity, self._probe)
        return time.monotonic() - start

    def _restore(self, found: TrainingState) -> None:
        torch = need_torch()
        self.state = found
        with torch.no_grad():
            self._flat.copy_(torch.from_numpy(found.weights))
            self._best.copy_(torch.from_numpy(found.best))
        content = self._optimiser.state_dict()
        content["state"] = {0: {name: torch.from_numpy(value) for name, value in found.optimiser.items()}}
        self._optimiser.load_state_dict(content)

    def finish(self) -> Trained:
        """Go back to the best weights, finish them, and write the record."""
        self.progress(95.0, "Finishing the best weights")
        weights: Weights = {name: value.cpu().numpy() for name, value in self._weights(self._best).items()}
        kept, measured = self.network.finish(weights, random_of(self.seed, "cure"))
        trained = Trained({name: value.astype(np.float32) for name, value in kept.items()}, self._record(measured))
        if self._checkpoint is not None:
            self._checkpoint.remove()
        return trained

    def _record(self, measured: dict[str, Any]) -> dict[str, Any]:
        state, torch = self.state, need_torch()
        every = -(-len(state.losses) // CURVE)
        shown = sorted({*range(0, len(state.losses), every), len(state.losses) - 1})
        return {
            "seed": self.seed,
            "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu",
            "precision": "bfloat16 and float32"
            if self.device == "cuda" and self.network.mixed_precision
            else "float32",
            "steps": state.step,
            "stopped_early": state.step < self.settings.steps,
            "draws": state.step * self.settings.batch,
            "seconds": round(state.seconds, 1),
            "start_loss": state.start_loss,
            "best_loss": state.best_loss,
            "best_step": state.best_step,
            "losses": [list(state.losses[k]) for k in shown],
            "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
            **measured,
        }
