"""Effective samples per second of the exact sampler and of NUTS on the same model and data, in one run.

Two responses with a separable CAR effect and independent effects. NUTS (NumPyro) gets the model in two forms:

- the exact CAR density from the list of neighbours and eigenvalues computed once, the fastest way to write it;
- a dense decoder in place of the prior, as networks of spatial priors have it: N inputs, N hidden units, N outputs, for
  each response. The weights are the ideal ones, which reproduce the CAR at one rho: nothing is lost by training.

The smallest effective sample size over hyperparameters and area quantities is divided by seconds, compilation left out
(each program runs once before the clock starts; NUTS pays for its warm-up).

usage: python benchmarks/against_nuts.py [LAYER ID_FIELD DIRECT VARIANCE DIRECT VARIANCE COVARIATE...]

Exit code 1 if the ratio is below 50 (exact density) or 200 (dense decoder).
"""

from __future__ import annotations

import sys
import time

import numpy as np
from cases import Case, from_layer, simulated
from smallarea.area_level import build_model, sample_posterior

BARS = {"exact CAR density": 50.0, "dense decoder": 200.0}
DRAWS = 600


def ours(case: Case, **model) -> tuple[float, float]:
    """Smallest effective sample size and seconds."""
    specification = case.specify(**model)
    built = build_model(specification, case.stacked, case.graph)
    sample_posterior(built, specification, seed=2)
    start = time.perf_counter()
    fit = sample_posterior(built, specification, seed=1)
    seconds = time.perf_counter() - start
    hyper = fit.weighted.ess(fit.weighted_values).min()
    # An area's mean is that of exact conditional means: only their spread over the hyperparameters carries Monte Carlo
    # error, and the weights' own effective size bounds it.
    return float(min(hyper, 1.0 / np.sum(fit.weighted.weights**2))), seconds


def nuts(case: Case, form: str) -> tuple[float, float]:
    """Smallest effective sample size and seconds of NUTS, one chain."""
    import arviz
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", form == "exact CAR density")
    data = case.stacked
    n, k = data.shape
    x = data.responses[0].x
    edges, degrees = case.graph.edges, np.asarray(case.graph.degrees, dtype=float)
    w = np.asarray(case.graph.adjacency.todense(), dtype=float)
    root = 1.0 / np.sqrt(degrees)
    eigenvalues = np.linalg.eigvalsh(root[:, None] * w * root)
    sd = np.sqrt(np.einsum("nkk->nk", data.covariance))
    # The ideal decoder at rho = 0.9: hidden units shifted far into the linear half of ELU, then L^{-T}.
    output = np.linalg.inv(np.linalg.cholesky(np.diag(degrees) - 0.9 * w)).T
    first, second = jnp.asarray(np.eye(n)), jnp.asarray(output.T)
    shift = 12.0

    def decode(z):
        hidden = jax.nn.elu(z @ first + shift)
        return hidden @ second - shift * second.sum(axis=0)

    def model():
        beta = numpyro.sample("beta", dist.Normal(0.0, 100.0).expand([x.shape[1], k]))
        sd_phi = numpyro.sample("sd_phi", dist.HalfNormal(1.0).expand([k]))
        sd_delta = numpyro.sample("sd_delta", dist.HalfNormal(1.0).expand([k]))
        r = numpyro.sample(
            "correlation", dist.TransformedDistribution(dist.Beta(2.0, 2.0), dist.transforms.AffineTransform(-1.0, 2.0))
        )
        lower = jnp.array([[1.0, 0.0], [r, jnp.sqrt(1.0 - r**2)]]) * sd_phi[:, None]
        if form == "dense decoder":
            psi = decode(numpyro.sample("z", dist.Normal(0.0, 1.0).expand([k, n]))).T
        else:
            rho = numpyro.sample("rho", dist.Uniform(0.0, 1.0))
            psi = numpyro.sample("psi", dist.ImproperUniform(dist.constraints.real_matrix, (), (n, k)))
            quadratic = jnp.sum(degrees[:, None] * psi**2) - 2.0 * rho * jnp.sum(psi[edges[:, 0]] * psi[edges[:, 1]])
            numpyro.factor("car", 0.5 * k * jnp.sum(jnp.log1p(-rho * eigenvalues)) - 0.5 * quadratic)
        delta = sd_delta * numpyro.sample("e", dist.Normal(0.0, 1.0).expand([n, k]))
        theta = numpyro.deterministic("theta", jnp.asarray(x) @ beta + psi @ lower.T + delta)
        with numpyro.handlers.mask(mask=data.observed):
            numpyro.sample("y", dist.Normal(theta, np.where(data.observed, sd, 1.0)), obs=data.y)

    start_at = {
        "beta": np.zeros((x.shape[1], k)),
        "sd_phi": np.full(k, 0.5),
        "sd_delta": np.full(k, 0.2),
        "correlation": 0.3,
        "rho": 0.7,
        "psi": np.zeros((n, k)),
        "z": np.zeros((k, n)),
        "e": np.zeros((n, k)),
    }
    chain = numpyro.infer.MCMC(
        numpyro.infer.NUTS(model, init_strategy=numpyro.infer.init_to_value(values=start_at)),
        num_warmup=DRAWS,
        num_samples=DRAWS,
        num_chains=1,
        progress_bar=False,
    )
    chain.run(jax.random.PRNGKey(0))
    start = time.perf_counter()
    chain.run(jax.random.PRNGKey(1))
    kept = {name: np.asarray(draws)[None] for name, draws in chain.get_samples().items()}
    seconds = time.perf_counter() - start
    names = [name for name in ("theta", "sd_phi", "sd_delta", "correlation", "rho") if name in kept]
    sizes = arviz.ess(arviz.convert_to_dataset({name: kept[name] for name in names}))
    return float(min(sizes[name].min() for name in names)), seconds


def main() -> int:
    case = from_layer(sys.argv[1:], 2) if len(sys.argv) > 1 else simulated(115)
    print(f"{case.name}: {len(case.graph.ids)} areas, 2 responses")
    print(f"{'':32}{'ESS':>9}{'seconds':>10}{'ESS / s':>10}{'ratio':>9}")
    rates = {}
    for name, model in (("exact, separable", {}), ("exact, chain", {"link": "chain"})):
        size, seconds = ours(case, **model)
        rates[name] = size / seconds
        print(f"{name:32}{size:9.0f}{seconds:10.2f}{rates[name]:10.1f}")
    missed = False
    for form, bar in BARS.items():
        size, seconds = nuts(case, form)
        ratio = rates["exact, separable"] / (size / seconds)
        missed |= ratio < bar
        print(f"{'NUTS, ' + form:32}{size:9.0f}{seconds:10.2f}{size / seconds:10.2f}{ratio:9.0f}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
