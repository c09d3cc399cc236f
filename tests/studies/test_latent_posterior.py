"""The posterior of the study's structural model against maximum likelihood, on data of its design."""

import numpy as np
import pytest
from known_latent_models import JOBS_MODEL, JOBS_NAMES, jobs_covariance
from smallarea.survey.latent.bayes import sample_posterior
from smallarea.survey.latent.estimates import from_posterior
from smallarea.survey.latent.maximum_likelihood import maximise
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.patterns import make_answers
from smallarea.survey.latent.prior_layout import LatentPriors

pytest.importorskip("numpyro")


def test_the_posterior_agrees_with_maximum_likelihood():
    """The study's model on data of its design: with many respondents priors hardly count."""
    rng = np.random.default_rng(8)
    values = rng.multivariate_normal(np.zeros(12), jobs_covariance(), size=3000)
    model = build_model(JOBS_MODEL)
    data = make_answers(values[:, [JOBS_NAMES.index(name) for name in model.observed]], model.observed)
    found = maximise(model, data)
    posterior = sample_posterior(model, data, found, priors=LatentPriors(), chains=2, warmup=500, draws=400, seed=1)
    assert posterior.r_hat.max() < 1.05
    assert posterior.divergences == 0
    errors = np.sqrt(np.diag(found.covariance))
    monte_carlo = posterior.flat.std(axis=0) / np.sqrt(posterior.ess)
    # The priors move a posterior by a fraction of its standard deviation at most; the rest is Monte Carlo error.
    assert np.all(np.abs(posterior.theta - found.theta) < 0.25 * errors + 4.0 * monte_carlo)
    np.testing.assert_allclose(posterior.flat.std(axis=0) / errors, 1.0, atol=0.25)
    table = from_posterior(posterior, 0.95)
    assert table.effects.shape[0] == 15
    assert table.parameters["ess"].notna().sum() == len(model.names)
