"""Products with the adjacency matrix in JAX that are fast for many chains at once, and polynomials of such products.

Chains are columns side by side: what one chain reads of a neighbour lies next to what the others read. The matrices are
symmetric, so derivatives are products again, and no addition is scattered.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jax import Array

Nodes = NDArray[np.int64]

# Below this many nodes a thread costs more than it saves.
WORTH_A_THREAD = 1_000
# Traces take so many unit vectors at a time.
TRACE_COLUMNS = 64


def neighbour_sum(n: int, edges: Nodes) -> Callable[[Any], Array]:
    """Product with the adjacency matrix as a JAX function of an array of shape (n, m).

    Parameters
    ----------
    n : int
        Number of nodes.
    edges : ndarray of int, shape (E, 2)
        Neighbour pairs.

    Returns
    -------
    callable
        The product; may be differentiated once, compiled, and mapped over a leading axis.
    """
    import jax

    product = _columnwise(_raw_neighbour_sum(n, edges))
    wrapped = jax.custom_vjp(product)
    wrapped.defvjp(lambda x: (product(x), None), lambda _, g: (product(g),))
    return wrapped


def _raw_neighbour_sum(n: int, edges: Nodes) -> Callable[[Any], Array]:
    """Return the same product without rules for derivatives and maps: a gather and a sum for each number of neighbours.

    Parameters
    ----------
    n : int
        Number of nodes.
    edges : ndarray of int, shape (E, 2)
        Neighbour pairs.
    """
    import jax.numpy as jnp

    directed = np.concatenate([edges, edges[:, ::-1]])
    directed = directed[np.argsort(directed[:, 0], kind="stable")]
    degrees = np.bincount(directed[:, 0], minlength=n)
    starts = np.cumsum(degrees) - degrees
    order = np.argsort(-degrees, kind="stable")
    lists = []
    for degree in np.unique(degrees)[::-1].tolist():
        members = order[degrees[order] == degree]
        lists.append(directed[starts[members][:, None] + np.arange(degree), 1] if degree else None)
    alone = int(np.sum(degrees == 0))
    back = np.argsort(order)
    in_order = bool(np.all(order == np.arange(n)))

    def product(x: Any) -> Array:
        sums = [jnp.sum(x[places], axis=1) for places in lists if places is not None]
        if alone:
            sums.append(jnp.zeros((alone, *x.shape[1:]), dtype=x.dtype))
        total = jnp.concatenate(sums)
        return total if in_order else total[back]

    return product


def _columnwise(function: Callable[[Any], Array]) -> Callable[[Any], Array]:
    """Map a function of columns over a leading axis by putting everything side by side."""
    from jax.custom_batching import custom_vmap

    mapped = custom_vmap(function)

    def rule(size: int, in_batched: Any, x: Any) -> tuple[Array, bool]:  # noqa: ARG001 - there is one argument
        return _apart(mapped(_side_by_side(x)), size), True

    mapped.def_vmap(rule)
    return mapped


def chebyshev_sum(matrix: sp.csr_array, dtype: str = "float64") -> Callable[[Any, Any], Array]:
    """Chebyshev series of a symmetric matrix times columns, ``sum_k c_k T_k(M) x``.

    Parameters
    ----------
    matrix : sparse matrix, shape (n, n)
        M, symmetric, its eigenvalues between -1 and 1.
    dtype : {'float64', 'float32'}
        Precision of the arithmetic.

    Returns
    -------
    callable
        ``f(x, c)`` for x of shape (n, m) and c of shape (degree + 1, m), each column with its own coefficients; may be
        differentiated once, compiled, and mapped over a leading axis of both. The derivative runs the recursion once
        more: ``x' T_k(M) g = g' T_k(M) x`` gives those in c beside those in x.
    """
    import jax
    import jax.numpy as jnp
    from jax.custom_batching import custom_vmap

    mapped = custom_vmap(_run(matrix, dtype))

    def rule(size: int, in_batched: Any, *arguments: Any) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        full = [
            a if batched else jnp.broadcast_to(a, (size, *a.shape))
            for a, batched in zip(arguments, in_batched, strict=True)
        ]
        total, products = mapped(*(_side_by_side(a) for a in full))
        return (_apart(total, size), _apart(products, size)), (True, True)

    mapped.def_vmap(rule)

    @jax.custom_vjp
    def series(x: Any, coefficients: Any) -> Array:
        return mapped(x, coefficients, x)[0]

    def forward(x: Any, coefficients: Any) -> tuple[Array, tuple[Any, Any]]:
        return mapped(x, coefficients, x)[0], (x, coefficients)

    def backward(kept: tuple[Any, Any], gradient: Any) -> tuple[Array, Array]:
        x, coefficients = kept
        return mapped(gradient, coefficients, x)

    series.defvjp(forward, backward)
    return series


def chebyshev_traces(matrix: sp.csr_array, degree: int) -> NDArray[np.float64]:
    """Traces of the Chebyshev polynomials of a symmetric matrix; JAX's x64 mode must be on.

    Parameters
    ----------
    matrix : sparse matrix, shape (n, n)
        M, symmetric, its eigenvalues about between -1 and 1.
    degree : int
        The largest.

    Returns
    -------
    ndarray, shape (degree + 1,)
        ``tr T_k(M)``, exact but for rounding: n times the degree products with M.
    """
    import jax

    n = matrix.shape[0]
    run = jax.jit(_run(matrix, "float64"))
    traces = np.zeros(degree + 1)
    for begin in range(0, n, TRACE_COLUMNS):
        columns = np.arange(begin, min(begin + TRACE_COLUMNS, n))
        units = np.zeros((n, TRACE_COLUMNS))
        units[columns, columns - begin] = 1.0
        traces += np.asarray(run(units, np.ones((degree + 1, TRACE_COLUMNS)), units)[1]).sum(axis=1)
    return traces


def _run(matrix: sp.csr_array, dtype: str) -> Callable[[Any, Any, Any], tuple[Array, Array]]:
    """Series and products in the faster way: in double precision on processors the compiled loop, otherwise JAX."""
    import jax

    compiled = dtype == "float64" and jax.default_backend() == "cpu" and _has_numba()
    return _compiled_run(matrix) if compiled else _jax_run(matrix, dtype)


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads for blocks of columns, as many as there are processors; the result does not depend on their number."""
    return ThreadPoolExecutor(os.cpu_count() or 1)


def _compiled_run(matrix: sp.csr_array) -> Callable[[Any, Any, Any], tuple[Array, Array]]:
    """Series and products through a compiled loop, called back from JAX."""
    import jax
    from jax import lax

    from smallarea.gmrf.series_kernel import WIDTH, recursion

    diagonal = np.ascontiguousarray(matrix.diagonal())
    off = sp.csr_array(matrix - sp.diags_array(diagonal))
    pointers, columns = off.indptr.astype(np.uint32), off.indices.astype(np.uint32)

    # JAX calls back in a thread of its own, in which x64 mode is off: float64 would arrive as float32. Halves of 32
    # bits arrive as they are.
    def as_halves(array: NDArray[np.float64]) -> NDArray[np.uint32]:
        return np.ascontiguousarray(array)[..., None].view(np.uint32)

    def call(x: Any, coefficients: Any, other: Any) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        parts = [np.asarray(part).view(np.float64)[..., 0] for part in (x, coefficients, other)]
        m = parts[0].shape[1]
        padded = [np.pad(part, ((0, 0), (0, -m % WIDTH))) for part in parts] if m % WIDTH else parts
        total, products = np.empty_like(padded[0]), np.empty_like(padded[1])

        def work(begin: int) -> None:
            at = slice(begin, begin + WIDTH)
            given = [np.ascontiguousarray(part[:, at]) for part in padded]
            own, sums = np.empty_like(given[0]), np.empty_like(given[1])
            recursion(pointers, columns, off.data, diagonal, *given, own, sums)
            total[:, at], products[:, at] = own, sums

        blocks = range(0, total.shape[1], WIDTH)
        if len(blocks) == 1 or len(diagonal) < WORTH_A_THREAD:
            for begin in blocks:
                work(begin)
        else:  # the loop holds no lock of the interpreter
            list(_threads().map(work, blocks))
        return as_halves(total[:, :m]), as_halves(products[:, :m])

    def run(x: Any, coefficients: Any, other: Any) -> tuple[Array, Array]:
        shapes = tuple(jax.ShapeDtypeStruct((*part.shape, 2), np.uint32) for part in (x, coefficients))
        halves = [lax.bitcast_convert_type(part, np.uint32) for part in (x, coefficients, other)]
        total, products = jax.pure_callback(call, shapes, *halves)
        return lax.bitcast_convert_type(total, x.dtype), lax.bitcast_convert_type(products, x.dtype)

    return run


def _jax_run(matrix: sp.csr_array, dtype: str) -> Callable[[Any, Any, Any], tuple[Array, Array]]:
    """Series and products in JAX alone."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    n = matrix.shape[0]
    diagonal = jnp.asarray(matrix.diagonal(), dtype=dtype)[:, None]
    off = sp.csr_array(matrix - sp.diags_array(matrix.diagonal()))
    rows = jnp.asarray(np.repeat(np.arange(n), np.diff(off.indptr)), dtype=jnp.int32)
    columns = jnp.asarray(off.indices, dtype=jnp.int32)
    values = jnp.asarray(off.data, dtype=dtype)[:, None]

    def times(x: Any) -> Array:
        return diagonal * x + jax.ops.segment_sum(values * x[columns], rows, num_segments=n, indices_are_sorted=True)

    def run(x: Any, coefficients: Any, other: Any) -> tuple[Array, Array]:
        first = times(x)

        def step(carry: Any, coefficient: Any) -> tuple[Any, Any]:
            before, last, total = carry
            now = 2.0 * times(last) - before
            return (last, now, total + coefficient * now), jnp.sum(now * other, axis=0)

        begun = (x, first, coefficients[0] * x + coefficients[1] * first)
        (_, _, total), products = lax.scan(step, begun, coefficients[2:])
        ends = jnp.stack([jnp.sum(x * other, axis=0), jnp.sum(first * other, axis=0)])
        return total, jnp.concatenate([ends, products])

    return run


def _side_by_side(x: Any) -> Array:
    """(B, n, m) to (n, B m)."""
    import jax.numpy as jnp

    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)


def _apart(x: Any, size: int) -> Array:
    """(n, B m) to (B, n, m)."""
    import jax.numpy as jnp

    return jnp.moveaxis(x.reshape(x.shape[0], size, -1), 1, 0)
