"""Posterior draws: exceedance, ArviZ, NetCDF."""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from smallarea.errors import EngineUnavailable, JobProblem, TableProblem
from smallarea.results.posterior import PosteriorDraws

GROUPS = ("posterior", "observed_data")


@pytest.fixture
def draws() -> PosteriorDraws:
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(203, 5, 2)) + np.arange(5)[:, None]
    theta[:, 4] = np.nan
    return PosteriorDraws(
        ("a", "b", "07", " d ", "ü <e>"),
        ("rate", "income"),
        ("intercept", "x"),
        theta,
        rng.normal(size=(203, 2, 2)),
        {"sd_delta[deaths/1000]": rng.uniform(size=203), "rho": rng.uniform(size=203)},
        np.array([[1.0, 2.0, np.nan, 3.0, np.nan], [1.0, np.nan, 2.0, 3.0, np.nan]]).T,
        np.array([[0.1, 0.2, np.nan, 0.3, np.nan], [0.1, np.nan, 0.2, 0.3, np.nan]]).T,
        {"seed": 7, "model": "theta = x", "level": 0.1},
    )


def same(one: PosteriorDraws, other: PosteriorDraws) -> None:
    assert one.areas == other.areas
    assert one.responses == other.responses
    assert one.terms == other.terms
    assert dict(one.attributes) == dict(other.attributes)
    assert set(one.hyperparameters) == set(other.hyperparameters)
    for name, values in one.hyperparameters.items():
        np.testing.assert_array_equal(values, other.hyperparameters[name])
    for name in ("theta", "beta", "direct", "variance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(other, name).dtype == np.float64


def test_length_and_exceedance(draws):
    assert len(draws) == 203
    got = draws.exceedance(1.5)
    assert got.shape == (5, 2)
    np.testing.assert_allclose(got[:4], (draws.theta[:, :4] > 1.5).mean(axis=0))
    assert np.isnan(got[4]).all()
    np.testing.assert_array_equal(draws.exceedance(1.5, "income"), got[:, 1])
    assert draws.exceedance(-100.0)[:4].tolist() == [[1.0, 1.0]] * 4
    assert draws.exceedance(100.0)[:4].tolist() == [[0.0, 0.0]] * 4


def test_a_response_by_name(draws):
    np.testing.assert_array_equal(draws.of("income"), draws.theta[:, :, 1])
    with pytest.raises(JobProblem, match=r"no response 'incme'.*'rate', 'income'"):
        draws.of("incme")
    with pytest.raises(JobProblem, match=r"which response.*'rate', 'income'"):
        draws.of(None)
    single = replace(draws, responses=("rate",), theta=draws.theta[:, :, :1])
    np.testing.assert_array_equal(single.of(None), draws.theta[:, :, 0])


def test_arviz_layout(draws):
    pytest.importorskip("arviz")
    data = draws.to_arviz()
    posterior = data["posterior"]
    # 203 draws are one chain: nothing is left out.
    assert posterior["theta"].shape == (1, 203, 5, 2)
    assert posterior["theta"].dims == ("chain", "draw", "area", "response")
    assert posterior["beta"].dims == ("chain", "draw", "term", "response")
    assert posterior["rho"].shape == (1, 203)
    assert posterior["area"].values.tolist() == list(draws.areas)
    assert posterior["response"].values.tolist() == ["rate", "income"]
    assert posterior["term"].values.tolist() == ["intercept", "x"]
    observed = data["observed_data"]
    np.testing.assert_array_equal(observed["direct"].values, draws.direct)
    np.testing.assert_array_equal(observed["variance"].values, draws.variance)
    assert observed["direct"].dims == ("area", "response")


@pytest.mark.parametrize(("draws_", "chains"), [(200, 4), (201, 3), (202, 2), (203, 1)])
def test_as_many_chains_as_the_draws_fill(draws, draws_, chains):
    pytest.importorskip("arviz")
    hyper = {name: values[:draws_] for name, values in draws.hyperparameters.items()}
    fewer = replace(draws, theta=draws.theta[:draws_], beta=draws.beta[:draws_], hyperparameters=hyper)
    posterior = fewer.to_arviz()["posterior"]
    assert posterior.sizes["chain"] == chains
    np.testing.assert_array_equal(posterior["theta"].values.reshape(draws_, 5, 2), fewer.theta)
    np.testing.assert_array_equal(posterior["rho"].values.ravel(), hyper["rho"])


def test_independent_draws_look_independent(draws):
    arviz = pytest.importorskip("arviz")
    rng = np.random.default_rng(2)
    one = np.ones((1, 1))
    many = PosteriorDraws(
        ("a",), ("y",), ("x",), rng.normal(size=(4000, 1, 1)), rng.normal(size=(4000, 1, 1)), {}, one, one
    )
    # The effective size of independent draws is their number, to about 10 %.
    assert float(arviz.ess(many.to_arviz())["theta"].values.item()) > 3000


def test_round_trip(draws, tmp_path):
    pytest.importorskip("arviz")
    pytest.importorskip("h5netcdf")
    path = tmp_path / "draws.nc"
    draws.save(path)
    same(draws, PosteriorDraws.load(path))
    single = replace(
        draws, responses=("rate",), **{n: getattr(draws, n)[..., :1] for n in ("theta", "beta", "direct", "variance")}
    )
    single.save(tmp_path / "one.nc")
    same(single, PosteriorDraws.load(tmp_path / "one.nc"))


def test_round_trip_of_the_least_there_can_be(tmp_path):
    pytest.importorskip("arviz")
    pytest.importorskip("h5netcdf")
    one = np.ones((1, 1))
    least = PosteriorDraws(
        ("a",), ("y",), (), np.ones((1, 1, 1)), np.empty((1, 0, 1)), {}, one, one, {"n": np.int64(3)}
    )
    least.save(tmp_path / "least.nc")
    same(replace(least, attributes={"n": 3}), PosteriorDraws.load(tmp_path / "least.nc"))


def test_arviz_reads_the_file(draws, tmp_path):
    arviz = pytest.importorskip("arviz")
    pytest.importorskip("h5netcdf")
    path = tmp_path / "draws.nc"
    draws.save(path)
    back = arviz.from_netcdf(str(path), engine="h5netcdf")
    np.testing.assert_array_equal(back["posterior"]["theta"].values[0], draws.theta)
    assert [str(a) for a in back["posterior"]["area"].values] == list(draws.areas)
    attributes = {**back.attrs, **back["posterior"].attrs}
    assert attributes["seed"] == 7
    assert attributes["model"] == "theta = x"


def _damaged(draws, path, kind):
    xarray = pytest.importorskip("xarray")
    draws.save(path)
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("area,theta")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "other netcdf":
        xarray.Dataset({"temperature": ("x", np.zeros(3))}).to_netcdf(path, engine="h5netcdf")
    else:
        groups = {name: xarray.load_dataset(path, group=name, engine="h5netcdf") for name in GROUPS}
        if kind == "no variance":
            groups["observed_data"] = groups["observed_data"].drop_vars("variance")
        elif kind == "no theta":
            groups["posterior"] = groups["posterior"].drop_vars("theta")
        elif kind == "old layout":
            groups["posterior"] = groups["posterior"].isel(response=0, drop=True)
        elif kind == "no names":
            groups["posterior"] = groups["posterior"].drop_vars("area")
        elif kind == "other areas":
            groups["observed_data"] = groups["observed_data"].isel(area=[0, 1])
        path.unlink()
        for mode, (name, group) in zip("wa", groups.items(), strict=True):
            group.to_netcdf(path, mode=mode, group=name, engine="h5netcdf")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "damaged"),
        ("text", "damaged"),
        ("empty", "damaged"),
        ("other netcdf", "another kind of file"),
        ("no variance", "no variable 'variance'"),
        ("no theta", "no variable 'theta'"),
        ("old layout", "'theta' has the dimensions 'chain', 'draw', 'area' and not"),
        ("no names", "does not name its dimensions 'area'"),
        ("other areas", "5 values of area among the draws and 2"),
    ],
)
def test_a_file_that_is_not_ours(draws, tmp_path, kind, said):
    pytest.importorskip("arviz")
    path = tmp_path / "draws.nc"
    _damaged(draws, path, kind)
    with pytest.raises(TableProblem, match=said) as caught:
        PosteriorDraws.load(path)
    assert "draws.nc" in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(TableProblem, match="no file"):
        PosteriorDraws.load(tmp_path / "none.nc")


def test_reading_without_the_backend(draws, tmp_path, monkeypatch):
    pytest.importorskip("arviz")
    draws.save(tmp_path / "x.nc")
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(EngineUnavailable, match=r"h5netcdf.*smallarea\[posterior\]"):
        PosteriorDraws.load(tmp_path / "x.nc")


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
    assert tree["posterior"]["theta"].dims == ("chain", "draw", "area", "response")
    draws.save(tmp_path / "tree.nc")
    back = xarray.open_datatree(tmp_path / "tree.nc", engine="h5netcdf")
    np.testing.assert_array_equal(back["observed_data"]["direct"].values, draws.direct)
    back.close()
    same(draws, PosteriorDraws.load(tmp_path / "tree.nc"))
