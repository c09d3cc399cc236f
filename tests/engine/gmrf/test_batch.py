"""Factors of many matrices at once against dense algebra, lane by lane and on every backend."""

import builtins

import numpy as np
import pytest
from smallarea.errors import EngineUnavailable
from smallarea.gmrf import SymmetricPattern, batch_factoriser
from smallarea.gmrf.batch import CompiledFactoriser, LoopFactoriser

BACKENDS = ("compiled", "qdldl", "splu", "dense")
BATCHES = (1, 3, 4, 5, 17)


def values_of(n: int, edges: np.ndarray, lanes: int, seed: int) -> np.ndarray:
    """Diagonally dominant matrices, diagonal then edges, shape (n + E, B); some edges are zero."""
    rng = np.random.default_rng(seed)
    off = rng.normal(size=(len(edges), lanes)) * (rng.uniform(size=(len(edges), lanes)) > 0.15)
    diagonal = rng.uniform(0.05, 1.0, size=(n, lanes))
    np.add.at(diagonal, edges[:, 0], np.abs(off))
    np.add.at(diagonal, edges[:, 1], np.abs(off))
    return np.concatenate([diagonal, off])


def dense(n: int, edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """All matrices of a batch, shape (B, n, n)."""
    out = np.zeros((values.shape[1], n, n))
    out[:, np.arange(n), np.arange(n)] = values[:n].T
    out[:, edges[:, 0], edges[:, 1]] = out[:, edges[:, 1], edges[:, 0]] = values[n:].T
    return out


def assert_is_factor_of(factor, edges: np.ndarray, matrices: np.ndarray, lanes: np.ndarray) -> None:
    """Compare everything that a factor offers on these lanes."""
    count, n = matrices.shape[:2]
    rng = np.random.default_rng(5)
    b = rng.normal(size=(n, 3, count))
    white = factor.whiten(b)
    gram, solved = factor.gram(white), factor.unwhiten(white)
    # The same normals for every lane and column: column j of the identity through the noise gives column j of a root.
    roots = factor.unwhiten(factor.noise(np.repeat(np.eye(n)[:, :, None], count, axis=2)))
    entries = factor.inverse()
    assert gram.shape == (3, 3, count)
    assert solved.shape == (n, 3, count)
    assert entries.shape == (n + len(edges), count)
    for lane in lanes.tolist():
        inverse = np.linalg.inv(matrices[lane])
        np.testing.assert_allclose(factor.logdet[lane], np.linalg.slogdet(matrices[lane])[1], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(solved[..., lane], inverse @ b[..., lane], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(gram[..., lane], b[..., lane].T @ inverse @ b[..., lane], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(roots[..., lane] @ roots[..., lane].T, inverse, rtol=1e-9, atol=1e-10)
        want = np.concatenate([np.diag(inverse), inverse[edges[:, 0], edges[:, 1]]])
        np.testing.assert_allclose(entries[:, lane], want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lanes", BATCHES)
def test_against_dense_algebra(backend, lanes, area_map):
    n, edges = area_map
    solver = batch_factoriser(SymmetricPattern(n, edges), backend)
    # Twice, and in another size between: the work space of one batch must not show in the next.
    for seed, size in ((1, lanes), (2, 2 * lanes + 1), (3, lanes)):
        values = values_of(n, edges, size, seed)
        before = values.copy()
        factor = solver.factor(values)
        assert_is_factor_of(factor, edges, dense(n, edges, values), np.arange(size))
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lanes", BATCHES)
def test_a_matrix_that_is_not_definite_spoils_no_other(backend, lanes, make_map):
    n, edges = make_map("islands")
    solver = batch_factoriser(SymmetricPattern(n, edges), backend)
    values = values_of(n, edges, lanes, 4)
    degrees = np.bincount(edges.ravel(), minlength=n)
    bad = np.arange(0, lanes, 3)
    for turn, lane in enumerate(bad.tolist()):
        kind = turn % 4
        if kind == 0:
            values[n // 2, lane] = -1.0  # a negative diagonal
        elif kind == 1:
            values[:n, lane], values[n:, lane] = degrees + 0.01, -1.5  # a positive diagonal, yet indefinite
        elif kind == 2:
            values[3, lane] = np.nan
        else:
            values[:, lane] = 0.0  # exactly singular
    good = np.setdiff1d(np.arange(lanes), bad)
    with np.errstate(all="ignore"):
        factor = solver.factor(values)
        assert np.isnan(factor.logdet[bad]).all()
        assert_is_factor_of(factor, edges, dense(n, edges, values), good)
    # And nothing of it is left for the next batch.
    values = values_of(n, edges, lanes, 5)
    assert_is_factor_of(solver.factor(values), edges, dense(n, edges, values), np.arange(lanes))


def test_infinite_entries_are_not_a_number(make_map):
    n, edges = make_map("planar")
    values = values_of(n, edges, 4, 6)
    values[0, 1] = np.inf
    solver = batch_factoriser(SymmetricPattern(n, edges), "compiled")
    with np.errstate(all="ignore"):
        logdet = solver.factor(values).logdet
    assert not np.isfinite(logdet[1])
    np.testing.assert_allclose(
        logdet[[0, 2, 3]], np.linalg.slogdet(dense(n, edges, values[:, [0, 2, 3]]))[1], rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_clone_is_independent(backend, make_map):
    n, edges = make_map("planar")
    solver = batch_factoriser(SymmetricPattern(n, edges), backend)
    first, second = values_of(n, edges, 5, 7), values_of(n, edges, 5, 8)
    mine = solver.factor(first)
    copy = solver.clone()
    assert type(copy) is type(solver)
    theirs = copy.factor(second)
    assert_is_factor_of(mine, edges, dense(n, edges, first), np.arange(5))
    assert_is_factor_of(theirs, edges, dense(n, edges, second), np.arange(5))


def test_backends_agree_to_rounding(make_map):
    n, edges = make_map("large")
    values = values_of(n, edges, 6, 9)
    b = np.random.default_rng(1).normal(size=(n, 2, 6))
    answers = []
    for backend in ("compiled", "qdldl"):
        factor = batch_factoriser(SymmetricPattern(n, edges), backend).factor(values)
        white = factor.whiten(b)
        answers.append((factor.logdet, factor.unwhiten(white), factor.gram(white), factor.inverse()))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_a_long_path_keeps_its_fill():
    # Fill-in between nodes hundreds of steps apart must not vanish with the tiny numbers that show where it is.
    n = 2000
    ring = np.column_stack([np.arange(n - 1), np.arange(1, n)])
    edges = np.vstack([ring, [[0, n - 1], [0, n // 2]]])
    values = np.concatenate([np.full((n, 2), 2.5), np.full((len(edges), 2), -1.0)])
    values[[0, n // 2]] += 2.0
    factor = batch_factoriser(SymmetricPattern(n, edges), "compiled").factor(values)
    full = dense(n, edges, values)[0]
    inverse = np.linalg.inv(full)
    want = np.concatenate([np.diag(inverse), inverse[edges[:, 0], edges[:, 1]]])
    np.testing.assert_allclose(factor.inverse()[:, 0], want, rtol=1e-9, atol=1e-11)
    assert factor.logdet[1] == pytest.approx(np.linalg.slogdet(full)[1], rel=1e-12)


def test_choice_of_the_backend(monkeypatch):
    pattern = SymmetricPattern(3, np.array([[0, 1]]))
    assert isinstance(batch_factoriser(pattern), CompiledFactoriser)
    assert isinstance(batch_factoriser(pattern, "qdldl"), LoopFactoriser)
    real = builtins.__import__

    def without_numba(name, *args, **kwargs):
        if name == "numba":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_numba)
    assert isinstance(batch_factoriser(pattern), LoopFactoriser)
    with pytest.raises(EngineUnavailable, match="numba"):
        batch_factoriser(pattern, "compiled")
