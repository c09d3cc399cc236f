"""Which form of the spatial effect to use for counts: effective samples a second of each, with few data and with many.

Poisson counts on random planar maps, a CAR effect and an independent one, one covariate. ``few`` expects 3 events an
area, ``many`` 300. Forms: density and filter of `sample_hmc`, and on maps of up to 200 areas the form prior with a
trained decoder, whose white noise is the unknown itself. Seconds include compilation.

usage: python benchmarks/count_forms.py [--areas 115 1000] [--draws 2000] [--warmup 300]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from cases import delaunay_graph
from smallarea.area_level import specify
from smallarea.area_level.hmc import poisson_observations, sample_hmc
from smallarea.areas import AreaGraph
from smallarea.priors import SpatialPrior, family
from smallarea.priors.exact import exact_prior
from smallarea.priors.networks.network_settings import network_settings
from smallarea.priors.networks.training import train_network

EXPECTED = {"few": 3.0, "many": 300.0}
TRUTH = {"sd_phi": 0.9, "rho": 0.95, "sd_delta": 0.15}
LARGEST_OF_DECODERS = 200


def counts(graph: AreaGraph, expected: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw counts and a covariate."""
    rng = np.random.default_rng(len(graph.ids))
    n = len(graph.ids)
    field = exact_prior(family("car"), graph).draws(np.array([[TRUTH["rho"]]]), rng)[0]
    x = rng.standard_normal(n)
    linear = 0.3 * x + TRUTH["sd_phi"] * field + TRUTH["sd_delta"] * rng.standard_normal(n)
    return rng.poisson(expected * np.exp(linear)).astype(float), x


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--areas", type=int, nargs="+", default=[115, 1000])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--warmup", type=int, default=300)
    arguments = parser.parse_args()
    print("| areas | data | form | seconds | ESS, worst hyperparameter | ESS, worst area | a second | divergent |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for n in arguments.areas:
        graph = delaunay_graph(n)
        decoder = trained_decoder(graph) if n <= LARGEST_OF_DECODERS else None
        for data, expected in EXPECTED.items():
            y, x = counts(graph, expected)
            exposure = np.full((n, 1), expected)
            observations = poisson_observations(graph.ids, y[:, None], exposure, x[:, None], ["x"])
            for form in ("density", "filter", "prior") if decoder is not None else ("density", "filter"):
                start = time.perf_counter()
                fit = sample_hmc(
                    observations,
                    specify(["x"], likelihood="poisson", method="hmc"),
                    graph,
                    form=form,
                    prior=decoder if form == "prior" else None,
                    draws=arguments.draws,
                    warmup=arguments.warmup,
                )
                seconds = time.perf_counter() - start
                found = fit.diagnostics
                worst, areas = min(found.ess.values()), found.theta_ess_min
                print(
                    f"| {n} | {data} | {form} | {seconds:.0f} | {worst:.0f} | {areas:.0f} | "
                    f"{min(worst, areas) / seconds:.1f} | {found.divergences} |",
                    flush=True,
                )


def trained_decoder(graph: AreaGraph) -> SpatialPrior:
    """Train a decoder for the map."""
    exact, settings = exact_prior(family("car"), graph), network_settings("decoder", {})
    trained = train_network(exact, "decoder", settings, seed=1)
    return SpatialPrior(
        "decoder", exact.family, graph.ids, graph.edges, settings.to_json(), trained.weights, trained.record
    )


if __name__ == "__main__":
    main()
