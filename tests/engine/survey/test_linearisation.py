"""Variances of all areas at once against loops over one area at a time."""

import numpy as np
import pytest
from dense_design import calibrated_influence, hajek_influence, variance
from smallarea.errors import VarianceProblem
from smallarea.survey.calibration import Calibration
from smallarea.survey.design import survey_design
from smallarea.survey.direct import area_estimates
from smallarea.survey.estimators import Variable
from smallarea.survey.linearisation import domain_covariances

AREAS = ("a", "b", "c", "d")


def sample(seed, n=180):
    """Strata of units of second-stage units, cut by areas, with three correlated variables."""
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, 4, n)
    psu = stratum * 10 + rng.integers(0, 4, n)
    ssu = psu * 10 + rng.integers(0, 3, n)
    row = np.arange(n)
    domain = np.where(rng.random(n) < 0.1, -1, (psu + rng.integers(0, 2, n)) % len(AREAS))
    y = rng.normal(size=(n, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 2.0]]) + psu[:, None] / 10
    return {
        "weights": rng.gamma(3.0, 2.0, n),
        "stratum": stratum,
        "psu": psu,
        "ssu": ssu,
        "row": row,
        "domain": domain,
        "y": y,
        "N1": np.array([9.0, 12.0, 20.0, 7.0])[stratum],
        "N2": 4.0 + psu % 3,
    }


def influences(data, area):
    inside = data["domain"] == area
    return np.column_stack([hajek_influence(data["y"][:, k], data["weights"], inside) for k in range(3)])


def all_influences(data):
    z = np.zeros((len(data["weights"]), 3))
    for area in range(len(AREAS)):
        z += influences(data, area)
    return z


DESIGNS = {
    "simple": lambda d: ({}, [(np.zeros(len(d["row"])), d["row"], None)]),
    "simple, finite": lambda d: (
        {"fpc": [np.full(len(d["row"]), 1000.0)]},
        [(np.zeros(len(d["row"])), d["row"], np.full(len(d["row"]), 1000.0))],
    ),
    "stratified": lambda d: ({"strata": [d["stratum"]]}, [(d["stratum"], d["row"], None)]),
    "clusters": lambda d: ({"psu": [d["psu"]]}, [(np.zeros(len(d["row"])), d["psu"], None)]),
    "stratified clusters": lambda d: (
        {"strata": [d["stratum"]], "psu": [d["psu"]], "fpc": [d["N1"]]},
        [(d["stratum"], d["psu"], d["N1"])],
    ),
    "two stages": lambda d: (
        {"strata": [d["stratum"]], "psu": [d["psu"], d["ssu"]], "fpc": [d["N1"], d["N2"]]},
        [(d["stratum"], d["psu"], d["N1"]), (d["psu"], d["ssu"], d["N2"])],
    ),
    "three stages, strata in the second": lambda d: (
        {
            "strata": [d["stratum"], d["ssu"] % 2],
            "psu": [d["psu"], d["ssu"], d["row"]],
            "fpc": [d["N1"], d["N2"]],
            "lonely_psu": "certainty",
        },
        [
            (d["stratum"], d["psu"], d["N1"]),
            (d["ssu"] % 2 + 10 * d["psu"], d["ssu"], d["N2"]),
            (d["ssu"], d["row"], None),
        ],
    ),
    "second stage without a population before": lambda d: (
        {"strata": [d["stratum"]], "psu": [d["psu"], d["ssu"]]},
        [(d["stratum"], d["psu"], None)],
    ),
}


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_area_has_the_variance_of_the_whole_design(name, seed):
    data = sample(seed)
    arguments, stages = DESIGNS[name](data)
    design = survey_design(data["weights"], **arguments)
    got = domain_covariances(all_influences(data), data["domain"], len(AREAS), design)
    for area in range(len(AREAS)):
        wanted = variance(influences(data, area), stages, arguments.get("lonely_psu", "fail"))
        np.testing.assert_allclose(got[area], wanted, rtol=1e-10, atol=1e-14)
        assert np.array_equal(got[area], got[area].T)
        assert np.linalg.eigvalsh(got[area]).min() > -1e-15


@pytest.mark.parametrize("policy", ["adjust", "average", "certainty"])
def test_lonely_units_contribute_as_the_policy_says(policy):
    data = sample(3)
    data["stratum"][data["psu"] % 10 == 0] = 7  # a stratum with the units of four others ...
    lonely = np.flatnonzero(data["psu"] == 12)
    data["stratum"][lonely] = 8  # ... and one with a single unit
    design = survey_design(data["weights"], strata=[data["stratum"]], psu=[data["psu"]], lonely_psu=policy)
    assert design.stages[0].lonely.sum() == 1
    got = domain_covariances(all_influences(data), data["domain"], len(AREAS), design)
    for area in range(len(AREAS)):
        wanted = variance(influences(data, area), [(data["stratum"], data["psu"], None)], policy)
        np.testing.assert_allclose(got[area], wanted, rtol=1e-10)


def test_lonely_units_are_an_error_that_names_the_strata():
    data = sample(3)
    names = np.where(data["psu"] == 12, "north", "south")
    design = survey_design(data["weights"], strata=[names], psu=[data["psu"]])
    with pytest.raises(VarianceProblem, match=r"1 strata .*'north'.*lonely_psu"):
        domain_covariances(all_influences(data), data["domain"], len(AREAS), design)


def test_an_average_of_no_other_stratum_is_an_error():
    design = survey_design(np.ones(2), strata=[["a", "b"]], lonely_psu="average")
    with pytest.raises(VarianceProblem, match="no average"):
        domain_covariances(np.array([[1.0], [-1.0]]), np.zeros(2, dtype=np.int64), 1, design)


def test_a_stratum_taken_whole_is_not_lonely():
    design = survey_design(np.ones(3), strata=[["a", "b", "b"]], fpc=[np.array([1.0, 9.0, 9.0])])
    got = domain_covariances(np.array([[1.0], [2.0], [-1.0]]), np.zeros(3, dtype=np.int64), 1, design)
    # Stratum b alone: (1 - 2/9) * 2 / 1 * (1.5^2 + 1.5^2).
    assert got[0, 0, 0] == pytest.approx(7.0 / 9.0 * 2.0 * 4.5)


@pytest.mark.parametrize("name", ["stratified", "stratified clusters", "two stages"])
def test_calibrated_weights_have_the_variance_of_residuals(name):
    data = sample(4)
    rng = np.random.default_rng(5)
    n = len(data["row"])
    base = data["weights"]
    # Two margins, whose dummies are collinear, and a number.
    x = np.column_stack([*(rng.integers(0, 3, n) == g for g in range(3)), *(data["row"] % 2 == g for g in range(2))])
    x = np.column_stack([x, rng.normal(size=n)]).astype(float)
    calibrated = base * rng.uniform(0.7, 1.4, n)
    data["weights"] = calibrated
    arguments, stages = DESIGNS[name](data)
    design = survey_design(calibrated, **arguments, calibration=Calibration("greg", x, base, calibrated))
    got = domain_covariances(all_influences(data), data["domain"], len(AREAS), design)
    for area in range(len(AREAS)):
        z = calibrated_influence(influences(data, area), x, base, calibrated)
        np.testing.assert_allclose(got[area], variance(z, stages), rtol=1e-9)


def test_what_is_calibrated_to_has_no_variance():
    data = sample(6)
    group = (data["row"] % 3 == 0).astype(float)
    x = np.column_stack([group, 1.0 - group])
    design = survey_design(
        data["weights"], strata=[data["stratum"]], calibration=Calibration("greg", x, data["weights"], data["weights"])
    )
    everybody = np.zeros(len(group), dtype=np.int64)
    got = area_estimates([Variable("share", "mean", group)], everybody, ("all",), design)
    assert got.covariances[0, 0, 0] == 0.0
    assert got.table["flag"].tolist() == ["zero variance"]


def test_rows_without_an_area_count_for_the_design_only():
    data = sample(7)
    design = survey_design(data["weights"], strata=[data["stratum"]], psu=[data["psu"]])
    whole = domain_covariances(all_influences(data), data["domain"], len(AREAS), design)
    keep = data["domain"] == 0
    other = {name: values[keep] for name, values in data.items()}
    subset = survey_design(other["weights"], strata=[other["stratum"]], psu=[other["psu"]], lonely_psu="adjust")
    alone = domain_covariances(influences(other, 0), other["domain"], 1, subset)
    # Subsetting the file forgets units without respondents in the area.
    assert not np.allclose(whole[0], alone[0], rtol=1e-3)


def test_the_order_of_rows_and_the_names_of_units_do_not_matter():
    data = sample(8)
    rng = np.random.default_rng(9)
    order = rng.permutation(len(data["row"]))
    variables = [Variable(f"y{k}", "mean", data["y"][:, k]) for k in range(3)]
    shuffled = [Variable(f"y{k}", "mean", data["y"][order, k]) for k in range(3)]
    first = survey_design(data["weights"], strata=[data["stratum"]], psu=[data["psu"]])
    names = np.array([f"unit {p}" for p in data["psu"]])
    second = survey_design(data["weights"][order], strata=[-data["stratum"][order]], psu=[names[order]])
    one = area_estimates(variables, data["domain"], AREAS, first)
    other = area_estimates(shuffled, data["domain"][order], AREAS, second)
    np.testing.assert_allclose(one.covariances, other.covariances, rtol=1e-12)
    np.testing.assert_allclose(one.table["direct"], other.table["direct"], rtol=1e-12)
