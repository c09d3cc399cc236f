"""The collapsed model against dense algebra: likelihoods, moments and draws of every model that can be specified."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from dense_model import truth
from smallarea.area_level import AreaLevelSpecification, CollapsedModel, build_model, specify
from smallarea.areas import AreaGraph
from smallarea.errors import GraphProblem

SOLVERS = ("compiled", "qdldl", "splu", "dense")
NAMES = ("a", "b", "c")
# Ordinary, extreme, and near the boundaries; correlations by pair, positive definite for three responses too.
SD_PHI = ((0.7, 1.1, 0.4), (2.5, 0.3, 1.0), (0.05, 0.9, 2.0))
RHO = ((0.9, 0.5, 0.2), (0.05, 0.99, 0.6), (0.9995, 0.01, 0.97))
SD_DELTA = ((0.3, 0.6, 0.2), (0.01, 0.5, 1.0), (1.4, 0.02, 0.3))
CORRELATION = ((0.5, -0.3, 0.2), (-0.95, 0.1, -0.15), (0.9, 0.7, 0.8))
ETA0 = ((0.6, -0.4), (-1.5, 0.2), (0.0, 2.0))
ETA1 = ((0.2, 0.1), (0.05, -0.3), (-0.4, 0.0))


def admissible() -> list[tuple[str, str, int, tuple[int, ...], bool]]:
    """Every (effect, link, K, order, iid part) that makes a model."""
    out = []
    for effect, k in itertools.product(("iid", "car", "leroux", "bym2", "icar"), (1, 2, 3)):
        for iid in (True,) if effect == "iid" else (True, False):
            links = ("separable",) if k == 1 else ("independent", "separable")
            out += [(effect, link, k, (), iid) for link in links]
            if effect in ("car", "leroux") and k > 1:
                out += [(effect, "chain", k, order, iid) for order in itertools.permutations(range(k))]
    return out


MODELS = admissible()


def describe(effect: str, link: str, k: int, order: tuple[int, ...], iid: bool) -> AreaLevelSpecification:
    return specify(
        ["x"],
        responses=NAMES[:k],
        random_effect=effect,
        link=link,
        order=[NAMES[i] for i in order],
        iid_part=iid,
    )


def values_of(model: AreaLevelSpecification, case: int) -> dict[str, float]:
    """One set of hyperparameters by name."""
    found = {}
    pairs = list(itertools.combinations(range(len(model.responses)), 2))
    for parameter in model.layout:
        mine = parameter.responses or (0,)
        if parameter.kind == "correlation":
            # The pairs of two responses are the first of those of three.
            found[parameter.name] = CORRELATION[case][pairs.index(mine)]
        elif parameter.kind in ("eta0", "eta1"):
            table = ETA0 if parameter.kind == "eta0" else ETA1
            found[parameter.name] = table[case][model.order.index(model.responses[mine[0]])]
        else:
            table = {"sd_phi": SD_PHI, "rho": RHO, "sd_delta": SD_DELTA}[parameter.kind]
            found[parameter.name] = table[case][mine[0]]
    return found


def set_up(case, n: int, planar_graph, stacked, missing: str, coupled: bool, solver: str = "auto"):
    effect, _, k, _, iid = case
    # Effects that leave islands out need an iid part on them.
    islands = 3 if iid or effect in ("leroux", "bym2") else 0
    graph = planar_graph(n, islands)
    model = describe(*case)
    data = stacked(graph, k, missing, coupled)
    return model, data, graph, build_model(model, data, graph, solver)


def name_of(case) -> str:
    effect, link, k, order, iid = case
    return f"{effect}{'+iid' if iid and effect != 'iid' else ''} {link} {k} {''.join(map(str, order))}".strip()


def compare(model, data, graph, collapsed: CollapsedModel, hypers: list[Mapping[str, float]], arrays) -> None:
    k = data.shape[1]
    given = collapsed.condition(arrays(model, hypers))
    moments = collapsed.moments(given)
    total, known = moments.covariances
    for lane, hyper in enumerate(hypers):
        want = truth(model, data, graph, hyper)
        assert given.log_likelihood[lane] == pytest.approx(want.log_likelihood, rel=0, abs=1e-8)
        p = len(want.beta)
        np.testing.assert_allclose(given.beta[:, lane], want.beta, rtol=0, atol=1e-8)
        np.testing.assert_allclose(given.beta_covariance[..., lane], want.covariance[:p, :p], rtol=1e-9, atol=1e-9)
        root = given.beta_root[..., lane]
        np.testing.assert_allclose(root @ root.T, want.covariance[:p, :p], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(moments.theta[..., lane].ravel(), want.theta, rtol=0, atol=1e-8)
        np.testing.assert_allclose(moments.synthetic[..., lane].ravel(), want.synthetic, rtol=0, atol=1e-8)
        np.testing.assert_allclose(known[..., lane], want.area_blocks(k, known=True), rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(total[..., lane], want.area_blocks(k), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("coupled", [False, True], ids=["", "coupled"])
@pytest.mark.parametrize("case", MODELS, ids=name_of)
def test_every_model_on_every_solver(case, coupled, planar_graph, stacked, arrays):
    if coupled and case[2] == 1:
        pytest.skip("one response has no sampling covariance")
    n = {1: 60, 2: 40, 3: 32}[case[2]]
    for solver in SOLVERS:
        model, data, graph, collapsed = set_up(case, n, planar_graph, stacked, "component", coupled, solver)
        compare(model, data, graph, collapsed, [values_of(model, i) for i in range(3)], arrays)


@pytest.mark.parametrize("missing", ["none", "scattered"])
@pytest.mark.parametrize(
    "case",
    [
        ("iid", "separable", 1, (), True),
        ("iid", "separable", 3, (), True),
        ("car", "separable", 1, (), True),
        ("car", "separable", 2, (), True),
        ("car", "chain", 2, (1, 0), True),
        ("leroux", "chain", 3, (2, 0, 1), False),
        ("bym2", "separable", 1, (), False),
        ("bym2", "separable", 2, (), False),
        ("icar", "independent", 2, (), True),
    ],
    ids=name_of,
)
def test_on_a_map_of_115_areas(case, missing, planar_graph, stacked, arrays):
    model, data, graph, collapsed = set_up(case, 115, planar_graph, stacked, missing, case[2] > 1)
    compare(model, data, graph, collapsed, [values_of(model, i) for i in range(3)], arrays)


@pytest.mark.parametrize("lanes", [1, 3, 4, 5, 17])
def test_a_batch_is_its_members_one_by_one(lanes, planar_graph, stacked, arrays):
    model, _, _, collapsed = set_up(("car", "chain", 2, (0, 1), True), 30, planar_graph, stacked, "scattered", True)
    rng = np.random.default_rng(2)
    hypers = []
    for _ in range(lanes):
        base = values_of(model, int(rng.integers(3)))
        hypers.append({name: 0.9 * value + 0.05 * rng.uniform() for name, value in base.items()})
    together = collapsed.condition(arrays(model, hypers))
    theta = collapsed.moments(together).theta
    covariance = collapsed.moments(together).covariances[0]
    for lane, hyper in enumerate(hypers):
        alone = collapsed.condition(arrays(model, [hyper]))
        assert alone.log_likelihood[0] == pytest.approx(together.log_likelihood[lane], rel=1e-13)
        np.testing.assert_allclose(collapsed.moments(alone).theta[..., 0], theta[..., lane], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(
            collapsed.moments(alone).covariances[0][..., 0], covariance[..., lane], rtol=1e-11, atol=1e-13
        )


DRAWN = [
    (("iid", "separable", 1, (), True), False),
    (("iid", "separable", 3, (), True), True),
    (("iid", "independent", 2, (), True), False),
    (("car", "separable", 1, (), True), False),
    (("car", "separable", 1, (), False), False),
    (("leroux", "separable", 1, (), False), False),
    (("leroux", "separable", 3, (), True), False),
    (("car", "separable", 2, (), True), True),
    (("car", "independent", 2, (), False), True),
    (("car", "chain", 2, (1, 0), True), False),
    (("leroux", "chain", 3, (1, 2, 0), False), True),
    (("bym2", "separable", 1, (), False), False),
    (("bym2", "separable", 2, (), False), True),
    (("bym2", "independent", 2, (), True), False),
    (("icar", "separable", 2, (), True), False),
    (("icar", "independent", 2, (), False), False),
]


@pytest.mark.parametrize("solver", ["compiled", "qdldl", "dense"])
@pytest.mark.parametrize(
    ("case", "coupled"), DRAWN, ids=lambda value: name_of(value) if isinstance(value, tuple) else ""
)
def test_draws_have_the_exact_joint_distribution(case, coupled, solver, planar_graph, stacked, arrays):
    model, data, graph, collapsed = set_up(case, 16, planar_graph, stacked, "component", coupled, solver)
    hypers = [values_of(model, 0), values_of(model, 1)]
    count = 4000
    given = collapsed.condition(arrays(model, hypers))
    beta, theta = collapsed.moments(given).draw(count, np.random.default_rng(8))
    for lane, hyper in enumerate(hypers):
        want = truth(model, data, graph, hyper)
        draws = np.vstack([beta[..., lane], theta[..., lane].reshape(-1, count)])
        mean, covariance = np.concatenate([want.beta, want.theta]), want.covariance
        variance = np.diag(covariance)
        # Means have the error sqrt(C_ii / S), covariances of Gaussian draws sqrt((C_ii C_jj + C_ij^2) / S). At most
        # 1,700 numbers are compared in each of 100 places; all within 5.5 errors fails by chance once in 150 seeds, and
        # the seed is fixed.
        assert np.max(np.abs(draws.mean(axis=1) - mean) / np.sqrt(variance / count)) < 5.5
        away = draws - mean[:, None]
        error = np.sqrt((np.outer(variance, variance) + covariance**2) / count)
        assert np.max(np.abs(away @ away.T / count - covariance) / error) < 5.5


def test_clone_gives_the_same_and_works_on_its_own(planar_graph, stacked, arrays):
    model, _, _, collapsed = set_up(("car", "separable", 2, (), True), 40, planar_graph, stacked, "scattered", False)
    copy = collapsed.clone()
    here, there = (arrays(model, [values_of(model, i)]) for i in (0, 2))
    given = collapsed.condition(here)
    theirs = copy.condition(there)
    assert theirs.log_likelihood[0] != given.log_likelihood[0]
    # The copy must not have overwritten the factor that the first one holds.
    moments = collapsed.moments(given)
    variance = moments.covariances[0]
    draw = moments.draw(2, np.random.default_rng(1))[1]
    again = copy.condition(here)
    np.testing.assert_array_equal(again.log_likelihood, given.log_likelihood)
    np.testing.assert_array_equal(copy.moments(again).covariances[0], variance)
    np.testing.assert_array_equal(copy.moments(again).draw(2, np.random.default_rng(1))[1], draw)


@pytest.mark.parametrize(
    "case",
    [
        ("iid", "separable", 2, (), True),
        ("car", "separable", 2, (), True),
        ("leroux", "chain", 2, (0, 1), False),
        ("bym2", "separable", 2, (), False),
    ],
    ids=name_of,
)
def test_tiny_sampling_variances_keep_their_digits(case, planar_graph, stacked, arrays):
    # With v = 1e-10 the data decide: theta is y, and its variance is v, to about v / Var(effect).
    model, data, graph, _ = set_up(case, 20, planar_graph, stacked, "none", False)
    for response in data.responses:
        response.v[:5] = 1e-10
    data.covariance[:5] = 1e-10 * np.eye(2)
    collapsed = build_model(model, data, graph)
    given = collapsed.condition(arrays(model, [values_of(model, 0)]))
    moments = collapsed.moments(given)
    want = truth(model, data, graph, values_of(model, 0))
    assert given.log_likelihood[0] == pytest.approx(want.log_likelihood, rel=1e-6)
    np.testing.assert_allclose(moments.theta[:5, :, 0], data.y[:5], rtol=0, atol=1e-8)
    variance = np.einsum("nkkb->nk", moments.covariances[0])
    np.testing.assert_allclose(variance[:5], 1e-10, rtol=1e-4)


def test_maps_that_do_not_fit(planar_graph, stacked):
    graph = planar_graph(20, islands=2)
    data = stacked(graph, 2)
    names = {"responses": NAMES[:2]}
    for effect in ("car", "icar"):
        with pytest.raises(GraphProblem) as caught:
            build_model(specify(random_effect=effect, iid_part=False, **names), data, graph)
        assert all(area in str(caught.value) for area in graph.islands)
        field = build_model(specify(random_effect=effect, iid_part=True, **names), data, graph).field
        assert len(field.nodes) == 18
        assert not set(field.nodes.tolist()) & {graph.ids.index(area) for area in graph.islands}
    for effect in ("leroux", "bym2"):
        assert len(build_model(specify(random_effect=effect, **names), data, graph).field.nodes) == 20
    without_edges = AreaGraph.from_edges(graph.ids, [])
    for effect in ("car", "leroux", "bym2", "icar"):
        with pytest.raises(GraphProblem, match="no edge"):
            build_model(specify(random_effect=effect, **names), data, without_edges)
        with pytest.raises(GraphProblem, match="Give a graph"):
            build_model(specify(random_effect=effect, **names), data, None)
    assert build_model(specify(random_effect="iid", **names), data, None).field is None


def test_outside_its_range_a_lane_is_not_a_number_and_others_do_not_care(planar_graph, stacked, arrays):
    for case in (
        ("car", "separable", 2, (), True),
        ("car", "chain", 2, (0, 1), True),
        ("iid", "separable", 3, (), True),
    ):
        for solver in SOLVERS:
            model, _, _, collapsed = set_up(case, 30, planar_graph, stacked, "scattered", False, solver)
            good = values_of(model, 0)
            bad = dict.fromkeys(good, 60.0) if case[0] == "car" else {**good, "correlation[a,b]": 2.5}
            alone = collapsed.log_likelihood(arrays(model, [good]))
            mixed = collapsed.log_likelihood(arrays(model, [bad, good, bad, good, good]))
            assert np.isnan(mixed[[0, 2]]).all()
            np.testing.assert_allclose(mixed[[1, 3, 4]], alone[0], rtol=1e-13)
