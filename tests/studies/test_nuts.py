"""The exact posterior against NUTS on the model as it is written, with every effect a parameter of its own."""

import math

import numpy as np
import pytest
from smallarea.area_level import sample_posterior, specify

pytest.importorskip("numpyro")

# What other packages have to say at import is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


def run_nuts(data, effect: str, iid: bool, graph, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Posterior draws by NUTS: flat beta, phi = sd_phi L^{-T} z with LL' the dense precision, delta = sd_delta e."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)
    n, p = data.x.shape
    w = graph.adjacency.toarray()
    degrees, eye = np.diag(w.sum(axis=1)), np.eye(n)
    seen = np.flatnonzero(data.sampled)

    def model():
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), (p,))
        theta = data.x @ numpyro.sample("beta", flat)
        if effect != "iid":
            sd_phi, rho = numpyro.sample("sd_phi", dist.HalfNormal(1.0)), numpyro.sample("rho", dist.Uniform(0.0, 1.0))
            q = degrees - rho * w if effect == "car" else rho * (degrees - w) + (1.0 - rho) * eye
            z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([n]))
            theta = theta + sd_phi * jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(q).T, z, lower=False)
        if iid:
            sd_delta = numpyro.sample("sd_delta", dist.HalfNormal(1.0))
            theta = theta + sd_delta * numpyro.sample("e", dist.Normal(0.0, 1.0).expand([n]))
        numpyro.deterministic("theta", theta)
        numpyro.sample("y", dist.Normal(theta[seen], np.sqrt(data.v[seen])), obs=data.y[seen])

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
    return {name: np.asarray(kept[name]) for name in ("theta", "sd_phi", "rho", "sd_delta", "beta") if name in kept}


def effective_sizes(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effective sizes for mean and SD of draws of shape (chains, draws, ...)."""
    import arviz

    data = arviz.convert_to_dataset({"x": draws})
    return tuple(np.atleast_1d(arviz.ess(data, method=m)["x"].values) for m in ("mean", "sd"))


def quantile_size(draws: np.ndarray, probability: float) -> float:
    """Effective size for a quantile of draws of shape (chains, draws)."""
    import arviz

    return float(arviz.ess(arviz.convert_to_dataset({"x": draws}), method="quantile", prob=probability)["x"])


@pytest.mark.parametrize(("effect", "iid", "side"), [("iid", True, 5), ("car", True, 6), ("leroux", False, 5)])
def test_against_nuts(effect, iid, side, lattice, as_data, collapsed, draw_effect, size):
    graph = lattice(side)
    n = side * side
    rng = np.random.default_rng(31)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    v = rng.uniform(0.05, 0.5, size=n)
    truth = x @ [0.2, 0.6] + draw_effect(effect, iid, graph, {"sd_phi": 1.0, "rho": 0.9, "sd_delta": 0.5}, rng)
    y = truth + np.sqrt(v) * rng.normal(size=n)
    y[[3, 10]] = np.nan
    data = as_data(y, v, x)
    specification = specify(["x"], random_effect=effect, iid_part=iid)
    draws = 4000
    ours = sample_posterior(collapsed(data, effect, iid, graph), specification, draws=draws, min_ess=4000, seed=1)
    theirs = run_nuts(data, effect, iid, graph, size(1500, 20_000), 7)

    def agree(mean, sd, ess, draws_of_nuts, what):
        """Means and SDs within 5 combined errors: one false alarm in a million for each number, 100 numbers."""
        for_mean, for_sd = effective_sizes(draws_of_nuts)
        assert np.all(for_mean > 200), what
        flat = draws_of_nuts.reshape(-1, *draws_of_nuts.shape[2:])
        error = flat.std(axis=0) * np.sqrt(1.0 / for_mean + 1.0 / ess)
        away = np.abs(mean - flat.mean(axis=0)) / error
        assert np.all(away < 5.0), (what, away)
        # Var(s) = s^2 (kurtosis - 1) / (4 n): twice the Gaussian value covers kurtosis 5.
        error = flat.std(axis=0) * np.sqrt(1.0 / for_sd + 1.0 / ess)
        away = np.abs(sd - flat.std(axis=0)) / error
        assert np.all(away < 5.0), (what, away)

    # Ours have exact conditional moments, so that their error is below that of as many plain draws.
    agree(ours.mean, ours.sd, 2000, theirs["theta"], "theta")
    # The intercept has no finite variance: given rho it is about sd_phi^2 / (n (1 - rho)), and rho may come close to 1.
    # So coefficients are compared by their distribution functions, at the quantiles that NUTS found.
    for j, draws_of_nuts in enumerate(np.moveaxis(theirs["beta"], 2, 0)):
        for probability in (0.05, 0.25, 0.5, 0.75, 0.95):
            number = quantile_size(draws_of_nuts, probability)
            below = np.mean(ours.beta[:, j] < np.quantile(draws_of_nuts, probability))
            error = math.sqrt(probability * (1.0 - probability) * (1.0 / number + 1.0 / 2000))
            assert abs(below - probability) < 5.0 * error, (j, probability, below)
    weights, values = ours.weighted.weights, ours.weighted_values
    sizes = ours.weighted.ess(values)
    for k, name in enumerate(specification.hyperparameters):
        mean = weights @ values[:, k]
        sd = math.sqrt(weights @ (values[:, k] - mean) ** 2)
        agree(mean, sd, sizes[k], theirs[name], name)
