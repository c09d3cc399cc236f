"""A decoder as NumPy sees it: fields of white noise, and products with the covariance where the decoder is linear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.decoders import Decoder, need_jax

Vector = NDArray[np.float64]

# Numbers in one block of fields; keeps what a network holds in between under a few hundred megabytes.
NUMBERS_AT_ONCE = 1_000_000
SMALLEST_BLOCK, LARGEST_BLOCK = 4, 256
# A linear decoder adds up to rounding; a network with any bend misses this by many orders of magnitude.
LINEAR_WITHIN = 1e-7


class LearnedField:
    """A decoder restricted to the nodes of the field, in blocks.

    Parameters
    ----------
    decoder : Decoder
        The bound prior; JAX must be in x64 mode whenever a method is called.
    nodes : ndarray of int, shape (n,)
        Positions of the field's nodes among the areas.
    """

    def __init__(self, decoder: Decoder, nodes: NDArray[np.int64]) -> None:
        jax = need_jax()
        self.n = len(nodes)
        self.latent_size = decoder.latent_size
        self.conditional = bool(decoder.hyperparameters)
        self.decoder = decoder
        self.nodes = nodes
        most = int(np.clip(NUMBERS_AT_ONCE // max(decoder.n, decoder.latent_size), SMALLEST_BLOCK, LARGEST_BLOCK))
        self._block = 2 ** (most.bit_length() - 1)

        def on_nodes(z: Any, values: Any) -> Any:
            return decoder.decode(z, values)[nodes]

        def pulled(field: Any, z: Any, values: Any) -> Any:
            return jax.vjp(lambda one: on_nodes(one, values), z)[1](field)[0]

        def pushed(direction: Any, z: Any, values: Any) -> Any:
            return jax.jvp(lambda one: on_nodes(one, values), (z,), (direction,))[1]

        self.on_nodes = on_nodes
        self._fields = jax.jit(jax.vmap(on_nodes, in_axes=(0, None)))
        self._pulled = jax.jit(jax.vmap(pulled, in_axes=(0, None, None)))
        self._pushed = jax.jit(jax.vmap(pushed, in_axes=(0, None, None)))

    def fields(self, z: Vector, value: Vector) -> Vector:
        """Decode white noise of shape (B, latent_size) to fields of shape (B, n)."""
        return self._blocks(self._fields, z, self.n, self._given(value))

    def pull(self, fields: Vector, at: Vector, value: Vector) -> Vector:
        """Multiply rows (B, n) by the derivative of the decoder at ``at`` (latent_size,): shape (B, latent_size)."""
        return self._blocks(self._pulled, fields, self.latent_size, at, self._given(value))

    def push(self, directions: Vector, at: Vector, value: Vector) -> Vector:
        """Move along directions (B, latent_size) from ``at``, to first order: shape (B, n)."""
        return self._blocks(self._pushed, directions, self.n, at, self._given(value))

    def covariance_times(self, x: Vector, value: Vector, at: Vector | None = None) -> Vector:
        """Product of JJ' with x (n, m), J the derivative at ``at``; without, of the covariance of a linear decoder."""
        start = np.zeros(self.latent_size) if at is None else at
        pulled = self.pull(np.ascontiguousarray(x.T), start, value)
        # A linear decoder is its own derivative, and may have none of the forward kind.
        return (self.fields(pulled, value) if at is None else self.push(pulled, at, value)).T

    def covariance(self, value: Vector) -> Vector:
        """Dense covariance of a linear decoder, shape (n, n)."""
        rows = self.pull(np.eye(self.n), np.zeros(self.latent_size), value)
        return rows @ rows.T

    def is_linear(self, value: Vector, rng: np.random.Generator) -> bool:
        """Whether decode(a z1 - b z2) = a decode(z1) - b decode(z2) to rounding, and nothing comes of nothing."""
        pair = rng.standard_normal((2, self.latent_size))
        first, second, both, none = self.fields(
            np.stack([*pair, 3.0 * pair[0] - 2.0 * pair[1], np.zeros(self.latent_size)]), value
        )
        size = np.max(np.abs(first)) + np.max(np.abs(second))
        off = max(float(np.max(np.abs(both - 3.0 * first + 2.0 * second))), float(np.max(np.abs(none))))
        return bool(off <= LINEAR_WITHIN * size)

    def _given(self, value: Vector) -> Vector:
        return np.asarray(value, dtype=float) if self.conditional else np.empty(0)

    def _blocks(self, compiled: Any, rows: Vector, width: int, *fixed: Vector) -> Vector:
        """Call on blocks of rows, filled up to a power of two: each other shape would be compiled anew."""
        out = np.empty((len(rows), width))
        for start in range(0, len(rows), self._block):
            block = rows[start : start + self._block]
            size = max(SMALLEST_BLOCK, 2 ** (len(block) - 1).bit_length())
            filled = np.zeros((size, rows.shape[1]))
            filled[: len(block)] = block
            out[start : start + len(block)] = np.asarray(compiled(filled, *fixed))[: len(block)]
        return out
