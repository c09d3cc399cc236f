"""The three autoencoders as imputers of a mixed table."""

import numpy as np
import pandas as pd
import pytest
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.rules import Rules, parse_skip
from smallarea.survey.imputation.variables import describe_variables

torch = pytest.importorskip("torch")

QUICK = {"hidden": 24, "epochs": 25, "patience": 5, "sweeps": 15}
ALL = ["vae", "vae-masked", "vae-mean"]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def frame():
    """Every kind of column, driven by one trait; a skip pattern; 8 areas."""
    rng = np.random.default_rng(5)
    n = 1_200
    area = rng.integers(8, size=n)
    trait = rng.normal(size=n) + 0.5 * (area - 3.5) / 2.0
    works = np.where(trait + rng.normal(size=n) > 0, "yes", "no")
    table = pd.DataFrame(
        {
            "area": [f"a{k}" for k in area],
            "score": 50.0 + 10.0 * (0.8 * trait + 0.6 * rng.normal(size=n)),
            "income": np.exp(9.0 + 0.7 * trait + 0.5 * rng.normal(size=n)),
            "share": 1.0 / (1.0 + np.exp(-trait - 0.7 * rng.normal(size=n))),
            "health": np.digitize(trait + 0.8 * rng.normal(size=n), [-1.0, 0.0, 1.0]) + 1,
            "works": works,
            "home": np.array(["own", "rent", "other"])[np.digitize(trait + rng.normal(size=n), [-0.2, 1.0])],
            "hours": np.where(works == "yes", 30.0 + 5.0 * trait + 3.0 * rng.normal(size=n), np.nan),
        }
    )
    for name in ("score", "income", "share", "health", "works", "home"):
        table[name] = table[name].mask(rng.uniform(size=n) < 0.1)
    table.loc[(table["works"] == "yes") & (rng.uniform(size=n) < 0.1), "hours"] = np.nan
    return table


@pytest.fixture(scope="module")
def variables(frame):
    names = ["score", "income", "share", "health", "works", "home", "hours"]
    return describe_variables(frame, names, ranges={"share": (0.0, 1.0)})


@pytest.mark.parametrize("method", ALL)
def test_every_kind_of_column_is_completed_within_its_rules(frame, variables, method):
    rules = Rules(skips=(parse_skip("hours asked if works = yes"),))
    found = impute_table(
        frame, variables, method=method, imputations=2, area="area", rules=rules, seed=3, settings=QUICK
    )
    for m in range(2):
        table = found.completed(m)
        for one in variables[:-1]:
            assert table[one.name].notna().all()
            seen = frame[one.name].notna()
            assert (table.loc[seen, one.name] == frame.loc[seen, one.name]).all()
            if one.categorical:
                assert set(table[one.name]) <= set(one.categories)
        assert table["share"].between(0.0, 1.0).all()
        assert (table["hours"].notna() == (table["works"] == "yes")).all()
    assert not found.completed(0).equals(found.completed(1))
    assert found.record["fit"]["method"] == method
    again = impute_table(
        frame, variables, method=method, imputations=2, area="area", rules=rules, seed=3, settings=QUICK
    )
    assert np.array_equal(found.draws, again.draws, equal_nan=True)


def test_imputed_answers_follow_the_observed_ones(frame, variables):
    settings = QUICK | {"epochs": 80, "patience": 10}
    found = impute_table(
        frame, variables[:-1], method="vae-masked", imputations=6, area="area", seed=1, settings=settings
    )
    gaps = frame["score"].isna().to_numpy()
    seen = ~gaps & frame["health"].notna().to_numpy()
    observed = frame[seen].groupby(frame["health"][seen] >= 3)["score"].mean()
    drawn = pd.concat([found.completed(m)[gaps] for m in range(6)])
    imputed = drawn.groupby(drawn["health"] >= 3)["score"].mean()
    # High and low health differ by about ten points among observed answers; unconditional draws would not differ.
    assert observed[True] - observed[False] > 8.0
    assert imputed[True] - imputed[False] > 0.6 * (observed[True] - observed[False])


def test_unknown_settings_are_refused(frame, variables):
    from smallarea.errors import JobProblem

    with pytest.raises(JobProblem, match="layers"):
        impute_table(frame, variables, method="vae", settings={"layers": 3})
