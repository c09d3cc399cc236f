"""A file with right checksums and wrong settings is refused where its weights are put to use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from smallarea.areas import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors import SpatialPrior, bind, family
from smallarea.priors.files.prior_file import load_prior, save_prior
from smallarea.priors.graph_filter import standard_filter

pytest.importorskip("jax")

GRAPH = AreaGraph.from_edges(tuple("abcde"), np.array([[0, 1], [1, 2], [2, 3], [3, 4], [0, 2]]))
STRANGE = (None, True, -1, 0, 10**9, 2**62, 1e300, "1", "__import__('os')", [], {}, [1], {"a": 1})


def through_a_file(tmp_path: Path, architecture: str, settings: dict, weights: dict) -> SpatialPrior:
    prior = SpatialPrior(architecture, family("car"), GRAPH.ids, GRAPH.edges, settings, weights)
    save_prior(tmp_path / "x.safetensors", prior)
    return load_prior(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["degree", "cut"])
@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_a_filter_with_strange_settings(tmp_path: Path, name: str, value: object) -> None:
    good = standard_filter(family("car"), GRAPH, degree=4)
    prior = through_a_file(tmp_path, "graph-filter", {**good.settings, name: value}, dict(good.weights))
    with pytest.raises(PriorProblem):
        bind(prior, GRAPH, "float32")


@pytest.mark.parametrize("architecture", ["decoder", "beta-vae"])
@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_networks_with_strange_settings(tmp_path: Path, architecture: str, value: object) -> None:
    names = {"decoder": ("terms", "degree", "start"), "beta-vae": ("latent", "width", "cure", "beta")}[architecture]
    weights = {"matrices": np.ones((1, 1, 1), dtype=np.float32)}
    for settings in [{name: value} for name in names] + [{"unknown": value}, {"__class__": value}]:
        prior = through_a_file(tmp_path, architecture, settings, weights)
        with pytest.raises(PriorProblem):
            bind(prior, GRAPH, "float32")


def test_weights_of_other_shapes(tmp_path: Path) -> None:
    good = standard_filter(family("car"), GRAPH, degree=4)
    table = good.weights["coefficients"]
    for weights in (
        {"coefficients": table[:3]},
        {"coefficients": table[None]},
        {"coefficients": table, "more": table},
        {"other": table},
    ):
        prior = through_a_file(tmp_path, "graph-filter", dict(good.settings), weights)
        with pytest.raises(PriorProblem, match="one table of coefficients"):
            bind(prior, GRAPH, "float32")
