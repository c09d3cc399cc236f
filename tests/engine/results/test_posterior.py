"""Posterior draws: exceedance, ArviZ, NetCDF."""

import sys
import types

import numpy as np
import pytest
from smallarea.errors import EngineUnavailable
from smallarea.results.posterior import PosteriorDraws


@pytest.fixture
def draws() -> PosteriorDraws:
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(203, 5)) + np.arange(5)
    theta[:, 4] = np.nan
    return PosteriorDraws(
        ("a", "b", "c", "d", "ü <e>"),
        ("intercept", "x"),
        theta,
        rng.normal(size=(203, 2)),
        {"sd_delta": rng.uniform(size=203), "rho": rng.uniform(size=203)},
        np.array([1.0, 2.0, np.nan, 3.0, np.nan]),
        np.array([0.1, 0.2, np.nan, 0.3, np.nan]),
        {"seed": 7, "model": "theta = x"},
    )


def test_length_and_exceedance(draws):
    assert len(draws) == 203
    got = draws.exceedance(1.5)
    np.testing.assert_allclose(got[:4], (draws.theta[:, :4] > 1.5).mean(axis=0))
    assert np.isnan(got[4])
    assert draws.exceedance(-100.0)[:4].tolist() == [1.0] * 4
    assert draws.exceedance(100.0)[:4].tolist() == [0.0] * 4


def test_arviz_layout(draws):
    pytest.importorskip("arviz")
    data = draws.to_arviz()
    posterior = data["posterior"] if hasattr(data, "__getitem__") else data.posterior
    # Four chains of 50; the three draws that do not fill a row are left out.
    assert posterior["theta"].shape == (4, 50, 5)
    assert posterior["theta"].dims == ("chain", "draw", "area")
    assert posterior["beta"].dims == ("chain", "draw", "term")
    assert posterior["rho"].shape == (4, 50)
    assert posterior["area"].values.tolist() == list(draws.areas)
    assert posterior["term"].values.tolist() == ["intercept", "x"]
    np.testing.assert_array_equal(posterior["theta"].values.reshape(200, 5), draws.theta[:200])
    np.testing.assert_array_equal(posterior["sd_delta"].values.ravel(), draws.hyperparameters["sd_delta"][:200])
    observed = data["observed_data"]
    np.testing.assert_array_equal(observed["direct"].values, draws.direct)
    np.testing.assert_array_equal(observed["variance"].values, draws.variance)
    assert observed["direct"].dims == ("area",)


def test_independent_draws_look_independent(draws):
    arviz = pytest.importorskip("arviz")
    rng = np.random.default_rng(2)
    many = PosteriorDraws(
        ("a",), ("x",), rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1)), {}, np.ones(1), np.ones(1)
    )
    # The effective size of independent draws is their number, to about 10 %.
    assert float(arviz.ess(many.to_arviz())["theta"].values[0]) > 3000


def test_netcdf_round_trip(draws, tmp_path):
    arviz = pytest.importorskip("arviz")
    pytest.importorskip("h5netcdf")
    path = tmp_path / "draws.nc"
    draws.save(path)
    back = arviz.from_netcdf(str(path), engine="h5netcdf")
    np.testing.assert_array_equal(back["posterior"]["theta"].values.reshape(200, 5), draws.theta[:200])
    assert [str(a) for a in back["posterior"]["area"].values] == list(draws.areas)
    attributes = {**back.attrs, **back["posterior"].attrs}
    assert attributes["seed"] == "7"
    assert attributes["model"] == "theta = x"


@pytest.mark.parametrize(("missing", "call"), [("arviz", "to_arviz"), ("h5netcdf", "save")])
def test_what_is_not_installed_is_named(draws, tmp_path, monkeypatch, missing, call):
    pytest.importorskip("arviz")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EngineUnavailable, match=f"{missing}.*smallarea\\[posterior\\]"):
        draws.save(tmp_path / "x.nc") if call == "save" else draws.to_arviz()
    assert not (tmp_path / "x.nc").exists()


def test_newer_arviz_gets_a_tree(draws, monkeypatch, tmp_path):
    # Since its version 1 ArviZ has no class of its own and works on xarray's tree.
    xarray = pytest.importorskip("xarray")
    monkeypatch.setitem(sys.modules, "arviz", types.ModuleType("arviz"))
    tree = draws.to_arviz()
    assert isinstance(tree, xarray.DataTree)
    assert tree["posterior"]["theta"].dims == ("chain", "draw", "area")
    draws.save(tmp_path / "tree.nc")
    back = xarray.open_datatree(tmp_path / "tree.nc", engine="h5netcdf")
    np.testing.assert_array_equal(back["observed_data"]["direct"].values, draws.direct)
    back.close()
