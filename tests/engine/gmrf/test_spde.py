"""The field on a mesh: finite elements by hand, the precision, and its distance to the exact field."""

import numpy as np
import pytest
from scipy import optimize
from smallarea.gmrf import factoriser
from smallarea.gmrf.matern import KAPPA_RANGE, distances, matern_correlation
from smallarea.gmrf.mesh import Mesh, MeshSizes, build_mesh
from smallarea.gmrf.spde import Spde, lumped_mass, mesh_error, stiffness

INSIDE = np.random.default_rng(4).uniform(size=(60, 2))


def by_hand(points, triangles) -> Mesh:
    return Mesh(np.array(points, dtype=float), np.array(triangles), np.ones(len(points), dtype=bool))


def square_mesh(edge: float, extension: float = 0.8) -> Mesh:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return build_mesh(corners, MeshSizes(edge, 0.2, extension))


def dense_stiffness(mesh: Mesh) -> np.ndarray:
    diagonal, off = stiffness(mesh)
    g = np.diag(diagonal)
    i, j = mesh.edges.T
    g[i, j] = g[j, i] = off
    return g


@pytest.fixture(scope="module")
def spde() -> Spde:
    return Spde(square_mesh(0.1, 0.5))


def test_the_reference_triangle():
    mesh = by_hand([[0, 0], [1, 0], [0, 1]], [[0, 1, 2]])
    np.testing.assert_allclose(lumped_mass(mesh), 1.0 / 6.0)
    np.testing.assert_allclose(dense_stiffness(mesh), [[1.0, -0.5, -0.5], [-0.5, 0.5, 0.0], [-0.5, 0.0, 0.5]])


def test_an_equilateral_triangle_of_any_size_and_place():
    # Entries off the diagonal are -cot(60 degrees) / 2; the stiffness has no unit.
    angles = np.radians([10.0, 130.0, 250.0])
    mesh = by_hand(3.0 + 7.0 * np.column_stack([np.cos(angles), np.sin(angles)]), [[0, 1, 2]])
    cot = 1.0 / np.sqrt(3.0)
    np.testing.assert_allclose(dense_stiffness(mesh), cot * (1.5 * np.eye(3) - 0.5), rtol=1e-12)


def test_two_triangles_of_a_rectangle():
    mesh = by_hand([[0, 0], [2, 0], [2, 1], [0, 1]], [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_allclose(lumped_mass(mesh), [2 / 3, 1 / 3, 2 / 3, 1 / 3])
    # Two right angles lie opposite to the diagonal (0, 2): its entry is zero.
    g = [[1.25, -0.25, 0, -1], [-0.25, 1.25, -1, 0], [0, -1, 1.25, -0.25], [-1, 0, -0.25, 1.25]]
    np.testing.assert_allclose(dense_stiffness(mesh), g, atol=1e-14)


def test_identities_of_the_finite_elements(spde):
    mesh = spde.mesh
    g = dense_stiffness(mesh)
    assert lumped_mass(mesh).sum() == pytest.approx(mesh.areas.sum())
    np.testing.assert_allclose(g @ np.ones(mesh.n), 0.0, atol=1e-12)
    # The integral of |grad f|^2 of a linear f is its squared slope times the area.
    slope = np.array([2.0, -0.5])
    f = mesh.points @ slope
    assert f @ g @ f == pytest.approx(slope @ slope * mesh.areas.sum(), rel=1e-12)


def test_the_precision_is_the_product_of_its_definition(spde):
    mesh, spatial_range, sd = spde.mesh, 0.4, 1.7
    kappa = KAPPA_RANGE / spatial_range
    c = lumped_mass(mesh)
    k = kappa**2 * np.diag(c) + dense_stiffness(mesh)
    q = k @ np.diag(1.0 / c) @ k / (4.0 * np.pi * kappa**2 * sd**2)
    found = spde.matrix(spatial_range, sd).toarray()
    np.testing.assert_allclose(found, q, rtol=1e-10, atol=1e-12 * q.max())
    assert np.linalg.eigvalsh(found).min() > 0.0
    assert spde.logdet(spatial_range, sd)[0] == pytest.approx(np.linalg.slogdet(q)[1], rel=1e-10)


def test_many_hyperparameters_at_once_are_those_one_by_one(spde):
    ranges, sds = np.array([0.2, 0.5, 1.0, 0.3, 2.0]), np.array([1.0, 0.3, 2.0, 1.0, 0.7])
    entries, logdet = spde.entries(ranges, sds), spde.logdet(ranges, sds)
    for b in range(5):
        np.testing.assert_allclose(entries[:, b], spde.entries(float(ranges[b]), float(sds[b])))
        assert logdet[b] == pytest.approx(spde.logdet(float(ranges[b]), float(sds[b]))[0])


def test_data_enter_the_precision_through_the_pattern(spde):
    rng = np.random.default_rng(6)
    a = spde.mesh.projector(INSIDE)
    w = rng.uniform(0.5, 3.0, len(INSIDE))
    n = spde.mesh.n
    values = spde.data_entries(a) @ w
    i, j = spde.pattern.edges.T
    found = np.diag(values[:n])
    found[i, j] = found[j, i] = values[n:]
    dense = a.toarray()
    np.testing.assert_allclose(found, dense.T @ np.diag(w) @ dense, atol=1e-12)


def test_the_variance_inside_is_near_that_of_the_field():
    error = mesh_error(Spde(square_mesh(0.03, 1.0)), INSIDE, 0.5)
    assert 0.97 < error.variance_low <= error.variance_high < 1.03


@pytest.mark.parametrize("spatial_range", [0.3, 0.4])
def test_the_error_falls_with_the_square_of_the_edges(spatial_range):
    # From six edges to a range on; coarser meshes are not yet in the regime of the rate.
    edges = np.array([0.05, 0.025, 0.0125])
    errors = [mesh_error(Spde(square_mesh(edge, 1.2)), INSIDE, spatial_range).covariance for edge in edges]
    order = np.diff(np.log(errors)) / np.diff(np.log(edges))
    # Linear elements: h^2 |log h| for the variance at a point, so a little less than 2.
    assert np.all(order > 1.3)
    assert errors[-1] < 0.01


def test_a_wider_extension_takes_the_effect_of_the_border_away():
    narrow, wide = (mesh_error(Spde(square_mesh(0.04, e)), INSIDE, 0.6) for e in (0.1, 0.8))
    assert narrow.variance_high > 1.2
    assert wide.variance_high < 1.03


def test_draws_have_the_covariance_of_the_field():
    spde = Spde(square_mesh(0.06, 0.6))
    values, n = spde.entries(0.5, 1.3), spde.mesh.n
    factor = factoriser(spde.pattern).factor(values[:n], values[n:])
    rng = np.random.default_rng(9)
    a = spde.mesh.projector(INSIDE[:12])
    draws = np.column_stack([a @ factor.half_solve(e) for e in rng.standard_normal((4_000, n))])
    truth = a @ np.linalg.inv(spde.matrix(0.5, 1.3).toarray()) @ a.T
    # Four standard errors of a covariance of 4,000 draws: sqrt((c_ii c_jj + c_ij^2) / S).
    d = np.diag(truth)
    np.testing.assert_array_less(np.abs(np.cov(draws) - truth), 4.0 * np.sqrt((np.outer(d, d) + truth**2) / 4_000))


def kriging(covariance, cross, prior, y, noise):
    solved = np.linalg.solve(covariance + noise * np.eye(len(y)), np.column_stack([y, cross]))
    return cross.T @ solved[:, 0], prior - np.einsum("im,im->m", cross, solved[:, 1:])


def test_kriging_comes_to_the_exact_one_as_the_mesh_gets_finer():
    rng = np.random.default_rng(11)
    where, new = rng.uniform(size=(150, 2)), rng.uniform(size=(50, 2))
    r, noise = 0.5, 0.2
    exact = matern_correlation(distances(where), r)
    y = np.linalg.cholesky(exact + noise * np.eye(150)) @ rng.standard_normal(150)
    mean, variance = kriging(exact, matern_correlation(distances(where, new), r), 1.0, y, noise)
    errors = []
    for edge in (0.12, 0.06, 0.03):
        spde = Spde(square_mesh(edge, 0.8))
        a, b = spde.mesh.projector(where), spde.mesh.projector(new)
        q = spde.matrix(r, 1.0).toarray() + (a.T @ a).toarray() / noise
        both = np.linalg.solve(q, np.column_stack([a.T @ y / noise, b.toarray().T]))
        found = np.einsum("mi,im->m", b.toarray(), both[:, 1:])
        errors.append([np.abs(b @ both[:, 0] - mean).max(), np.abs(found - variance).max()])
    errors = np.array(errors)
    assert np.all(errors[1:] < 0.6 * errors[:-1])
    # Both in units of the field, whose variance is 1; 16 edges to a range are wrong by 0.02 before there are data.
    assert np.all(errors[-1] < 0.02)


def test_range_and_standard_deviation_are_recovered_as_by_the_exact_likelihood():
    rng = np.random.default_rng(21)
    where = rng.uniform(size=(220, 2))
    spde = Spde(square_mesh(0.03, 0.8))
    a = spde.mesh.projector(where)
    truth, noise = np.log([0.4, 1.5]), 0.1
    root = np.linalg.cholesky(2.25 * matern_correlation(distances(where), 0.4) + noise * np.eye(220))

    def on_mesh(p):
        factor = factoriser(spde.pattern)
        values, n = spde.entries(*np.exp(p)), spde.mesh.n
        prior = spde.logdet(*np.exp(p))[0]
        posterior = factor.factor(*np.split(values + spde.data_entries(a) @ np.full(220, 1.0 / noise), [n]))
        b = a.T @ y / noise
        return 0.5 * (posterior.logdet - prior - b @ posterior.solve(b))

    def exact(p):
        c = np.exp(2.0 * p[1]) * matern_correlation(distances(where), float(np.exp(p[0]))) + noise * np.eye(220)
        return 0.5 * (np.linalg.slogdet(c)[1] + y @ np.linalg.solve(c, y))

    found = []
    for _ in range(3):
        y = root @ rng.standard_normal(220)
        options = {"xatol": 1e-3, "fatol": 1e-4}
        ends = [optimize.minimize(f, truth, method="Nelder-Mead", options=options).x for f in (on_mesh, exact)]
        # Where the likelihood is flat the two may differ along its ridge, by little of its width (about 0.25).
        np.testing.assert_allclose(ends[0], ends[1], atol=0.06)
        found.append(ends[0])
    # The standard error of one log range is about 0.25.
    np.testing.assert_allclose(np.mean(found, axis=0), truth, atol=3.0 * 0.25 / np.sqrt(3.0))
