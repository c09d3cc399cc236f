"""Known limits of the models, and changes of the input that must not change the answer."""

import itertools

import numpy as np
import pytest
from smallarea.area_level import StandardisedData, build_model, specify, stack
from smallarea.areas import AreaGraph

TWO, THREE = ("a", "b"), ("a", "b", "c")
SDS = {"sd_phi[a]": 0.8, "sd_phi[b]": 1.3, "sd_delta[a]": 0.4, "sd_delta[b]": 0.2}


def evaluate(model, data, graph, hyper, arrays) -> dict[str, np.ndarray]:
    """Likelihood, means and covariances at one set of hyperparameters."""
    collapsed = build_model(model, data, graph)
    given = collapsed.condition(arrays(model, [hyper]))
    moments = collapsed.moments(given)
    total, known = moments.covariances
    return {
        "log_likelihood": given.log_likelihood[0],
        "beta": given.beta[:, 0],
        "theta": moments.theta[..., 0],
        "covariance": total[..., 0],
        "known": known[..., 0],
    }


def assert_same(one: dict, other: dict, tolerance: float = 1e-9) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture
def two(planar_graph, stacked):
    """Map with islands and two responses with gaps and sampling covariances."""
    graph = planar_graph(45, islands=2)
    return graph, stacked(graph, 2, "component", coupled=True)


@pytest.mark.parametrize("effect", ["car", "leroux", "bym2", "icar", "iid"])
def test_separable_without_correlation_is_independent(effect, two, arrays):
    graph, data = two
    rho = {} if effect in ("iid", "icar") else {"rho": 0.9, "rho[a]": 0.9, "rho[b]": 0.9}
    given = {**SDS, **rho, "correlation[a,b]": 0.0}
    answers = []
    for link in ("separable", "independent"):
        model = specify(responses=TWO, random_effect=effect, link=link, iid_part=True)
        answers.append(evaluate(model, data, graph, {n: given[n] for n in model.hyperparameters}, arrays))
    assert_same(*answers)


@pytest.mark.parametrize("effect", ["car", "leroux"])
def test_chain_without_links_is_independent(effect, two, arrays):
    graph, data = two
    rho = {"rho[a]": 0.9, "rho[b]": 0.6}
    independent = specify(responses=TWO, random_effect=effect, link="independent", iid_part=True)
    want = evaluate(independent, data, graph, {**SDS, **rho}, arrays)
    for order in (("a", "b"), ("b", "a")):
        model = specify(responses=TWO, random_effect=effect, link="chain", order=order, iid_part=True)
        none = {f"eta{i}[{order[0]},{order[1]}]": 0.0 for i in (0, 1)}
        assert_same(evaluate(model, data, graph, {**SDS, **rho, **none}, arrays), want)


@pytest.mark.parametrize("effect", ["car", "leroux"])
@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_chain_of_one_rho_within_areas_is_separable(effect, order, two, arrays):
    # Jin, Carlin and Banerjee (2005): with phi_2 ~ s_2 Q^{-1/2} and phi_1 = eta0 phi_2 + s_1 Q^{-1/2} the covariance
    # between responses is [[s_1^2 + eta0^2 s_2^2, eta0 s_2^2], [., s_2^2]].
    graph, data = two
    first, second = order
    correlation, rho = -0.7, 0.85
    separable = specify(responses=TWO, random_effect=effect, link="separable", iid_part=True)
    want = evaluate(separable, data, graph, {**SDS, "rho": rho, "correlation[a,b]": correlation}, arrays)
    chain = specify(responses=TWO, random_effect=effect, link="chain", order=order, iid_part=True)
    marginal, conditional = SDS[f"sd_phi[{second}]"], SDS[f"sd_phi[{first}]"]
    hyper = {
        **SDS,
        f"sd_phi[{first}]": conditional * np.sqrt(1.0 - correlation**2),
        "rho[a]": rho,
        "rho[b]": rho,
        f"eta0[{first},{second}]": correlation * conditional / marginal,
        f"eta1[{first},{second}]": 0.0,
    }
    assert_same(evaluate(chain, data, graph, hyper, arrays), want)


@pytest.mark.parametrize("link", ["independent", "separable"])
def test_leroux_and_bym2_without_space_are_iid(link, two, arrays):
    graph, data = two
    iid = specify(responses=TWO, random_effect="iid", link=link)
    hyper = {"sd_delta[a]": 0.8, "sd_delta[b]": 1.3, "correlation[a,b]": 0.4}
    want = evaluate(iid, data, graph, {n: hyper[n] for n in iid.hyperparameters}, arrays)
    given = {"sd_phi[a]": 0.8, "sd_phi[b]": 1.3, "correlation[a,b]": 0.4}
    for effect, rho in (("leroux", 0.0), ("bym2", 1e-12)):
        given |= {"rho": rho, "rho[a]": rho, "rho[b]": rho}
        model = specify(responses=TWO, random_effect=effect, link=link)
        assert_same(evaluate(model, data, graph, {n: given[n] for n in model.hyperparameters}, arrays), want)


def test_bym2_of_space_alone_is_a_scaled_icar(planar_graph, stacked, arrays):
    # One component: the scale is one number, the geometric mean of the variances of the intrinsic CAR.
    graph = AreaGraph.from_edges([f"a{i}" for i in range(12)], [(i, i + 1) for i in range(11)] + [(0, 5), (3, 9)])
    data = stacked(graph, 2, "scattered", coupled=True)
    w = graph.adjacency.toarray()
    scale = np.exp(np.mean(np.log(np.diag(np.linalg.pinv(np.diag(w.sum(axis=1)) - w)))))
    rest = {"correlation[a,b]": 0.4, "sd_delta[a]": 0.4, "sd_delta[b]": 0.2}
    bym2 = specify(responses=TWO, random_effect="bym2", iid_part=True)
    icar = specify(responses=TWO, random_effect="icar", iid_part=True)
    one = evaluate(bym2, data, graph, {**rest, "sd_phi[a]": 0.8, "sd_phi[b]": 1.3, "rho": 1.0 - 1e-12}, arrays)
    sds = {"sd_phi[a]": 0.8 / np.sqrt(scale), "sd_phi[b]": 1.3 / np.sqrt(scale)}
    assert_same(one, evaluate(icar, data, graph, {**rest, **sds}, arrays))


def test_leroux_close_to_one_is_an_icar(planar_graph, stacked, arrays):
    # With an intercept, what the proper field does to the mean of a connected map is lost; likelihoods differ by the
    # variance of that mean, which the flat prior of the intercept does not see.
    graph = AreaGraph.from_edges([f"a{i}" for i in range(12)], [(i, i + 1) for i in range(11)] + [(0, 5), (3, 9)])
    data = stacked(graph, 1)
    hyper = {"sd_phi": 0.8, "sd_delta": 0.3}
    leroux = evaluate(specify(random_effect="leroux", iid_part=True), data, graph, {**hyper, "rho": 1.0 - 1e-7}, arrays)
    icar = evaluate(specify(random_effect="icar", iid_part=True), data, graph, hyper, arrays)
    for name in ("log_likelihood", "theta", "covariance"):
        np.testing.assert_allclose(leroux[name], icar[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("effect", ["car", "leroux", "bym2", "icar", "iid"])
def test_one_response_is_the_same_through_each_link(effect, planar_graph, stacked, arrays):
    graph = planar_graph(30, islands=2)
    data = stacked(graph, 1)
    hyper = {"sd_phi": 0.7, "rho": 0.8, "sd_delta": 0.3}
    links = ["separable", "independent", "chain"] if effect in ("car", "leroux") else ["separable", "independent"]
    models = [specify(random_effect=effect, link=link, iid_part=True) for link in links]
    assert all(model == models[0] for model in models)
    answers = [evaluate(m, data, graph, {n: hyper[n] for n in m.hyperparameters}, arrays) for m in models]
    for other in answers[1:]:
        assert_same(answers[0], other)


def settings(effect: str, link: str, names: tuple[str, ...], order: tuple[str, ...]) -> dict[str, float]:
    """Hyperparameters that belong to responses by their names, in whatever order these come."""
    rng = np.random.default_rng(12)
    out = {"rho": 0.9}
    for name in sorted(names):
        out |= {f"sd_phi[{name}]": rng.uniform(0.4, 1.5), f"sd_delta[{name}]": rng.uniform(0.1, 0.6)}
        out[f"rho[{name}]"] = rng.uniform(0.3, 0.97)
    for i, one in enumerate(sorted(names)):
        for other in sorted(names)[i + 1 :]:
            out[f"correlation[{one},{other}]"] = out[f"correlation[{other},{one}]"] = rng.uniform(-0.4, 0.4)
    for one, other in itertools.pairwise(order):
        out |= {f"eta0[{one},{other}]": rng.normal(), f"eta1[{one},{other}]": 0.2 * rng.normal()}
    return out


@pytest.mark.parametrize(
    ("effect", "link"),
    [("iid", "separable"), ("car", "separable"), ("car", "chain"), ("leroux", "chain"), ("bym2", "separable")],
)
def test_order_of_responses_does_not_matter(effect, link, planar_graph, stacked, arrays):
    graph = planar_graph(30, islands=2)
    data = stacked(graph, 3, "component", coupled=True)
    order = ("b", "c", "a") if link == "chain" else ()
    hyper = settings(effect, link, THREE, order)
    first = specify(responses=THREE, random_effect=effect, link=link, order=order, iid_part=True)
    one = evaluate(first, data, graph, {n: hyper[n] for n in first.hyperparameters}, arrays)
    turned = [2, 0, 1]
    names = tuple(THREE[k] for k in turned)
    sd = np.sqrt(np.einsum("nkk->nk", data.covariance))
    with np.errstate(invalid="ignore"):
        correlation = data.covariance / (sd[:, :, None] * sd[:, None, :])
    again = stack([data.responses[k] for k in turned], correlation[:, turned][:, :, turned])
    second = specify(responses=names, random_effect=effect, link=link, order=order, iid_part=True)
    other = evaluate(second, again, graph, {n: hyper[n] for n in second.hyperparameters}, arrays)
    assert other["log_likelihood"] == pytest.approx(one["log_likelihood"], abs=1e-9)
    np.testing.assert_allclose(other["theta"], one["theta"][:, turned], rtol=0, atol=1e-9)
    np.testing.assert_allclose(other["covariance"], one["covariance"][:, turned][:, :, turned], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("effect", "link"),
    [("iid", "separable"), ("car", "separable"), ("car", "chain"), ("bym2", "separable"), ("icar", "independent")],
)
def test_order_of_areas_does_not_matter(effect, link, planar_graph, stacked, arrays):
    graph = planar_graph(40, islands=2)
    data = stacked(graph, 2, "component", coupled=True)
    rng = np.random.default_rng(3)
    order = rng.permutation(40)
    again = stack(
        [
            StandardisedData(
                r.y[order], r.v[order], r.x[order], r.sampled[order], 0.0, 1.0, r.x_location, r.x_scale, True
            )
            for r in data.responses
        ],
        _correlations(data)[order],
    )
    moved = graph.reorder([graph.ids[i] for i in order])
    model = specify(responses=TWO, random_effect=effect, link=link, iid_part=True)
    hyper = settings(effect, link, TWO, model.order)
    hyper = {n: hyper[n] for n in model.hyperparameters}
    one, other = evaluate(model, data, graph, hyper, arrays), evaluate(model, again, moved, hyper, arrays)
    assert other["log_likelihood"] == pytest.approx(one["log_likelihood"], abs=1e-9)
    np.testing.assert_allclose(other["beta"], one["beta"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(other["theta"], one["theta"][order], rtol=0, atol=1e-9)
    np.testing.assert_allclose(other["covariance"], one["covariance"][order], rtol=0, atol=1e-9)


def _correlations(data) -> np.ndarray:
    sd = np.sqrt(np.einsum("nkk->nk", data.covariance))
    with np.errstate(invalid="ignore"):
        return data.covariance / (sd[:, :, None] * sd[:, None, :])


def _with_row(data, at: int) -> StandardisedData:
    """Repeat the covariates of an area for a further area without data."""
    return StandardisedData(
        np.r_[data.y, np.nan],
        np.r_[data.v, np.nan],
        np.vstack([data.x, data.x[at]]),
        np.r_[data.sampled, False],
        data.location,
        data.scale,
        data.x_location,
        data.x_scale,
        data.intercept,
    )


@pytest.mark.parametrize(
    ("effect", "link"),
    [
        ("iid", "separable"),
        ("car", "separable"),
        ("car", "chain"),
        ("leroux", "chain"),
        ("leroux", "separable"),
        ("bym2", "separable"),
        ("icar", "separable"),
    ],
)
def test_an_island_without_data_changes_nobody(effect, link, planar_graph, stacked, arrays):
    graph = planar_graph(30, islands=1)
    data = stacked(graph, 2, "component", coupled=True)
    model = specify(responses=TWO, random_effect=effect, link=link, iid_part=True)
    hyper = settings(effect, link, TWO, model.order)
    hyper = {n: hyper[n] for n in model.hyperparameters}
    one = evaluate(model, data, graph, hyper, arrays)
    more = AreaGraph.from_edges([*graph.ids, "new"], graph.edges)
    padded = np.concatenate([_correlations(data), np.eye(2)[None]])
    bigger = stack([_with_row(r, 3) for r in data.responses], padded)
    other = evaluate(model, bigger, more, hyper, arrays)
    for name in ("log_likelihood", "beta"):
        np.testing.assert_allclose(other[name], one[name], rtol=0, atol=1e-9)
    for name in ("theta", "covariance", "known"):
        np.testing.assert_allclose(other[name][:-1], one[name], rtol=0, atol=1e-9, err_msg=name)


def test_a_linked_area_without_data_and_without_pull_changes_nobody(planar_graph, stacked, arrays):
    # Integrating a leaf out of an intrinsic field leaves the field of the others, and the flat intercept takes up that
    # the sum to zero now counts one area more. (In a proper field the degree of the area that it hangs on counts.)
    graph = AreaGraph.from_edges([f"a{i}" for i in range(12)], [(i, i + 1) for i in range(11)] + [(0, 5), (3, 9)])
    data = stacked(graph, 2, "scattered", coupled=True)
    more = AreaGraph.from_edges([*graph.ids, "new"], [*graph.edges.tolist(), (4, 12)])
    bigger = stack([_with_row(r, 3) for r in data.responses], np.concatenate([_correlations(data), np.eye(2)[None]]))
    model = specify(responses=TWO, random_effect="icar")
    hyper = {**SDS, "correlation[a,b]": 0.5}
    one, other = evaluate(model, data, graph, hyper, arrays), evaluate(model, bigger, more, hyper, arrays)
    assert other["log_likelihood"] == pytest.approx(one["log_likelihood"], abs=1e-9)
    np.testing.assert_allclose(other["theta"][:-1], one["theta"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(other["covariance"][:-1], one["covariance"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("effect", "link"), [("car", "separable"), ("car", "chain"), ("bym2", "separable")])
def test_the_scale_of_a_response_goes_with_its_hyperparameters(effect, link, planar_graph, stacked, arrays):
    # Another unit of the second response: its SDs, links and moments scale, and the likelihood by the Jacobian.
    graph = planar_graph(30, islands=1)
    data = stacked(graph, 2, "scattered", coupled=True)
    factor = 7.0
    a, b = data.responses
    moved = StandardisedData(
        factor * b.y, factor**2 * b.v, b.x, b.sampled, b.location, b.scale, b.x_location, b.x_scale, True
    )
    model = specify(responses=TWO, random_effect=effect, link=link, iid_part=True)
    hyper = settings(effect, link, TWO, model.order)
    hyper = {n: hyper[n] for n in model.hyperparameters}
    scaled = {n: factor * v if n.startswith("sd") and n.endswith("[b]") else v for n, v in hyper.items()}
    scaled = {n: v / factor if n.startswith("eta") else v for n, v in scaled.items()}
    one = evaluate(model, data, graph, hyper, arrays)
    other = evaluate(model, stack([a, moved], _correlations(data)), graph, scaled, arrays)
    free = b.sampled.sum() - b.x.shape[1]
    assert other["log_likelihood"] == pytest.approx(one["log_likelihood"] - free * np.log(factor), abs=1e-8)
    scales = np.array([1.0, factor])
    np.testing.assert_allclose(other["theta"], one["theta"] * scales, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other["covariance"], one["covariance"] * np.outer(scales, scales), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("effect", ["icar", "bym2"])
def test_a_component_that_says_almost_nothing_is_one_without_data(effect, planar_graph, stacked, arrays):
    """Sampling variances of 1e8 to 1e20 in a whole component: in the limit its cells are not observed."""
    graph = planar_graph(30, islands=1)
    data = stacked(graph, 1, "none")
    labels = np.asarray(graph.component_labels)
    small = labels == np.argsort(np.bincount(labels))[-2]
    model = specify(random_effect=effect, iid_part=True)
    hyper = {"sd_phi": 0.7, "rho": 0.8, "sd_delta": 0.3}
    hyper = {n: hyper[n] for n in model.hyperparameters}

    def with_variance(v: float):
        (r,) = data.responses
        y, variance, sampled = r.y.copy(), r.v.copy(), r.sampled.copy()
        y[small], variance[small] = (0.0, v) if np.isfinite(v) else (np.nan, np.nan)
        sampled[small] = np.isfinite(v)
        return stack([StandardisedData(y, variance, r.x, sampled, 0.0, 1.0, r.x_location, r.x_scale, True)])

    want = evaluate(model, with_variance(np.nan), graph, hyper, arrays)
    for v in (1e8, 1e12, 1e16, 1e20):
        got = evaluate(model, with_variance(v), graph, hyper, arrays)
        density = -0.5 * small.sum() * np.log(2 * np.pi * v)
        assert got["log_likelihood"] == pytest.approx(want["log_likelihood"] + density, abs=1e-5), v
        np.testing.assert_allclose(got["theta"], want["theta"], rtol=0, atol=1e-5, err_msg=str(v))
        np.testing.assert_allclose(got["covariance"], want["covariance"], rtol=1e-5, atol=1e-5, err_msg=str(v))
