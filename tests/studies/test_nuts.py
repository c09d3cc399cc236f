"""The exact posterior against NUTS on the model as it is written, with every effect a parameter of its own."""

import math

import numpy as np
import pytest
from smallarea.area_level import build_model, sample_posterior, specify

pytest.importorskip("numpyro")

# What other packages have to say at import is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

TWO = ("a", "b")


def run_nuts(data, specification, graph, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Posterior draws by NUTS: flat beta, each field sd L^{-T} z with LL' the dense precision, delta = sd_delta e.

    The separable field has columns mixed by the root of a 2 x 2 correlation matrix (linear model of coregionalisation),
    the chain is written as it is defined: the marginal field first, then the conditional one around (eta0 I + eta1 W)
    times it.
    """
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)
    (n, k), effect, names = data.shape, specification.random_effect, specification.responses
    w = graph.adjacency.toarray()
    degrees, eye = np.diag(w.sum(axis=1)), np.eye(n)
    rows, columns = np.nonzero(data.observed)
    variance = np.array([data.covariance[i, c, c] for i, c in zip(rows, columns, strict=True)])

    def label(kind: str, response: int) -> str:
        return f"{kind}[{names[response]}]" if k > 1 else kind

    def half_normals(kind: str):
        return jnp.stack([numpyro.sample(label(kind, c), dist.HalfNormal(1.0)) for c in range(k)])

    def field(rho, name: str):
        q = degrees - rho * w if effect == "car" else rho * (degrees - w) + (1.0 - rho) * eye
        z = numpyro.sample(name, dist.Normal(0.0, 1.0).expand([n]))
        return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(q).T, z, lower=False)

    def uniform(name: str):
        return numpyro.sample(name, dist.Uniform(0.0, 1.0))

    def correlated(columns_of):
        r = 2.0 * numpyro.sample("half", dist.Beta(2.0, 2.0)) - 1.0
        numpyro.deterministic(f"correlation[{names[0]},{names[1]}]", r)
        return jnp.stack([columns_of[0], r * columns_of[0] + jnp.sqrt(1.0 - r**2) * columns_of[1]], axis=1)

    def phi():
        sd = half_normals("sd_phi")
        if k == 1:
            return sd * field(uniform("rho"), "z")[:, None]
        if specification.link == "separable":
            rho = uniform("rho")
            return sd * correlated([field(rho, f"z{c}") for c in range(2)])
        first, second = (names.index(name) for name in specification.order)
        pair = f"[{names[first]},{names[second]}]"
        eta0, eta1 = (numpyro.sample(f"{kind}{pair}", dist.Normal(0.0, 1.0)) for kind in ("eta0", "eta1"))
        marginal = sd[second] * field(uniform(label("rho", second)), "z1")
        own = sd[first] * field(uniform(label("rho", first)), "z0")
        conditional = eta0 * marginal + eta1 * (w @ marginal) + own
        return jnp.stack([conditional, marginal] if first == 0 else [marginal, conditional], axis=1)

    def model():
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), (data.design.shape[2],))
        theta = data.design @ numpyro.sample("beta", flat)
        if effect != "iid":
            theta = theta + phi()
        if specification.iid_part:
            sd_delta = half_normals("sd_delta")
            e = numpyro.sample("e", dist.Normal(0.0, 1.0).expand([n, k]))
            mixed = k == 2 and effect == "iid" and specification.link == "separable"
            theta = theta + sd_delta * (correlated(e.T) if mixed else e)
        numpyro.deterministic("theta", theta)
        seen = theta[rows, columns]
        numpyro.sample("y", dist.Normal(seen, np.sqrt(variance)), obs=data.y[rows, columns])

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
    return {name: np.asarray(kept[name]) for name in ("theta", "beta", *specification.hyperparameters)}


def effective_sizes(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effective sizes for mean and SD of draws of shape (chains, draws, ...)."""
    import arviz

    data = arviz.convert_to_dataset({"x": draws})
    return tuple(np.atleast_1d(arviz.ess(data, method=m)["x"].values) for m in ("mean", "sd"))


def quantile_size(draws: np.ndarray, probability: float) -> float:
    """Effective size for a quantile of draws of shape (chains, draws)."""
    import arviz

    return float(arviz.ess(arviz.convert_to_dataset({"x": draws}), method="quantile", prob=probability)["x"])


@pytest.mark.parametrize(
    ("arguments", "side", "samples"),
    [
        ({"random_effect": "iid"}, 5, (1500, 20_000)),
        ({"random_effect": "car"}, 6, (1500, 20_000)),
        ({"random_effect": "leroux"}, 5, (1500, 20_000)),
        ({"random_effect": "iid", "responses": TWO}, 5, (1500, 20_000)),
        ({"random_effect": "car", "responses": TWO}, 4, (1000, 20_000)),
        ({"random_effect": "car", "responses": TWO, "link": "chain", "order": ("b", "a")}, 4, (1000, 20_000)),
    ],
    ids=["iid", "car", "leroux", "unstructured", "SMS", "GMS"],
)
def test_against_nuts(arguments, side, samples, lattice, as_data, draw_effect, size):
    graph = lattice(side)
    n = side * side
    rng = np.random.default_rng(31)
    specification = specify(["x"], **arguments)
    k = len(specification.responses)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    v = rng.uniform(0.05, 0.5, size=(n, k))
    known = {"sd_phi": 1.0, "rho": 0.9, "sd_delta": 0.5, "correlation": 0.6, "eta0": 0.7, "eta1": -0.1}
    truth = {p.name: known[p.kind] for p in specification.layout}
    y = (x @ [0.2, 0.6])[:, None] + draw_effect(specification, graph, truth, rng)
    y = y + np.sqrt(v) * rng.normal(size=(n, k))
    y[3, 0] = y[10, -1] = np.nan
    data = as_data(y, v, x)
    draws = 4000
    ours = sample_posterior(build_model(specification, data, graph), specification, draws=draws, min_ess=4000, seed=1)
    theirs = run_nuts(data, specification, graph, size(*samples), 7)

    def agree(mean, sd, ess, draws_of_nuts, what):
        """Means and SDs within 5 combined errors: one false alarm in a million for each number, 200 numbers."""
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
    # Differences between responses hang on their covariance.
    if k == 2:
        between = theirs["theta"][..., 1] - theirs["theta"][..., 0]
        own = ours.theta[:, :, 1] - ours.theta[:, :, 0]
        agree(own.mean(axis=0), own.std(axis=0), 2000, between, "between responses")
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
    for at, name in enumerate(specification.hyperparameters):
        mean = weights @ values[:, at]
        sd = math.sqrt(weights @ (values[:, at] - mean) ** 2)
        agree(mean, sd, sizes[at], theirs[name], name)
