import json

import geopandas as gpd
import numpy as np
import pytest
from smallarea import demo
from smallarea.errors import EngineUnavailable


def test_the_input_is_the_counts_transformed():
    counties = demo.north_carolina()
    assert len(counties) == 100
    assert counties.crs == "EPSG:4267"
    ashe = counties[counties["NAME"] == "Ashe"].iloc[0]
    # One death in 1091 births: sqrt(1000) (sqrt(1/1091) + sqrt(2/1091)).
    assert ashe["sids_ft"] == pytest.approx(2.3113, abs=1e-4)
    assert ashe["sids_ft_var"] == pytest.approx(1000 / 1091)


def test_the_transformation_has_the_variance_that_it_promises():
    generator = np.random.default_rng(1)
    births = 2000.0
    deaths = generator.poisson(births * 0.005, size=200_000).astype(float)
    rates = demo.freeman_tukey(deaths, np.full_like(deaths, births))
    assert rates.var() == pytest.approx(1000 / births, rel=0.05)


def test_the_demo_writes_map_report_table_and_job_and_says_where(smallarea, tmp_path):
    folder = tmp_path / "new" / "demo"
    done, _ = smallarea("demo", "--folder", folder)
    assert done.exit_code == 0, done.output
    names = {path.name for path in folder.iterdir()}
    assert names == {"north_carolina.gpkg", "job.json", "estimates.gpkg", "report.html", "estimates.csv"}
    assert all(str(folder / name) in done.stdout for name in ("estimates.gpkg", "report.html", "job.json"))
    assert "Mecklenburg" in done.stdout
    estimates = gpd.read_file(folder / "estimates.gpkg", layer="estimates")
    assert estimates["estimate"].notna().all()
    # A model that helps: no area is less certain than its direct estimate.
    assert (estimates["se"] < estimates["direct_se"]).all()
    assert json.loads((folder / "job.json").read_text())["parameters"]["areas"] == "north_carolina.gpkg"


def test_a_missing_example_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match="pip install libpysal"):
        demo.north_carolina()
