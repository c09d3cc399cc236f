"""How close learned priors come to the prior they imitate, and the ablation of the autoencoder.

Run with LAYER ID_FIELD for a map of your own; otherwise 115 random areas. ``--ablation STEPS`` also trains the
autoencoder in eleven other shapes, each for so many steps.

All errors are relative Frobenius errors of covariances of what the decoder makes of white noise. None of them is
simulated: the graph filter and the decoder are linear in the noise, and the moments of the autoencoder's decoder have a
series of their own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from cases import delaunay_graph
from smallarea.areas import AreaGraph, build_adjacency, read_areas
from smallarea.priors import SpatialPrior, bind, exact_prior, family
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.networks.aggregate import cured, decoded_moments, elu, frobenius, imitated
from smallarea.priors.networks.modules import DecoderNetwork, VaeNetwork
from smallarea.priors.networks.network_settings import BetaVaeSettings, DecoderSettings
from smallarea.priors.networks.training import train

SEED = 1
SHOWN = (0.3, 0.7, 0.9, 0.99)
GRID = (*np.arange(10) / 10, 0.95, 0.99)
BARS = {"decoder": 0.05, "neighbours": 0.05, "seconds": 300.0}
CURES = ("none", "aggregate", "close")


@dataclass(frozen=True)
class Uncured(VaeNetwork):
    """An autoencoder that keeps its encoder, so that one training serves all cures."""

    def finish(self, weights, rng):  # noqa: ARG002
        return weights, {}


def neighbour_correlation(covariance: np.ndarray, edges: np.ndarray) -> float:
    scale = np.sqrt(np.diag(covariance))
    return float(np.mean((covariance / scale / scale[:, None])[edges[:, 0], edges[:, 1]]))


def row(name: str, seconds: float, errors: list[float], rest: str = "") -> None:
    print(f"{name:34}{seconds:9.0f}" + "".join(f"{error:10.2g}" for error in errors) + f"  {rest}", flush=True)


def conditional_errors(prior: SpatialPrior, graph: AreaGraph, exact, grid) -> list[float]:
    """Errors of a linear decoder at given rho, from its whole covariance matrix."""
    learned = LearnedField(bind(prior, graph), exact.nodes)
    values = [np.array([rho]) for rho in grid]
    return [frobenius(learned.covariance(value), exact.covariance(value)) for value in values]


def graph_filter(graph: AreaGraph, exact) -> bool:
    from smallarea.priors.graph_filter import standard_filter

    start = time.perf_counter()
    prior = standard_filter(exact.family, graph)
    seconds = time.perf_counter() - start
    row("graph-filter", seconds, conditional_errors(prior, graph, exact, SHOWN))
    return seconds > BARS["seconds"]


def decoder(graph: AreaGraph, exact, settings: DecoderSettings, name: str) -> bool:
    start = time.perf_counter()
    trained = train(DecoderNetwork(exact, settings), seed=SEED, device="cpu")
    seconds = time.perf_counter() - start
    prior = SpatialPrior("decoder", exact.family, graph.ids, graph.edges, settings.to_json(), trained.weights)
    errors = conditional_errors(prior, graph, exact, SHOWN)
    worst = max(conditional_errors(prior, graph, exact, GRID))
    row(name, seconds, errors, f"worst of {len(GRID)} values of rho {worst:.2g}")
    return worst > BARS["decoder"] or seconds > BARS["seconds"]


def autoencoder(graph: AreaGraph, exact, settings: BetaVaeSettings, name: str) -> bool:
    """Train once and show every cure: error against the mixture, at each rho, neighbours, tails."""
    start = time.perf_counter()
    trained = train(Uncured(exact, settings), seed=SEED, device="cpu")
    seconds = time.perf_counter() - start
    weights = {key: value.astype(float) for key, value in trained.weights.items()}
    wanted = imitated(exact).covariance()
    aim = neighbour_correlation(wanted, graph.edges)
    missed = False
    for cure in CURES:
        start = time.perf_counter()
        kept, _ = cured(exact, replace(settings, cure=cure), weights, np.random.default_rng(SEED))
        spent = seconds + time.perf_counter() - start
        covariance = decoded_moments(kept)[1]
        errors = [frobenius(covariance, exact.covariance(np.array([rho]))) for rho in SHOWN]
        found = neighbour_correlation(covariance, graph.edges)
        row(
            f"{name}, cure {cure}",
            spent,
            errors,
            f"mixture {frobenius(covariance, wanted):.2g}, neighbours {found:.3f} ({found / aim - 1:+.1%}), "
            f"kurtosis {kurtosis(kept):.2f}, loss {trained.record['best_loss']:.2f}",
        )
        missed |= cure == "close" and abs(found / aim - 1.0) > BARS["neighbours"]
    return missed or seconds > BARS["seconds"]


def kurtosis(weights) -> float:
    """Mean kurtosis of the areas' values, from 40,000 draws."""
    z = np.random.default_rng(SEED).standard_normal((40_000, len(weights["hidden_weight"])))
    hidden = elu(z @ weights["hidden_weight"] + weights["hidden_bias"])
    x = hidden @ weights["output_weight"] + weights["output_bias"]
    x -= x.mean(axis=0)
    return float(np.mean(np.mean(x**4, axis=0) / np.mean(x**2, axis=0) ** 2))


def exact_kurtosis(exact) -> float:
    """Return the same of the mixture, which is Gaussian given rho."""
    parts = [(weight, exact.entries(value)[: exact.n]) for weight, value in imitated(exact).components]
    second = sum(weight * variance for weight, variance in parts)
    return float(np.mean(3.0 * sum(weight * variance**2 for weight, variance in parts) / second**2))


def ablation(graph: AreaGraph, exact, steps: int) -> None:
    n = exact.n
    print(f"\nAblation, {steps} steps each; beta in units of 1 / J")
    for latent in (n // 4, n // 2, n, 2 * n):
        for times in (0.1, 1.0, 10.0):
            settings = BetaVaeSettings(latent=latent, beta=times / latent, steps=steps)
            autoencoder(graph, exact, settings, f"J = {latent}, beta x {times:g}")


def main() -> int:
    import jax

    jax.config.update("jax_enable_x64", True)
    arguments, steps = sys.argv[1:], 0
    if "--ablation" in arguments:
        at = arguments.index("--ablation")
        steps = int(arguments[at + 1])
        del arguments[at : at + 2]
    graph = build_adjacency(read_areas(arguments[0], id_field=arguments[1])) if arguments else delaunay_graph(115)
    exact = exact_prior(family("car"), graph)
    aim = neighbour_correlation(imitated(exact).covariance(), graph.edges)
    print(
        f"{exact.n} areas, rho uniform to 0.99; the mixture's correlation of neighbours is {aim:.3f}, its kurtosis "
        f"{exact_kurtosis(exact):.2f}"
    )
    print(f"{'':34}{'seconds':>9}" + "".join(f"{'rho ' + str(rho):>10}" for rho in SHOWN))
    missed = graph_filter(graph, exact)
    missed |= decoder(graph, exact, DecoderSettings(), "decoder")
    decoder(graph, exact, DecoderSettings(start="random", rate=3e-3, last_rate=1e-5), "decoder, random start")
    missed |= autoencoder(graph, exact, BetaVaeSettings(), "beta-vae")
    if steps:
        ablation(graph, exact, steps)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
