"""CAR and Leroux: entries and determinants against dense algebra, the interpolated ones too."""

import numpy as np
import pytest
from smallarea.errors import GraphProblem
from smallarea.gmrf import CarPrecision, LerouxPrecision, precision

RHOS = (0.0, 0.1, 0.5, 0.9, 0.99, 0.9999, 0.999999)
LINKED = ("path", "lattice", "planar", "two components", "one pair")


def dense(kind: type, w: np.ndarray, rho: float) -> np.ndarray:
    degrees = np.diag(w.sum(axis=1))
    if kind is CarPrecision:
        return degrees - rho * w
    return rho * (degrees - w) + (1.0 - rho) * np.eye(len(w))


def assembled(q, rho: float) -> np.ndarray:
    upper = q.pattern.upper(q.diagonal(rho), q.off_diagonal(rho)).toarray()
    return upper + np.triu(upper, 1).T


def components(w: np.ndarray) -> int:
    """Number of components, by walking."""
    reach = np.linalg.matrix_power(np.minimum(w, 1.0) + np.eye(len(w)), 2) > 0
    for _ in range(len(w).bit_length()):
        reach = (reach.astype(float) @ reach) > 0
    return len(np.unique(reach, axis=0))


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("rho", [-0.9, -0.3, *RHOS])
def test_car_determinant(name, rho, make_map, adjacency):
    n, edges = make_map(name)
    q = CarPrecision(n, edges)
    full = dense(CarPrecision, adjacency(n, edges), rho)
    np.testing.assert_array_equal(assembled(q, rho), full)
    # slogdet loses about cond * eps = 1e6 * 1e-16 at the last rho.
    np.testing.assert_allclose(q.logdet(rho), np.linalg.slogdet(full)[1], rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("rho", RHOS)
def test_leroux_determinant(area_map, rho, adjacency):
    n, edges = area_map
    q = LerouxPrecision(n, edges)
    full = dense(LerouxPrecision, adjacency(n, edges), rho)
    np.testing.assert_allclose(assembled(q, rho), full, atol=1e-15)
    np.testing.assert_allclose(q.logdet(rho), np.linalg.slogdet(full)[1], rtol=1e-11, atol=1e-9)


def test_closed_forms():
    # Two areas: |D - rho W| = 1 - rho^2. Three in a row, Leroux: (1 - rho) (1) (1 + 2 rho), Laplacian spectrum 0, 1, 3.
    pair, row = np.array([[0, 1]]), np.array([[0, 1], [1, 2]])
    for rho in (-0.99, 0.0, 0.5, 1.0 - 1e-12):
        assert CarPrecision(2, pair).logdet(rho) == pytest.approx(np.log1p(-rho) + np.log1p(rho), abs=1e-14)
    for rho in (0.0, 0.5, 1.0 - 1e-12):
        assert LerouxPrecision(3, row).logdet(rho) == pytest.approx(np.log1p(-rho) + np.log1p(2 * rho), abs=1e-14)


@pytest.mark.parametrize("kind", [CarPrecision, LerouxPrecision])
@pytest.mark.parametrize("name", ["lattice", "two components", "islands"])
def test_interpolated_determinant_on_small_maps(kind, name, make_map, adjacency, monkeypatch):
    n, edges = make_map(name)
    if kind is CarPrecision and name == "islands":
        pytest.skip("a CAR has no islands")
    w = adjacency(n, edges)
    exact = kind(n, edges)
    interpolated = kind(n, edges)
    assert interpolated.n_components == components(w)
    # Spread over the whole range: the interpolant is smooth in log(1 - rho), so that is where its error would hide.
    closeness = np.exp(-np.linspace(0.0, 27.0, 200))
    rhos = [*(1.0 - closeness), *([-0.95, -0.4] if kind is CarPrecision else [])]
    truth = np.array([exact.logdet(rho) for rho in rhos])
    monkeypatch.setattr(precision, "EIGENVALUE_LIMIT", 0)
    got = np.array([interpolated.logdet(rho) for rho in rhos])
    # INTERPOLATION_ERROR is for each node; ten times that between the points at which it checks itself. Close to 1
    # the factors that are interpolated are rounded as well: a pivot of 1 - rho is left over from the degrees.
    allowed = 10.0 * precision.INTERPOLATION_ERROR * max(n, abs(float(truth[0])))
    rounding = 4.0 * np.finfo(float).eps * w.sum(axis=1).max() * interpolated.n_components / precision.NEAREST_TO_ONE
    difference = np.abs(got - truth)
    assert difference.max() <= allowed + rounding
    assert difference[np.array(rhos) < 0.999].max() <= allowed


@pytest.mark.parametrize("kind", [CarPrecision, LerouxPrecision])
def test_interpolation_takes_few_factors(kind, make_map, monkeypatch):
    # Rounding near rho = 1 must not be mistaken for an error of the polynomial: that would cost hundreds of factors.
    n, edges = make_map("large in two parts")
    q = kind(n, edges)
    made = []
    real = precision.factoriser

    def counting(pattern):
        solver = real(pattern)
        factor = solver.factor
        solver.factor = lambda *entries: made.append(1) or factor(*entries)
        return solver

    monkeypatch.setattr(precision, "factoriser", counting)
    q.logdet(0.5)
    assert 0 < len(made) <= 8 + 32 + 64 + 128
    made.clear()
    q.logdet(0.9)
    assert not made


@pytest.mark.parametrize("kind", [CarPrecision, LerouxPrecision])
@pytest.mark.parametrize("name", ["large", "large in two parts"])
def test_interpolated_determinant_on_large_maps(kind, name, make_map, adjacency):
    n, edges = make_map(name)
    assert n > precision.EIGENVALUE_LIMIT
    w = adjacency(n, edges)
    q = kind(n, edges)
    for rho in (0.0, 0.3, 0.9, 0.997, 0.99998):
        truth = np.linalg.slogdet(dense(kind, w, rho))[1]
        assert q.logdet(rho) == pytest.approx(truth, abs=1e-6)
    if kind is CarPrecision:
        assert q.logdet(-0.6) == pytest.approx(np.linalg.slogdet(dense(kind, w, -0.6))[1], abs=1e-8)


def test_car_names_its_islands(make_map):
    n, edges = make_map("islands")
    lonely = [i for i in range(n) if i not in edges]
    with pytest.raises(GraphProblem) as caught:
        CarPrecision(n, edges)
    for node in lonely:
        assert str(node) in str(caught.value)
