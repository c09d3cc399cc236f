"""Checkpoints: a stopped fit goes on, a finished one is asked for more, and a file of something else is left alone."""

import numpy as np
import pandas as pd
import pytest
from smallarea.areas import AreaGraph
from smallarea.errors import JobProblem, OutputProblem
from smallarea.workflows import fit


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(4)
    side = 7
    at = np.arange(side * side).reshape(side, side)
    edges = np.concatenate(
        [np.column_stack([at[:, :-1].ravel(), at[:, 1:].ravel()]), np.column_stack([at[:-1].ravel(), at[1:].ravel()])]
    )
    ids = [f"a{i}" for i in at.ravel()]
    trend = np.add.outer(np.arange(side), np.arange(side)).ravel() / side
    table = pd.DataFrame(
        {"id": ids, "y": trend + rng.normal(scale=0.5, size=len(ids)), "v": rng.uniform(0.05, 0.3, len(ids))}
    )
    graph = AreaGraph.from_edges(ids, edges)
    return {"table": table, "table_id_field": "id", "graph": graph, "direct": "y", "variance": "v", "draws": 200}


def draws(result):
    return result.posterior.theta


def test_a_stopped_fit_goes_on_to_the_same_result(case, tmp_path):
    path = tmp_path / "run.npz"
    seen = []

    def stop(percent, text):
        if "effective sample size" in text:
            seen.append(text)
        if len(seen) > 3:
            raise StopError

    with pytest.raises(StopError):
        fit(**case, checkpoint=path, progress=stop)
    assert path.exists()
    before = path.read_bytes()
    again = fit(**case, checkpoint=path)
    assert path.read_bytes() != before
    straight = fit(**case)
    np.testing.assert_array_equal(draws(again), draws(straight))
    assert again.diagnostics["evaluations"] == straight.diagnostics["evaluations"]


def test_a_finished_fit_is_asked_for_more(case, tmp_path):
    path = tmp_path / "run.npz"
    first = fit(**case, checkpoint=path, min_ess=300)
    more = fit(**case, checkpoint=path, min_ess=1500)
    assert more.diagnostics["ess_min"] >= 1500 > first.diagnostics["ess_min"]
    assert more.diagnostics["evaluations"] > first.diagnostics["evaluations"]
    untouched = path.read_bytes()
    fit(**case, checkpoint=path, min_ess=1000)
    assert path.read_bytes() == untouched


@pytest.mark.parametrize("change", [{"seed": 2}, {"priors": {"sd_phi": "HalfNormal(2)"}}, {"random_effect": "leroux"}])
def test_another_model_is_refused_and_the_file_left_alone(case, tmp_path, change):
    path = tmp_path / "run.npz"
    fit(**case, checkpoint=path, min_ess=100)
    before = path.read_bytes()
    with pytest.raises(OutputProblem, match="another model"):
        fit(**{**case, **change}, checkpoint=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_file_of_something_else_is_left_alone(case, tmp_path, content):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(OutputProblem, match="not a checkpoint"):
        fit(**case, checkpoint=path)
    assert path.read_bytes() == content


def test_a_checkpoint_needs_a_sampler(case, tmp_path):
    with pytest.raises(JobProblem, match="one sampler"):
        fit(**case, checkpoint=tmp_path / "run.npz", method="reml", random_effect="iid")
