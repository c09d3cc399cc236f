"""Every backend against dense algebra: determinant, solutions, half solutions, diagonal of the inverse."""

import builtins

import numpy as np
import pytest
from smallarea.errors import EngineUnavailable, ModelProblem
from smallarea.gmrf import SymmetricPattern, factoriser
from smallarea.gmrf.factor import DENSE_LIMIT, DenseFactoriser, QdldlFactoriser, SuperLuFactoriser

BACKENDS = ("qdldl", "splu", "dense")


def entries(n: int, edges: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and edges of a positive definite matrix, by diagonal dominance."""
    rng = np.random.default_rng(seed)
    off = rng.normal(size=len(edges))
    diagonal = rng.uniform(0.05, 1.0, size=n)
    np.add.at(diagonal, edges[:, 0], np.abs(off))
    np.add.at(diagonal, edges[:, 1], np.abs(off))
    return diagonal, off


def dense(edges: np.ndarray, diagonal: np.ndarray, off: np.ndarray | float) -> np.ndarray:
    """Assemble the matrix without the code under test."""
    a = np.diag(diagonal)
    a[edges[:, 0], edges[:, 1]] = a[edges[:, 1], edges[:, 0]] = off
    return a


def assert_is_factor_of(factor, a: np.ndarray, half: bool = True) -> None:
    """Compare everything that a factor offers; relative 1e-10 is 1e4 roundings at condition numbers of about 100."""
    n = len(a)
    inverse = np.linalg.inv(a)
    rng = np.random.default_rng(5)
    np.testing.assert_allclose(factor.logdet, np.linalg.slogdet(a)[1], rtol=1e-11, atol=1e-11)
    one, several = rng.normal(size=n), rng.normal(size=(n, 3))
    np.testing.assert_allclose(factor.solve(one), inverse @ one, rtol=1e-9, atol=1e-10)
    solved = factor.solve(several)
    assert solved.shape == (n, 3)
    np.testing.assert_allclose(solved, inverse @ several, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(factor.diag_inverse(), np.diag(inverse), rtol=1e-10)
    if half:
        # x = H e has the covariance H H': that is A^{-1}, entry by entry, only with the right permutation.
        h = np.column_stack([factor.half_solve(column) for column in np.eye(n)])
        np.testing.assert_allclose(h @ h.T, inverse, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_against_dense_algebra(backend, area_map):
    n, edges = area_map
    diagonal, off = entries(n, edges, 1)
    factor = factoriser(SymmetricPattern(n, edges), backend).factor(diagonal, off)
    assert_is_factor_of(factor, dense(edges, diagonal, off))


@pytest.mark.parametrize("backend", BACKENDS)
def test_refactors_on_the_same_pattern(backend, area_map):
    n, edges = area_map
    solver = factoriser(SymmetricPattern(n, edges), backend)
    # Zeros on every edge come first: a pattern taken from the numbers would lose the edges.
    solver.factor(np.ones(n), 0.0)
    for seed in (2, 3):
        diagonal, off = entries(n, edges, seed)
        assert_is_factor_of(solver.factor(diagonal, off), dense(edges, diagonal, off))
    degrees = np.bincount(edges.ravel(), minlength=n).astype(float)
    # One number for all edges.
    assert_is_factor_of(solver.factor(degrees + 0.3, -0.9), dense(edges, degrees + 0.3, -0.9))


@pytest.mark.parametrize("backend", BACKENDS)
def test_clone_is_independent(backend, make_map):
    n, edges = make_map("planar")
    solver = factoriser(SymmetricPattern(n, edges), backend)
    first, second = entries(n, edges, 4), entries(n, edges, 5)
    mine = solver.factor(*first)
    copy = solver.clone()
    assert copy is not solver
    assert type(copy) is type(solver)
    theirs = copy.factor(*second)
    assert_is_factor_of(mine, dense(edges, *first))
    assert_is_factor_of(theirs, dense(edges, *second))
    assert_is_factor_of(solver.factor(*second), dense(edges, *second))
    assert_is_factor_of(copy.factor(*first), dense(edges, *first))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["lattice", "islands", "one pair"])
def test_indefinite_is_refused_and_the_next_one_works(backend, name, make_map):
    n, edges = make_map(name)
    solver = factoriser(SymmetricPattern(n, edges), backend)
    diagonal, off = entries(n, edges, 6)
    solver.factor(diagonal, off)
    bad = diagonal.copy()
    bad[n // 2] = -1.0
    with pytest.raises(ModelProblem, match="not positive definite"):
        solver.factor(bad, off)
    degrees = np.bincount(edges.ravel(), minlength=n).astype(float)
    with pytest.raises(ModelProblem, match="not positive definite"):
        solver.factor(degrees + 0.01, -1.5)  # indefinite although the diagonal is positive
    assert_is_factor_of(solver.factor(diagonal, off), dense(edges, diagonal, off))


@pytest.mark.parametrize("backend", BACKENDS)
def test_indefinite_at_first(backend, make_map):
    n, edges = make_map("lattice")
    solver = factoriser(SymmetricPattern(n, edges), backend)
    with pytest.raises(ModelProblem, match="not positive definite"):
        solver.factor(-np.ones(n), 0.1)
    diagonal, off = entries(n, edges, 6)
    assert_is_factor_of(solver.factor(diagonal, off), dense(edges, diagonal, off))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", [True, False])
def test_exactly_singular_is_refused(backend, first):
    edges = np.array([[0, 1]])
    solver = factoriser(SymmetricPattern(3, edges), backend)
    if not first:
        solver.factor(np.full(3, 2.0), -1.0)
    with pytest.raises(ModelProblem, match="not positive definite"):
        solver.factor(np.array([1.0, 1.0, 1.0]), -1.0)  # exactly singular, in exact arithmetic too
    with pytest.raises(ModelProblem, match="not positive definite"):
        solver.factor(np.array([1.0, 1.0, 0.0]), 0.5)
    diagonal = np.array([2.0, 3.0, 1.0])
    assert_is_factor_of(solver.factor(diagonal, -1.0), dense(edges, diagonal, -1.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_selected_inverse_where_entries_are_zero(backend, make_map):
    # Responses that nothing couples, or areas without data, leave zeros on the pattern; their places must stay theirs.
    for name in ("planar", "islands", "two components"):
        n, edges = make_map(name)
        rng = np.random.default_rng(9)
        solver = factoriser(SymmetricPattern(n, edges), backend)
        for share in (0.3, 0.9, 1.0):
            diagonal, off = entries(n, edges, 8)
            off[rng.uniform(size=len(off)) < share] = 0.0
            inverse = np.linalg.inv(dense(edges, diagonal, off))
            want = np.concatenate([np.diag(inverse), inverse[edges[:, 0], edges[:, 1]]])
            np.testing.assert_allclose(solver.factor(diagonal, off).inverse_entries(), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_map_once(backend, make_map):
    n, edges = make_map("large")
    degrees = np.bincount(edges.ravel(), minlength=n).astype(float)
    factor = factoriser(SymmetricPattern(n, edges), backend).factor(degrees + 0.02, -1.0)
    assert_is_factor_of(factor, dense(edges, degrees + 0.02, -1.0), half=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_does_not_write_to_its_input(backend, make_map):
    n, edges = make_map("planar")
    diagonal, off = entries(n, edges, 7)
    factor = factoriser(SymmetricPattern(n, edges), backend).factor(diagonal, off)
    one, several = np.ones(n), np.ones((n, 2))
    factor.solve(one)
    factor.solve(several)
    factor.half_solve(one)
    factor.diag_inverse()
    assert np.array_equal(one, np.ones(n))
    assert np.array_equal(several, np.ones((n, 2)))
    assert np.array_equal(diagonal, entries(n, edges, 7)[0])
    # Asking twice gives the same: the diagonal of the inverse must not be made in the factor's own memory.
    assert_is_factor_of(factor, dense(edges, diagonal, off))


def test_pattern_keeps_zeros_and_places_each_edge(make_map):
    n, edges = make_map("islands")
    pattern = SymmetricPattern(n, edges)
    off = np.arange(1.0, len(edges) + 1.0)
    off[3] = 0.0
    upper = pattern.upper(np.zeros(n), off)
    assert upper.nnz == n + len(edges)
    np.testing.assert_array_equal(upper.toarray(), np.triu(dense(edges, np.zeros(n), off)))


def test_choice_of_the_backend(monkeypatch):
    path = np.column_stack([np.arange(99), np.arange(1, 100)])
    large, tiny = SymmetricPattern(100, path), SymmetricPattern(DENSE_LIMIT, path[: DENSE_LIMIT - 1])
    assert isinstance(factoriser(tiny), DenseFactoriser)
    assert isinstance(factoriser(large), QdldlFactoriser)
    assert isinstance(factoriser(tiny, "qdldl"), QdldlFactoriser)
    assert isinstance(factoriser(large, "splu"), SuperLuFactoriser)
    assert isinstance(factoriser(large, "dense"), DenseFactoriser)

    real = builtins.__import__

    def without_qdldl(name, *args, **kwargs):
        if name == "qdldl":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_qdldl)
    assert isinstance(factoriser(large), SuperLuFactoriser)
    with pytest.raises(EngineUnavailable, match="splu"):
        factoriser(large, "qdldl")
