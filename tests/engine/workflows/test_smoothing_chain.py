"""From samples of a whole population to direct estimates, smoothed variances and a fit: is the chain worth it?"""

import numpy as np
import pandas as pd
import pytest
import smallarea

COVARIATES = ["cash", "self_empl", "age_ben", "rent", "eqsize", "cap_inv", "unempl_ben", "fam_allow"]
SAMPLES = 40


@pytest.fixture
def austria(shared):
    """Incomes by district, and the districts' known means."""
    people = pd.read_csv(shared("austria_eusilcA_pop.csv"))
    known = pd.read_csv(shared("austria_eusilcA_popAgg.csv")).set_index("Domain")
    return {district: of.to_numpy() for district, of in people.groupby("district")["eqIncome"]}, known


def sampled(incomes, known, rng):
    """Direct estimates from simple random samples of a tenth, at least ten people, in each district."""
    rows = []
    for district, values in incomes.items():
        size = min(len(values) - 1, max(10, round(0.1 * len(values))))
        drawn, rest = rng.choice(values, size, replace=False), 1 - size / len(values)
        true = rest * values.var(ddof=1) / size
        rows.append((district, drawn.mean(), rest * drawn.var(ddof=1) / size, true, size / rest, size - 1))
    columns = ["area", "income", "variance_income", "true_variance", "n", "df"]
    table = pd.DataFrame(rows, columns=columns).set_index("area").join(known[COVARIATES]).reset_index()
    # What people earn says how much incomes differ; it is known for every district.
    table["log_means"] = np.log(table["cash"] + table["self_empl"] + table["age_ben"])
    return table


def test_smoothed_variances_are_nearly_as_good_as_the_true_ones(austria):
    incomes, known = austria
    truth = pd.Series({district: values.mean() for district, values in incomes.items()})
    rng = np.random.default_rng(1)
    errors: dict[str, list] = {"direct": [], "variance_income": [], "variance_smoothed_income": [], "true_variance": []}
    covered = []
    for _ in range(SAMPLES):
        direct = sampled(incomes, known, rng)
        table = smallarea.smooth_variances(
            table=direct, table_id_field="area", direct="income", variance="variance_income", n="n", df="df",
            covariates=["log_means"], combine=True,
        ).table  # fmt: skip
        true = truth.loc[table["area"]].to_numpy()
        errors["direct"].append(table["income"] - true)
        for variance in list(errors)[1:]:
            fit = smallarea.fit(
                table=table, table_id_field="area", direct="income", variance=variance, covariates=COVARIATES,
                random_effect="iid", method="reml",
            ).estimates  # fmt: skip
            errors[variance].append(fit["estimate"] - true)
            if variance == "variance_smoothed_income":
                covered.append((fit["lower"] <= true) & (true <= fit["upper"]))
    rmse = {name: np.sqrt(np.mean(np.square(values), axis=0)) for name, values in errors.items()}
    mean = {name: value.mean() for name, value in rmse.items()}
    assert mean["variance_smoothed_income"] < 0.97 * mean["variance_income"]
    assert mean["variance_smoothed_income"] < 1.03 * mean["true_variance"]
    assert np.mean(rmse["variance_smoothed_income"] < rmse["direct"]) >= 0.9
    assert 0.93 <= np.mean(covered) <= 0.97
