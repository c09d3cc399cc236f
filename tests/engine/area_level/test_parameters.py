"""Hyperparameters: layout, the way from normal coordinates to correlation matrices and arrays, bounds."""

import itertools

import numpy as np
import pytest
from scipy import special, stats
from smallarea.area_level import LKJ, specify
from smallarea.area_level.hyperparameters import inverse_and_logdet
from smallarea.area_level.parameters import as_arrays, inside, natural_values

NAMES = ("a", "b", "c", "d")


def correlations(k: int, values: np.ndarray) -> np.ndarray:
    """Matrices from the upper triangle by rows, shape (B, K, K)."""
    out = np.repeat(np.eye(k)[None], len(values), axis=0)
    for at, (i, j) in enumerate(itertools.combinations(range(k), 2)):
        out[:, i, j] = out[:, j, i] = values[:, at]
    return out


def sampled(k: int, eta: float, count: int, seed: int) -> np.ndarray:
    """Correlations at independent normal coordinates."""
    model = specify(responses=NAMES[:k], random_effect="iid", priors={"correlation": f"LKJ({eta})"})
    x = np.random.default_rng(seed).standard_normal((count, len(model.layout)))
    return natural_values(model.layout, model.priors, k, x)[:, k:]


@pytest.mark.parametrize("eta", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_lkj_marginals(k, eta):
    # Lewandowski, Kurowicka and Joe (2009): every correlation is Beta(eta + (K - 2) / 2) on (-1, 1).
    values = sampled(k, eta, 20_000, 1)
    assert np.linalg.eigvalsh(correlations(k, values))[:, 0].min() > 0.0
    shape = eta + 0.5 * (k - 2)
    for column in values.T:
        # 9 cases and up to 6 correlations: one false alarm in 20,000.
        assert stats.kstest(0.5 * (column + 1.0), stats.beta(shape, shape).cdf).pvalue > 1e-6


@pytest.mark.parametrize(("k", "eta"), [(3, 1.0), (3, 2.0), (4, 2.0), (4, 3.5)])
def test_lkj_joint_density(k, eta):
    """Expectations against a simulation from the density itself: uniform matrices weighted by |R|^(eta - 1)."""
    values = sampled(k, eta, 40_000, 2)
    rng = np.random.default_rng(3)
    flat = rng.uniform(-1.0, 1.0, size=(400_000, k * (k - 1) // 2))
    matrices = correlations(k, flat)
    definite = np.linalg.eigvalsh(matrices)[:, 0] > 0.0
    flat, matrices = flat[definite], matrices[definite]
    weight = np.linalg.det(matrices) ** (eta - 1.0)
    weight /= weight.sum()
    size = 1.0 / np.sum(weight**2)

    def statistics(r: np.ndarray) -> np.ndarray:
        determinant = np.linalg.det(correlations(k, r))
        rows = [determinant, determinant**2, r[:, 0] * r[:, 1], (r[:, 0] * r[:, 1]) ** 2]
        rows += [r[:, 0] * r[:, 1] * r[:, k - 1], np.abs(r[:, 0] - r[:, -1]), (r[:, 0] * r[:, -1]) ** 2]
        return np.array(rows)

    theirs, ours = statistics(flat), statistics(values)
    want = theirs @ weight
    spread = np.sqrt((theirs - want[:, None]) ** 2 @ weight)
    error = spread * np.sqrt(1.0 / size + 1.0 / len(values))
    assert np.all(np.abs(ours.mean(axis=1) - want) < 5.0 * error)


def test_partial_correlations_are_what_they_are_called():
    # The coordinate of (i, j) drives the correlation of i and j given the responses before i.
    x = np.random.default_rng(4).standard_normal((50, 6))
    model = specify(responses=NAMES, random_effect="iid", priors={f"sd_delta[{n}]": "Fixed(1)" for n in NAMES})
    values = natural_values(model.layout, model.priors, 4, x)[:, 4:]
    for r, coordinates in zip(correlations(4, values), x, strict=True):
        for at, (i, j) in enumerate(itertools.combinations(range(4), 2)):
            rows = [*range(i), i, j]
            precision = np.linalg.inv(r[np.ix_(rows, rows)])
            partial = -precision[-2, -1] / np.sqrt(precision[-2, -2] * precision[-1, -1])
            shape = 2.0 + 0.5 * (4 - 2 - i)
            want = 2.0 * special.betaincinv(shape, shape, special.ndtr(coordinates[at])) - 1.0
            assert partial == pytest.approx(want, abs=1e-9)


def test_two_responses_may_have_any_prior_of_their_correlation():
    for text, distribution in (("LKJ(2)", stats.beta(2, 2, -1, 2)), ("Uniform(-1, 0.5)", stats.uniform(-1.0, 1.5))):
        model = specify(responses=NAMES[:2], priors={"correlation": text})
        x = np.zeros((9, len(model.layout)))
        at = model.hyperparameters.index("correlation[a,b]")
        x[:, at] = np.linspace(-3.0, 3.0, 9)
        values = natural_values(model.layout, model.priors, 2, x)
        np.testing.assert_allclose(values[:, at], distribution.ppf(stats.norm.cdf(x[:, at])), rtol=1e-9, atol=1e-12)
    assert LKJ(2.0).partial(0, 2) == LKJ(2.0)


def test_fixed_ones_take_no_coordinate():
    model = specify(responses=NAMES[:2], priors={"rho": "Fixed(0.4)", "sd_delta[b]": "Fixed(0.1)"})
    free = len(model.layout) - 2
    values = natural_values(model.layout, model.priors, 2, np.full((3, free), 0.0))
    found = dict(zip(model.hyperparameters, values[0].tolist(), strict=True))
    assert found["rho"] == 0.4
    assert found["sd_delta[b]"] == 0.1
    median = stats.halfnorm.median()
    assert found["sd_phi[a]"] == found["sd_phi[b]"] == found["sd_delta[a]"] == pytest.approx(median)
    assert found["correlation[a,b]"] == pytest.approx(0.0, abs=1e-12)


def test_layouts():
    def names(**arguments) -> tuple[str, ...]:
        return specify(**arguments).hyperparameters

    two, three = {"responses": ("a", "b")}, {"responses": ("a", "b", "c")}
    assert names(**two) == ("sd_phi[a]", "sd_phi[b]", "rho", "sd_delta[a]", "sd_delta[b]", "correlation[a,b]")
    assert names(**two, link="independent") == (
        *("sd_phi[a]", "sd_phi[b]", "rho[a]", "rho[b]", "sd_delta[a]", "sd_delta[b]"),
    )
    assert names(**two, link="chain", order=("b", "a"), iid_part=False) == (
        *("sd_phi[a]", "sd_phi[b]", "rho[a]", "rho[b]", "eta0[b,a]", "eta1[b,a]"),
    )
    assert names(**three, random_effect="iid") == (
        *("sd_delta[a]", "sd_delta[b]", "sd_delta[c]"),
        *("correlation[a,b]", "correlation[a,c]", "correlation[b,c]"),
    )
    assert names(**three, random_effect="leroux", link="chain")[6:] == (
        *("eta0[a,b]", "eta1[a,b]", "eta0[b,c]", "eta1[b,c]"),
    )
    assert names(**two, random_effect="icar") == (
        *("sd_phi[a]", "sd_phi[b]", "sd_delta[a]", "sd_delta[b]", "correlation[a,b]"),
    )
    assert names(**two, random_effect="bym2") == ("sd_phi[a]", "sd_phi[b]", "rho", "correlation[a,b]")


def test_arrays():
    model = specify(responses=("a", "b", "c"), random_effect="car", link="chain", order=("c", "a", "b"))
    values = np.arange(2.0 * len(model.layout)).reshape(2, -1)
    at = dict(zip(model.hyperparameters, values.T, strict=True))
    hyper = as_arrays(model.layout, (2, 0, 1), 3, values)
    assert hyper.size == 2
    for k, name in enumerate("abc"):
        np.testing.assert_array_equal(hyper.sd_phi[k], at[f"sd_phi[{name}]"])
        np.testing.assert_array_equal(hyper.rho[k], at[f"rho[{name}]"])
        np.testing.assert_array_equal(hyper.sd_delta[k], at[f"sd_delta[{name}]"])
    # By position in the chain: c given a, then a given b.
    np.testing.assert_array_equal(hyper.eta0, [at["eta0[c,a]"], at["eta0[a,b]"]])
    np.testing.assert_array_equal(hyper.eta1, [at["eta1[c,a]"], at["eta1[a,b]"]])
    np.testing.assert_array_equal(hyper.correlation, np.repeat(np.eye(3)[:, :, None], 2, axis=2))
    model = specify(responses=("a", "b"))
    hyper = as_arrays(model.layout, (), 2, np.array([[1.0, 2.0, 0.9, 0.1, 0.2, -0.5]]))
    np.testing.assert_array_equal(hyper.rho, [[0.9], [0.9]])
    np.testing.assert_allclose(hyper.covariance(hyper.sd_phi)[..., 0], [[1.0, -1.0], [-1.0, 4.0]])


def test_inside():
    model = specify(responses=("a", "b"), link="chain")
    good = np.array([1.0, 1.0, 0.5, -0.5, 0.1, 0.1, -3.0, 4.0])
    names = model.hyperparameters
    rows = [good]
    for name, value in (
        ("sd_phi[a]", 0.0),
        ("sd_delta[b]", 0.0),
        ("rho[a]", 1.0),
        ("rho[b]", -1.0),
        ("eta0[a,b]", np.inf),
        ("sd_phi[b]", np.nan),
    ):
        row = good.copy()
        row[names.index(name)] = value
        rows.append(row)
    rows.append(np.where([n.startswith("eta") for n in names], 0.0, good))
    assert inside(model.layout, np.array(rows)).tolist() == [True, *[False] * 6, True]
    separable = specify(responses=("a", "b"), random_effect="iid")
    assert inside(separable.layout, np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -0.999]])).tolist() == [False, True]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_inverse_and_logdet(k):
    rng = np.random.default_rng(5)
    root = rng.normal(size=(6, 7, k, k + 1))
    matrices = root @ root.swapaxes(-1, -2)
    inverse, logdet = inverse_and_logdet(np.moveaxis(matrices, (-2, -1), (0, 1)))
    assert inverse.shape == (k, k, 6, 7)
    np.testing.assert_allclose(np.moveaxis(inverse, (0, 1), (-2, -1)), np.linalg.inv(matrices), rtol=1e-7)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(matrices)[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_inverse_of_what_is_not_definite(k):
    # Negative definite matrices of even dimension have a positive determinant; two negative eigenvalues as well.
    bad = [-np.eye(k), np.diag([0.0] + [1.0] * (k - 1))]
    if k > 1:
        bad += [np.full((k, k), 2.0) - np.eye(k), np.diag([-1.0, -1.0] + [1.0] * (k - 2))]
    matrices = np.stack([np.eye(k), *bad, 2.0 * np.eye(k)], axis=-1)
    with np.errstate(all="ignore"):
        inverse, logdet = inverse_and_logdet(matrices)
    assert np.isnan(logdet[1:-1]).all()
    assert np.isnan(inverse[..., 1:-1]).any(axis=(0, 1)).all()
    np.testing.assert_allclose(logdet[[0, -1]], [0.0, k * np.log(2.0)], atol=1e-14)
    np.testing.assert_allclose(inverse[..., -1], 0.5 * np.eye(k))
