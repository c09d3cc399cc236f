"""What learned priors cost: gradients of each form, and effective samples a second against the dense decoder.

One process, one machine, double precision as in the fits (single precision beside it). Forms of one spatial effect:

- density: the sparse CAR density and its derivative;
- filter: white noise through the graph filter, and what of that is due to a unit of its degree;
- dense: white noise through two dense N x N layers, the architecture of the first paper. Its weights are set so that it
  is exactly ``L^{-T} z`` at rho = 0.99 (a large bias makes ELU the identity): what is compared is cost and mixing, and
  not how well it was trained.

``--sample`` also fits one response by NumPyro's NUTS and by the exact engine. A whole run with the dense decoder takes
hours, so its effective samples a second are put together from two measurements: effective samples of a gradient with
white noise itself as the unknown, as any decoder of a network has it (run through the filter, which is cheap: the same
posterior but for a rotation of the noise), and the seconds of a gradient through the dense layers.

usage: python benchmarks/learned_speed.py [--sample] [LAYER ID_FIELD DIRECT VARIANCE COVARIATE...]

Exit code 1 if a unit of the filter's degree costs three density gradients or more, or the filter gives less than 20
times the dense decoder's effective samples a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, from_layer, simulated
from smallarea.area_level import AreaLevelSpecification, build_model, sample_posterior
from smallarea.area_level.hmc import HmcPosterior, Observations, normal_observations, sample_hmc
from smallarea.area_level.hmc import setting as setting_module
from smallarea.area_level.hmc.setting import Setting
from smallarea.area_level.hmc.unit_fields import DecodedField
from smallarea.areas import AreaGraph
from smallarea.priors import SpatialPrior, bind, exact_prior, family
from smallarea.priors.graph_filter import standard_filter
from smallarea.priors.networks.network_settings import BetaVaeSettings

RHO = 0.99
# ELU is the identity above zero; no decoded value comes near this.
BIAS = 1e3
SECONDS = 3.0
LARGEST_RATIO = 3.0
SMALLEST_GAIN = 20.0
CHAINS, WARMUP, DRAWS = 2, 300, 300


def seconds_of(function: Callable, *arguments) -> float:
    """Median seconds of a compiled call."""
    jax.block_until_ready(function(*arguments))
    taken, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(taken) < 3:
        now = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - now)
    return float(np.median(taken))


def gradient(target: Callable) -> Callable:
    return jax.jit(jax.value_and_grad(target, (0, 1)))


def density_gradient(graph: AreaGraph, dtype: str) -> float:
    """Time the sparse CAR density by an edge list and eigenvalues, as others write it."""
    low, high = (jnp.asarray(end, dtype=jnp.int32) for end in graph.edges.T)
    degrees = jnp.asarray(graph.degrees, dtype=dtype)
    # The log determinant costs the same whatever the eigenvalues are.
    values = jnp.linspace(-0.9, 0.99, len(graph.ids), dtype=dtype)

    def target(phi, rho):
        square = jnp.sum(degrees * phi**2) - 2.0 * rho * jnp.sum(phi[low] * phi[high])
        return 0.5 * jnp.sum(jnp.log1p(-rho * values)) - 0.5 * square

    phi = jnp.asarray(np.random.default_rng(1).standard_normal(len(graph.ids)), dtype=dtype)
    return seconds_of(gradient(target), phi, jnp.asarray(RHO, dtype=dtype))


def decoder_gradient(prior: SpatialPrior, graph: AreaGraph, dtype: str) -> float:
    decoder = bind(prior, graph, dtype)

    def target(z, rho):
        return jnp.sum(jnp.tanh(decoder.decode(z, rho[None])))

    z = jnp.asarray(np.random.default_rng(1).standard_normal(decoder.latent_size), dtype=dtype)
    return seconds_of(gradient(target), z, jnp.asarray(RHO, dtype=dtype))


def dense_prior(graph: AreaGraph) -> SpatialPrior:
    """Make the paper's decoder, two dense layers, with weights that make it exactly the CAR at rho = 0.99."""
    exact = exact_prior(family("car"), graph)
    n = exact.n
    settings = BetaVaeSettings(latent=n, width=n)
    weights = {
        # Row j is what noise in area j alone gives.
        "hidden_weight": exact.root(np.full((n, 1), RHO), np.eye(n)).astype(np.float32),
        "hidden_bias": np.full(n, BIAS, dtype=np.float32),
        "output_weight": np.eye(n, dtype=np.float32),
        "output_bias": np.full(n, -BIAS, dtype=np.float32),
    }
    return SpatialPrior("beta-vae", exact.family, graph.ids, graph.edges, settings.to_json(), weights)


def costs(graph: AreaGraph, dense: SpatialPrior | None) -> bool:
    """Print the cost of a gradient of each form; return whether the filter's bar is missed."""
    missed = False
    filtered = standard_filter(family("car", upper=0.9999), graph)
    degree = filtered.settings["degree"]
    for dtype in ("float64", "float32"):
        density = density_gradient(graph, dtype)
        through = decoder_gradient(filtered, graph, dtype)
        ratio = through / degree / density
        missed |= ratio >= LARGEST_RATIO
        print(
            f"{dtype}: density {density * 1e3:.2f} ms, filter of degree {degree} {through * 1e3:.2f} ms, "
            f"a unit of its degree {ratio:.2f} density gradients",
            flush=True,
        )
        if dense is not None:
            two = decoder_gradient(dense, graph, dtype)
            print(f"{dtype}: two dense layers {two * 1e3:.1f} ms, {two / through:.1f} filters", flush=True)
    return missed


def model_gradient(setting: Setting, chains: int) -> float:
    """Time a gradient of the log posterior for a chain, of so many at once."""
    keys = np.random.default_rng(2)
    unknowns = {name: 0.1 * keys.standard_normal((chains, *shape)) for name, shape in setting.model.shapes.items()}
    return seconds_of(jax.jit(jax.vmap(jax.value_and_grad(setting.model.log_density))), unknowns) / chains


def fitted(name: str, observations: Observations, model: AreaLevelSpecification, graph: AreaGraph) -> HmcPosterior:
    fit = sample_hmc(
        observations, model, graph, form="filter", chains=CHAINS, warmup=WARMUP, draws=CHAINS * DRAWS, seed=1
    )
    d = fit.diagnostics
    print(
        f"{name}: {CHAINS} chains of {WARMUP} + {DRAWS} steps, {sum(fit.seconds.values()):.0f} s, {d.leapfrogs:.0f} "
        f"gradients a step, ESS of hyperparameters {min(d.ess.values()):.0f}, of areas {d.theta_ess_min:.0f}, R-hat "
        f"{d.r_hat_max:.3f}",
        flush=True,
    )
    return fit


def rate(fit: HmcPosterior, seconds: float) -> float:
    """Effective samples a second of drawing, from those of a gradient and the seconds of one."""
    return fit.diagnostics.ess_min / (fit.diagnostics.leapfrogs * len(fit.theta) * seconds)


def samples(case: Case, dense: SpatialPrior) -> bool:
    """Fit one response in all ways; return whether the bar is missed."""
    one = case.one(0)
    observations = normal_observations(one.stacked, one.graph.ids)
    model = one.specify(method="hmc")
    start = time.perf_counter()
    exact = sample_posterior(build_model(one.specify(), one.stacked, one.graph), one.specify())
    taken = time.perf_counter() - start
    reached = float(exact.weighted.ess(exact.weighted_values).min())
    print(
        f"exact engine: {taken:.1f} s, ESS of hyperparameters {reached:.0f}: {reached / taken:.1f} a second", flush=True
    )
    with jax.enable_x64(True):
        filtered = model_gradient(Setting(observations, model, one.graph, "filter", None), CHAINS)
        layers = model_gradient(Setting(observations, model, one.graph, "prior", dense), CHAINS)
    print(f"gradients of the log posterior: filter {filtered * 1e3:.1f} ms, dense layers {layers * 1e3:.0f} ms a chain")
    ours = fitted("filter", observations, model, one.graph)
    apart = np.abs(ours.mean - exact.mean) / exact.sd
    print(f"filter against exact: means at most {apart.max():.2f}, on average {apart.mean():.3f} posterior SD apart")
    with white_noise_as_the_unknown():
        plain = fitted("white noise as the unknown", observations, model, one.graph)
    mine, theirs = rate(ours, filtered), rate(plain, layers)
    print(
        f"effective samples a second of drawing: filter {mine:.3f}, dense layers {theirs:.5f}: {mine / theirs:.0f} "
        f"times; exact engine {reached / taken / mine:.0f} times the filter"
    )
    return mine / theirs < SMALLEST_GAIN


@contextmanager
def white_noise_as_the_unknown() -> Iterator[None]:
    """Let filters be handled like networks."""
    usual = setting_module.FilterField
    setting_module.FilterField = lambda prior, graph, _, weights: DecodedField(bind(prior, graph), weights.shape[1])
    try:
        yield
    finally:
        setting_module.FilterField = usual


def main(arguments: list[str]) -> int:
    sampling = "--sample" in arguments
    fields = [argument for argument in arguments if argument != "--sample"]
    case = from_layer(fields, 1) if fields else simulated(8_000, 1)
    print(f"{case.name}: {len(case.graph.ids)} areas, {len(case.graph.edges)} edges", flush=True)
    dense = dense_prior(case.graph)
    with jax.enable_x64(True):
        missed = costs(case.graph, dense)
    return int((samples(case, dense) if sampling else False) or missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
