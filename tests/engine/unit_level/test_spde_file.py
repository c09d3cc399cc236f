"""Saved linear models predict what they predicted; other files are refused."""

import json

import numpy as np
import pytest
from smallarea.errors import OutputProblem
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.spde_file import load_spde, save_spde
from smallarea.unit_level.spde_linear import SpdeSettings, fit_spde


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(1)
    place, x = 5e5 + 1e5 * rng.uniform(size=(40, 2)), rng.normal(size=(40, 2))
    rows = np.repeat(np.arange(40), 3)
    y = x[rows, 0] + rng.normal(size=120)
    strata = np.where(rows % 2, "urban", "rural")
    clusters = Clusters.from_rows(y, rows, place[rows], x[rows], weights=np.ones(120), strata=strata)
    mesh = build_mesh(place, MeshSizes(1.5e4, 4e4, 5e4), crs="EPSG:32736")
    return fit_spde(clusters, SpdeSettings(draws=20, field_prior=PcPrior(4e4, 0.2, 1.0, 0.1)), mesh=mesh)


def test_a_saved_model_is_the_same(fit, tmp_path):
    save_spde(fit, tmp_path / "fit.npz")
    found = load_spde(tmp_path / "fit.npz")
    points, x = fit.clusters.coordinates[:9], fit.clusters.covariates[:9]
    np.testing.assert_array_equal(found.draw(points, x), fit.draw(points, x))
    assert found.table().equals(fit.table())
    assert (found.settings, found.field_prior, found.error) == (fit.settings, fit.field_prior, fit.error)
    assert (found.ess, found.notes) == (fit.ess, fit.notes)
    assert found.clusters.ids == fit.clusters.ids
    assert found.clusters.strata == fit.clusters.strata
    np.testing.assert_array_equal(found.clusters.weights, fit.clusters.weights)
    assert found.mesh.to_frame().crs.to_epsg() == 32736


def test_other_files_are_refused(fit, tmp_path):
    path = tmp_path / "fit.npz"
    with pytest.raises(OutputProblem, match="no file"):
        load_spde(path)
    path.write_bytes(b"something else")
    with pytest.raises(OutputProblem, match="damaged"):
        load_spde(path)
    save_spde(fit, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OutputProblem, match="damaged"):
        load_spde(path)
    np.savez(path, head=np.array(json.dumps({"kind": "smallarea SPDE posterior", "format": 9})))
    with pytest.raises(OutputProblem, match="another version"):
        load_spde(path)
    np.savez(path, head=np.array(json.dumps({"kind": "trees", "format": 1})))
    with pytest.raises(OutputProblem, match="something else"):
        load_spde(path)
    with pytest.raises(OutputProblem, match=r"\.npz"):
        save_spde(fit, tmp_path / "fit.txt")
