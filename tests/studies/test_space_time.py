"""The space-time model: calibration by simulation, and NUTS on the model as it is written."""

import math

import numpy as np
import pytest
from dense_model import unit_covariance
from scipy import stats
from smallarea.area_level import StandardisedData, build_model, sample_posterior, specify_space_time, stack_periods

# As in the other studies: each test fails by chance once in 10,000.
FAILURE_RATE = 1e-4


def effects(graph, periods, hyper, rng):
    """Draw phi + delta of a CAR in AR(1) time, shape (N, T), from the dense covariances."""
    w = graph.adjacency.toarray()
    apart = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    over_map = np.linalg.cholesky(unit_covariance("car", w, hyper["rho"]))
    in_time = np.linalg.cholesky(hyper["rho_time"] ** apart)
    phi = hyper["sd_phi"] * over_map @ rng.standard_normal((len(w), periods)) @ in_time.T
    return phi + hyper["sd_delta"] * rng.standard_normal((len(w), periods))


def as_cells(y, v, x):
    """Cells as they are, without standardising."""
    n, periods = y.shape
    seen, p = np.isfinite(y).ravel(), x.shape[2]
    variance = np.where(seen, v.ravel(), np.nan)
    flat = StandardisedData(
        y.ravel(), variance, x.reshape(n * periods, p), seen, 0.0, 1.0, np.zeros(p), np.ones(p), True
    )
    return stack_periods(flat, periods)


def test_simulation_based_calibration(lattice, size):
    """Truths drawn from the prior lie evenly in their posteriors; beta is fixed, as in the spatial study."""
    graph, periods = lattice(4), 4
    replicates, bins = size(60, 1000), size(6, 20)
    model = specify_space_time(["x"], periods=[str(t) for t in range(periods)])
    positions: dict[str, list[float]] = {}
    for replicate in range(replicates):
        rng = np.random.default_rng([43, replicate])
        x = np.stack([np.ones((16, periods)), rng.normal(size=(16, periods))], axis=2)
        v = rng.uniform(0.02, 0.4, size=(16, periods))
        hyper = {name: model.priors[name].from_normal(rng.standard_normal()) for name in model.hyperparameters}
        theta = x @ [3.0, -1.0] + effects(graph, periods, hyper, rng)
        y = theta + np.sqrt(v) * rng.normal(size=theta.shape)
        y[7], y[3, 2] = np.nan, np.nan
        built = build_model(model, as_cells(y, v, x), graph)
        got = sample_posterior(built, model, draws=400, min_ess=400, seed=replicate)
        weights = got.weighted.weights
        found = {
            name: weights @ (got.weighted_values[:, k] < hyper[name]) for k, name in enumerate(model.hyperparameters)
        }
        found["observed cell"] = np.mean(got.theta[:, 12, 1] < theta[12, 1])
        found["cell without data"] = np.mean(got.theta[:, 3, 2] < theta[3, 2])
        found["area without data"] = np.mean(got.theta[:, 7, 0] < theta[7, 0])
        found["change"] = np.mean(got.theta[:, 7, 3] - got.theta[:, 7, 0] < theta[7, 3] - theta[7, 0])
        found["mean of the last period"] = np.mean(got.theta[:, :, 3].mean(axis=1) < theta[:, 3].mean())
        found["slope"] = np.mean(got.beta[:, 1] < -1.0)
        for name, position in found.items():
            positions.setdefault(name, []).append(position)
    for name, values in positions.items():
        counts, _ = np.histogram(values, bins=bins, range=(0.0, 1.0))
        assert stats.chisquare(counts).pvalue > FAILURE_RATE, (name, counts)
        assert stats.kstest(values, "uniform").pvalue > FAILURE_RATE, name


def run_nuts(y, v, x, graph, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Draws by NUTS, shape (chains, draws, ...): phi = sd_phi L z C' with LL' and CC' the dense covariances."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)
    n, periods, p = x.shape
    w = graph.adjacency.toarray()
    degrees = np.diag(w.sum(axis=1))
    apart = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    seen = np.nonzero(np.isfinite(y))

    def model():
        beta = numpyro.sample("beta", dist.ImproperUniform(dist.constraints.real_vector, (), (p,)))
        sd_phi, rho = numpyro.sample("sd_phi", dist.HalfNormal(1.0)), numpyro.sample("rho", dist.Uniform(0.0, 1.0))
        rho_time = numpyro.sample("rho_time", dist.Uniform(0.0, 1.0))
        sd_delta = numpyro.sample("sd_delta", dist.HalfNormal(1.0))
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([n, periods]))
        spread = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(degrees - rho * w).T, z, lower=False)
        phi = sd_phi * spread @ jnp.linalg.cholesky(rho_time**apart).T
        delta = sd_delta * numpyro.sample("e", dist.Normal(0.0, 1.0).expand([n, periods]))
        theta = numpyro.deterministic("theta", x @ beta + phi + delta)
        numpyro.sample("y", dist.Normal(theta[seen], np.sqrt(v[seen])), obs=y[seen])

    chains = numpyro.infer.MCMC(
        numpyro.infer.NUTS(model, target_accept_prob=0.95, init_strategy=numpyro.infer.init_to_median()),
        num_warmup=800,
        num_samples=samples,
        num_chains=2,
        chain_method="sequential",
        progress_bar=False,
    )
    chains.run(jax.random.PRNGKey(seed))
    kept = chains.get_samples(group_by_chain=True)
    return {name: np.asarray(kept[name]) for name in ("theta", "sd_phi", "rho", "rho_time", "sd_delta")}


@pytest.mark.filterwarnings("ignore")
def test_against_nuts(lattice, size):
    pytest.importorskip("numpyro")
    import arviz

    graph, n, periods = lattice(4), 16, 4
    rng = np.random.default_rng(33)
    x = np.stack([np.ones((n, periods)), rng.normal(size=(n, periods))], axis=2)
    v = rng.uniform(0.05, 0.4, size=(n, periods))
    hyper = {"sd_phi": 1.0, "rho": 0.9, "rho_time": 0.7, "sd_delta": 0.4}
    y = x @ [0.2, 0.6] + effects(graph, periods, hyper, rng) + np.sqrt(v) * rng.normal(size=v.shape)
    y[3], y[5, 2] = np.nan, np.nan
    model = specify_space_time(["x"], periods=[str(t) for t in range(periods)])
    built = build_model(model, as_cells(y, v, x), graph)
    ours = sample_posterior(built, model, draws=4000, min_ess=4000, seed=1)
    theirs = run_nuts(y, v, x, graph, size(3000, 20_000), 7)

    def agree(mean, sd, ess, draws, what):
        """Means and SDs within 5 combined errors: one false alarm in a million for each of 130 numbers."""
        data = arviz.convert_to_dataset({"x": draws})
        for_mean, for_sd = (np.asarray(arviz.ess(data, method=method)["x"].values) for method in ("mean", "sd"))
        assert np.all(for_mean > 200), what
        flat = draws.reshape(-1, *draws.shape[2:])
        scale = flat.std(axis=0)
        assert np.all(np.abs(mean - flat.mean(axis=0)) < 5.0 * scale * np.sqrt(1.0 / for_mean + 1.0 / ess)), what
        # Var(s) = s^2 (kurtosis - 1) / (4 n): twice the Gaussian value covers kurtosis 5.
        assert np.all(np.abs(sd - scale) < 5.0 * scale * np.sqrt(1.0 / for_sd + 1.0 / ess)), what

    agree(ours.mean, ours.sd, 2000, theirs["theta"], "theta")
    weights, values = ours.weighted.weights, ours.weighted_values
    sizes = ours.weighted.ess(values)
    for k, name in enumerate(model.hyperparameters):
        mean = weights @ values[:, k]
        agree(mean, math.sqrt(weights @ (values[:, k] - mean) ** 2), sizes[k], theirs[name], name)
