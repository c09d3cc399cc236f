import geopandas as gpd
import numpy as np
import pytest
import shapely
import smallarea


@pytest.fixture
def areas():
    rng = np.random.default_rng(8)
    n = 30
    frame = gpd.GeoDataFrame(
        {"code": [f"{i:02d}" for i in range(n)], "x": rng.normal(size=n)},
        geometry=[shapely.box(i % 6, i // 6, i % 6 + 1, i // 6 + 1) for i in range(n)],
    )
    for name in ("a", "b"):
        frame[f"v{name}"] = rng.uniform(0.1, 0.9, size=n)
        frame[name] = 100.0 + 3.0 * frame["x"] + rng.normal(size=n) * np.sqrt(0.5 + frame[f"v{name}"])
    frame.loc[4, ["a", "va"]] = np.nan
    return frame


def fit(areas, **options):
    return smallarea.fit(areas, id_field="code", covariates=["x"], **{"min_ess": 60, "draws": 100, **options})


def test_it_is_the_ordinary_model_of_each_response(areas):
    both = fit(areas, direct=["a", "b"], variance=["va", "vb"]).area_diagnostics
    for name in ("a", "b"):
        alone = fit(areas, direct=name, variance=f"v{name}", random_effect="iid", method="reml").estimates
        mine = both[both["response"] == name]
        np.testing.assert_allclose(mine["plain_estimate"], alone["estimate"], rtol=1e-12)
        np.testing.assert_allclose(mine["plain_se"], alone["se"], rtol=1e-12)


def test_the_ordinary_model_itself_needs_none(areas):
    for method in ("bayes", "reml"):
        table = fit(areas, direct="a", variance="va", random_effect="iid", method=method).area_diagnostics
        assert "plain_se" not in table


def test_a_model_variance_of_zero_is_no_yardstick(areas):
    areas["b"] = 100.0 + 3.0 * areas["x"] + 1e-3 * np.cos(np.arange(len(areas)))
    table = fit(areas, direct=["a", "b"], variance=["va", "vb"]).area_diagnostics
    assert table.loc[table["response"] == "b", "plain_se"].isna().all()
    assert table.loc[table["response"] == "a", "plain_se"].notna().all()
