"""Reports of real fits: every effect and link that a fit takes."""

import re

import geopandas as gpd
import numpy as np
import pytest
import shapely
import smallarea

SIDE = 6
COMMON = {"id_field": "code", "covariates": ["x"], "min_ess": 60, "draws": 120}
TWO = {"direct": ["a", "b"], "variance": ["va", "vb"]}
FITS = {
    "iid": {"random_effect": "iid", **TWO},
    "car": {"random_effect": "car", **TWO},
    "car, assumed correlation": {"sampling_correlation": 0.4, **TWO},
    "car, given covariance": {"covariance": ["cab"], **TWO},
    "leroux, independent": {"random_effect": "leroux", "link": "independent", **TWO},
    "bym2": {"random_effect": "bym2", **TWO},
    "icar": {"random_effect": "icar", **TWO},
    "chain": {"link": "chain", "order": "auto", **TWO},
    "reml": {"method": "reml", **TWO},
    "three": {"direct": ["a", "b", "c"], "variance": ["va", "vb", "vc"]},
    "har1": {"random_effect": "iid", "link": "har1", "method": "reml", **TWO},
    "iid, reml": {"random_effect": "iid", "method": "reml", **TWO},
    "log": {"transformation": "log", **TWO},
    "robust": {"random_effect": "iid", "method": "robust", "replicates": 20, "direct": "a", "variance": "va"},
    "sar": {"random_effect": "sar", "method": "reml", "direct": "a", "variance": "va"},
}


@pytest.fixture(scope="module")
def areas():
    rng = np.random.default_rng(4)
    x, y = np.meshgrid(np.arange(float(SIDE)), np.arange(float(SIDE)))
    n = SIDE * SIDE
    smooth = np.sin(x.ravel() / 2.0) + np.cos(y.ravel() / 2.0)
    frame = gpd.GeoDataFrame(
        {"code": [f"{i:02d}" for i in range(n)], "x": rng.normal(size=n)},
        geometry=shapely.box(x.ravel(), y.ravel(), x.ravel() + 1.0, y.ravel() + 1.0),
        crs="EPSG:32633",
    )
    for name, weight in (("a", 1.0), ("b", 0.7), ("c", -0.5)):
        variance = rng.uniform(0.05, 0.4, size=n)
        truth = 10.0 + weight * smooth + 0.5 * frame["x"] + 0.3 * rng.normal(size=n)
        frame[name] = truth + np.sqrt(variance) * rng.normal(size=n)
        frame[f"v{name}"] = variance
    frame["cab"] = 0.3 * np.sqrt(frame["va"] * frame["vb"])
    frame.loc[[3, 17], ["a", "va"]] = np.nan
    return frame


@pytest.mark.parametrize("name", FITS)
def test_every_model_has_its_report(areas, name, tmp_path):
    path = tmp_path / "report.html"
    result = smallarea.fit(areas, **COMMON, **FITS[name], report=path)
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", path.read_text(encoding="utf-8").split("</style>")[1]))
    assert re.search(r"\b(nan|NaN|None|inf|np\.float64)\b", page) is None
    several = len(result.model["direct"]) > 1
    assert ("Between the responses" in page) == several
    assert ("plain shrinkage" in page) == (name not in ("log", "robust"))
    assert ("Orders of the chain" in page) == (name == "chain")
    for response in result.model["direct"]:
        assert f"checks of {response if several else 'the model'} " in page
    assert ("The model is of the logarithm" in page) == (name == "log")
    for term in result.coefficients["term"]:
        assert str(term) in page
    assert ("joint" in page) == (several and result.posterior is not None)


def test_reports_stay_light(areas, tmp_path):
    path = tmp_path / "report.html"
    smallarea.fit(areas, **COMMON, **FITS["three"], report=path)
    assert path.stat().st_size < 1_500_000
