from dataclasses import replace

import numpy as np
import pytest
from smallarea.report.between import between, gain_rows, order_rows
from smallarea.report.facts import gather
from smallarea.report.parameters import hyperparameter_groups, split_name


def test_nothing_with_one_response(make_result):
    result = make_result()
    assert between(result, gather(result)) == {}


def test_names_may_hold_commas_and_brackets():
    names = ["a", "b", "a,b", "x[1]"]
    assert split_name("rho", names).of == ()
    assert split_name("sd_phi[a,b]", names).of == ("a,b",)
    assert split_name("sd_phi[x[1]]", names).of == ("x[1]",)
    assert split_name("correlation[a,b]", ["a", "b"]).of == ("a", "b")
    assert split_name("correlation[a,b,x[1]]", names).of == ("a,b", "x[1]")
    assert split_name("eta0[b,a]", ["a", "b"]).responses == "b given a"


def test_correlations(make_several):
    result = make_several()
    pair = between(result, gather(result))["pairs"][0]
    wide = result.estimates.pivot(index="area", columns="response", values=["direct", "estimate"])
    direct, model = (wide[c].corr().loc["income", "rent"] for c in ("direct", "estimate"))
    assert pair["direct"] == f"{direct:.2f}".replace("-", "−")
    assert pair["model"] == f"{model:.2f}".replace("-", "−")
    drawn = [np.corrcoef(draw.T)[0, 1] for draw in result.posterior.theta]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert pair["true"] == f"{np.mean(drawn):.2f} ({low:.2f} to {high:.2f})".replace("-", "−")
    row = result.hyperparameters.set_index("name").loc["correlation[income,rent]"]
    assert pair["effects"] == f"{row.estimate:.2f} ({row.lower:.2f} to {row.upper:.2f})"
    assert pair["scatter"] is not None


def test_areas_without_an_estimate_are_left_out_of_the_draws(make_several):
    result = make_several()
    theta = result.posterior.theta.copy()
    theta[:, 4] = np.nan
    gappy = replace(result, posterior=replace(result.posterior, theta=theta))
    drawn = [np.corrcoef(np.delete(draw, 4, axis=0).T)[0, 1] for draw in theta]
    assert between(gappy, gather(gappy))["pairs"][0]["true"].startswith(f"{np.mean(drawn):.2f}".replace("-", "−"))


def test_orders_come_best_first(make_several):
    tried = "income given rent: -174.85; rent given income: -173.65"
    rows = order_rows(make_several(diagnostics={"orders_tried": tried}))
    assert [row["order"] for row in rows] == ["rent given income", "income given rent"]
    assert [row["behind"] for row in rows] == ["", "−1.20"]
    assert order_rows(make_several()) == []


def test_gains(make_several, make_result):
    result = make_several()
    rows = gain_rows(gather(result))
    assert [row["name"] for row in rows] == ["income", "rent"]
    # The fixture's plain shrinkage has errors a quarter larger.
    assert {row["against"] for row in rows} == {"−20.0%"}
    table = result.estimates[(result.estimates["response"] == "rent") & result.estimates["sampled"]]
    assert float(rows[1]["se_direct"]) == pytest.approx(table["direct_se"].median(), rel=0.005)
    assert float(rows[1]["cv"].rstrip("%")) == pytest.approx(100 * table["cv"].median(), rel=0.005)
    assert gain_rows(gather(make_result()))[0]["se_plain"] == ""
    assert gain_rows(gather(make_result(unsampled=tuple(range(36))))) == []


def test_hyperparameters_by_kind(make_several):
    groups = hyperparameter_groups(make_several(("income", "rent", "jobs")))
    assert [group.kind for group in groups] == ["sd_phi", "rho", "correlation"]
    assert [row["responses"] for row in groups[0].rows] == ["income", "rent", "jobs"]
    assert [row["responses"] for row in groups[2].rows] == ["income and rent", "income and jobs", "rent and jobs"]
    assert groups[0].prior == "HalfNormal(1)"
    result = make_several()
    table = result.hyperparameters.copy()
    table.loc[0, "prior"] = "Exponential(1)"
    mixed = hyperparameter_groups(replace(result, hyperparameters=table))[0]
    assert mixed.prior == ""
    assert [row["prior"] for row in mixed.rows] == ["Exponential(1)", "HalfNormal(1)"]
