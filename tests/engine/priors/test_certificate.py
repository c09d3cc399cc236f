"""What passes the gate, what does not and why, and what a certificate says afterwards."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from known_decoders import LINEAR_MISTAKES, decoder, lattice
from smallarea.areas import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors import exact_prior, family
from smallarea.priors.fidelity import certificate as module
from smallarea.priors.fidelity.certificate import Certificate, certify, certify_decoder
from smallarea.priors.fidelity.gate import GATE, gate_warning
from smallarea.priors.graph_filter import standard_filter

CAR = family("car", upper=0.99)


def certified(kind="exact", graph=None, of=CAR, rho=None, **options):
    graph = graph or lattice(5, 6)
    options = {"grid": [0.5, 0.95], "draws": 1000, **options} if rho is None else {"draws": 4000, **options}
    with jax.enable_x64(True):
        return certify_decoder(
            decoder(graph, of, kind, rho), exact_prior(of, graph), graph, architecture="decoder", **options
        )


def test_the_exact_root_passes_everything_without_error():
    found = certified()
    assert found.passed, found.failures
    for point in found.points:
        assert point.method == "exact"
        assert max(point.frobenius, point.srmr, point.neighbour_error, point.posterior.mean_max) < 1e-10
        assert point.variance_low == pytest.approx(1.0)


@pytest.mark.parametrize("kind", LINEAR_MISTAKES)
def test_the_mistakes_of_others_do_not_pass(kind):
    found = certified(kind)
    assert not found.passed
    assert any("posterior mean" in text for text in found.failures)
    assert any("Frobenius" in text and "rho = 0.95" in text for text in found.failures)
    if kind != "wrong side":
        assert any("neighbours" in text for text in found.failures)


def test_a_prior_that_is_not_normal_or_not_centred_does_not_pass():
    shifted = certified("shifted", posterior_check=False, draws=4000)
    assert any("not centred" in text for text in shifted.failures)
    skewed = certified("skewed", posterior_check=False, grid=[0.5], draws=4000)
    assert any("distribution" in text for text in skewed.failures)


def test_the_joint_test_alone_can_fail_a_prior_on_a_long_grid():
    grid = np.linspace(0.5, 0.9, 9).tolist()
    found = certified("white", posterior_check=False, grid=grid)
    assert sum("joint distribution" in text for text in found.failures) >= 5


def test_without_a_posterior_check_nothing_passes():
    found = certified(posterior_check=False)
    assert found.failures == ("The posterior check was not made. Certify the prior with it.",)


def test_the_same_seed_gives_the_same_certificate_and_another_one_does_not():
    one, two = certified(seed=3), certified(seed=3)
    assert one.to_json() == two.to_json()
    assert one.to_json() != certified(seed=4).to_json()


def test_a_certificate_survives_its_file():
    found = certified("smooth", lattice(4, 5, island=True))
    text = json.dumps(found.to_json(), allow_nan=False)
    read = Certificate.from_json(json.loads(text))
    assert read.to_json() == json.loads(text)
    assert read.failures == found.failures
    table = read.areas_table()
    assert list(table.columns) == ["area", "variance_ratio", "neighbour_error"]
    assert np.isnan(table["variance_ratio"].iloc[-1])
    np.testing.assert_allclose(table["variance_ratio"], found.areas_table()["variance_ratio"], rtol=1e-5)


def test_areas_show_their_worst_value():
    graph = lattice(4, 5)
    found = certified("smooth", graph, posterior_check=False)
    with jax.enable_x64(True):
        exact = exact_prior(CAR, graph)
        from smallarea.priors.fidelity.learned_field import LearnedField

        learned = LearnedField(decoder(graph, CAR, "smooth"), exact.nodes)
        ratios = np.array(
            [np.diag(learned.covariance(np.array([r]))) / np.diag(exact.covariance(np.array([r]))) for r in (0.5, 0.95)]
        )
    worst = ratios[np.argmax(np.abs(ratios - 1.0), axis=0), np.arange(20)]
    np.testing.assert_allclose(found.areas_table()["variance_ratio"], worst, rtol=1e-9)


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 99},
        {"points": [{"value": 0.5}]},
        {"areas": {"ids": ["a"], "variance_ratio": [1.0, 2.0], "neighbour_error": [0.0]}},
        {"family": {"name": "no such"}},
        {"points": None},
        {"nodes": "many"},
        {"nodes": float("inf")},
        {"points": []},
        {"points": ["rho"]},
    ],
)
def test_a_damaged_certificate_is_refused(damage):
    content = {**certified(posterior_check=False, grid=[0.5]).to_json(), **damage}
    with pytest.raises(PriorProblem):
        Certificate.from_json(content)


def test_a_fit_is_warned_of_what_its_prior_cannot_do():
    graph = lattice(5, 6)
    good, bad = certified(graph=graph).to_json(), certified("wrong side", graph).to_json()
    assert gate_warning(good, [0.6, 0.9], graph.fingerprint) is None
    assert "does not pass" in gate_warning(bad)
    assert "Train it longer" in gate_warning(bad)
    assert "no fidelity certificate" in gate_warning(None)
    assert "another geography" in gate_warning(good, fingerprint=lattice(4, 4).fingerprint)
    assert "0.99" in gate_warning(good, [0.6, 0.99])


def test_the_grid_stays_within_the_training():
    with pytest.raises(PriorProblem, match=r"trained for rho from 0 to 0\.99"):
        certified(grid=[0.5, 0.995])
    with pytest.raises(PriorProblem, match="empty"):
        certified(grid=[])
    with jax.enable_x64(True), pytest.raises(PriorProblem, match="no grid"):
        certified(rho=0.9, grid=[0.5])


def test_the_grid_covers_the_range_and_its_ends():
    graph = lattice(3, 3)
    exact = exact_prior(family("car", lower=0.2, upper=0.97), graph)
    values = [float(r.value[0]) for r in module.references_of(exact, True, None)]
    assert values == [0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.97]


def test_a_prior_that_ignores_a_wide_range_of_rho_is_held_against_its_mixture():
    # At one rho only: right for a family that hardly varies, wrong for one that does.
    narrow = certified(of=family("car", lower=0.8999, upper=0.9001), rho=0.9)
    assert len(narrow.points) == 1
    assert narrow.points[0].value is None
    assert narrow.points[0].frobenius < 0.001
    assert narrow.passed, narrow.failures
    assert not certified(of=CAR, rho=0.3).passed


def test_large_maps_take_the_projected_route_and_reach_the_same_verdict(monkeypatch):
    from smallarea.priors.fidelity import measures, posterior_check

    graph = lattice(12, 12)
    for where in (module, measures, posterior_check):
        monkeypatch.setattr(where, "DENSE_LIMIT", 100)
    good = certified(graph=graph, grid=[0.9])
    assert good.points[0].method == "projections"
    assert good.passed, good.failures
    assert not certified("wrong side", graph, grid=[0.9]).passed


@pytest.mark.parametrize("name", ["car", "leroux", "bym2", "icar"])
def test_a_graph_filter_passes_on_a_map_with_an_island_it_never_saw(name):
    prior = standard_filter(family(name), lattice(3, 3))
    graph = lattice(5, 6, island=True)
    grid = None if name == "icar" else [0.0, 0.9, 0.99]
    found = certify(prior, graph, grid=grid, draws=500)
    assert found.passed, found.failures
    assert max(point.frobenius for point in found.points) < 0.01
    assert gate_warning(found.to_json(), fingerprint=graph.fingerprint) is None


def test_a_filter_of_low_degree_does_not_pass():
    prior = standard_filter(CAR, lattice(6, 6), degree=1, cut=0.99)
    found = certify(prior, lattice(6, 6), grid=[0.99], draws=500)
    assert not found.passed
    assert "Raise its degree" in gate_warning(found.to_json())


def test_progress_may_cancel():
    class Stop(Exception):
        pass

    def stop(percent, text):
        raise Stop(text)

    with pytest.raises(Stop, match="rho = 0"):
        certify(standard_filter(CAR, lattice(3, 3)), lattice(3, 3), progress=stop)


def test_jax_keeps_its_precision_afterwards():
    certify(standard_filter(CAR, lattice(3, 3)), lattice(3, 3), grid=[0.5], posterior_check=False)
    assert jax.numpy.ones(1).dtype == np.float32


def test_numbers_that_are_not_numbers_pass_no_bar():
    found = certified(posterior_check=False, grid=[0.5])
    point = dataclasses.replace(found.points[0], frobenius=float("nan"), mmd_p=float("nan"))
    broken = dataclasses.replace(found, points=(point,))
    assert sum("Frobenius" in text or "joint" in text for text in broken.failures) == 2
    read = Certificate.from_json(broken.to_json())
    assert read.failures == broken.failures
    checked = certified(grid=[0.5])
    bad = dataclasses.replace(checked.points[0].posterior, mean_max=float("nan"), sd_high=float("nan"))
    lost = dataclasses.replace(checked, points=(dataclasses.replace(checked.points[0], posterior=bad),))
    assert sum("posterior" in text for text in lost.failures) == 2
    assert Certificate.from_json(lost.to_json()).failures == lost.failures


def test_bars_are_those_of_the_documentation(request):
    text = (request.config.rootpath / "docs" / "methods" / "fidelity.md").read_text()
    for name, bar in GATE.to_json().items():
        assert f"| `{name}` | {bar:g} |" in text


def test_missouri(shared):
    from smallarea.areas import build_adjacency, read_areas

    areas = read_areas(shared("mo_vmsae_example.gpkg"), id_field="GEOID")
    graph: AreaGraph = build_adjacency(areas)
    found = certify(standard_filter(family("car", upper=0.999), graph), graph)
    assert found.passed, found.failures
    assert max(p.frobenius for p in found.points if p.value <= 0.99) <= 0.01
    assert max(p.posterior.mean_max for p in found.points) <= 0.05
    assert all(0.95 <= ratio <= 1.05 for p in found.points for ratio in (p.posterior.sd_low, p.posterior.sd_high))
