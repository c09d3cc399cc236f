"""Effects against sums over paths, draws and lavaan's numbers."""

import numpy as np
import pytest
from known_latent_models import COUNTRIES, COUNTRIES_MODEL, COUNTRIES_NAMES, symmetric, with_moments
from smallarea.survey.latent.effects import delta_errors, effect_values, list_effects, quantities, standardised
from smallarea.survey.latent.estimates import from_likelihood
from smallarea.survey.latent.maximum_likelihood import maximise
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.patterns import make_answers


@pytest.fixture(scope="module")
def countries():
    model = build_model(COUNTRIES_MODEL)
    values = with_moments(symmetric(COUNTRIES), 75)
    return maximise(model, make_answers(values[:, [COUNTRIES_NAMES.index(n) for n in model.observed]], model.observed))


def test_effects_are_sums_over_paths(countries):
    estimates = from_likelihood(countries, 0.95)
    table = estimates.effects.set_index(["cause", "outcome", "kind"])["estimate"]
    value = dict(zip(countries.model.names, countries.theta, strict=True))
    assert table["ind60", "dem65", "direct"] == pytest.approx(value["dem65 ~ ind60"])
    assert table["ind60", "dem65", "indirect"] == pytest.approx(value["a"] * value["b"])
    assert table["ind60", "dem65", "total"] == pytest.approx(value["dem65 ~ ind60"] + value["a"] * value["b"])
    assert table["a*b", "through", "defined"] == pytest.approx(value["a"] * value["b"])
    assert ("dem60", "ind60", "total") not in table.index  # the direction counts
    assert {("ind60", "dem60", "indirect"), ("dem60", "dem65", "indirect")}.isdisjoint(table.index)


def test_the_error_of_a_product_is_sobels(countries):
    names = countries.model.names
    a, b = names.index("a"), names.index("b")
    v, theta = countries.covariance, countries.theta
    sobel = theta[b] ** 2 * v[a, a] + theta[a] ** 2 * v[b, b] + 2 * theta[a] * theta[b] * v[a, b]
    row = from_likelihood(countries, 0.9).effects.iloc[-1]
    assert row["se"] == pytest.approx(np.sqrt(sobel), rel=1e-6)
    assert row["upper"] - row["lower"] == pytest.approx(2 * 1.6448536 * row["se"], rel=1e-6)


def test_standardised_parameters_have_lavaans_values(countries):
    """Column std.all of lavaan's summary of this model."""
    values = standardised(countries.model, countries.theta)
    found = {f"{o.left} {o.operator} {o.right}": v for o, v in zip(countries.model.parameters, values, strict=True)}
    known = {"ind60 =~ x1": 0.920, "ind60 =~ x2": 0.973, "dem60 =~ y1": 0.850, "dem60 ~ ind60": 0.447,
             "dem65 ~ ind60": 0.182, "dem65 ~ dem60": 0.885, "y1 ~~ y5": 0.296, "dem60 ~~ dem60": 0.800}  # fmt: skip
    for name, value in known.items():
        assert found[name] == pytest.approx(value, abs=6e-4), name


def test_delta_errors_agree_with_draws(countries):
    effects = list_effects(countries.model)
    narrow = countries.covariance / 400.0  # close to the estimates everything is linear
    draws = np.random.default_rng(1).multivariate_normal(countries.theta, narrow, size=2000)
    spread = np.std([quantities(countries.model, theta, effects) for theta in draws], axis=0)
    error = delta_errors(countries.model, countries.theta, narrow, effects)
    free = error > 1e-6  # a variance that is one by definition has none
    # The standard deviation of 2000 draws is known to 1.6 percent.
    np.testing.assert_allclose(spread[free] / error[free], 1.0, atol=0.08)


def test_circles_of_effects_come_to_rest():
    model = build_model("f =~ x1 + x2 + x3\ng =~ x4 + x5 + x6\nf ~ z1 + 0.5*g\ng ~ z2 + 0.4*f")
    effects = list_effects(model)
    theta = np.zeros(len(model.names))
    theta[model.names.index("f ~ z1")] = 2.0
    found = dict(zip(effects, effect_values(model, theta, effects), strict=True))
    total = {(e.cause, e.outcome): v for e, v in found.items() if e.kind == "total"}
    assert total["z1", "f"] == pytest.approx(2.0 / (1 - 0.5 * 0.4))
    assert total["z1", "g"] == pytest.approx(0.4 * 2.0 / (1 - 0.5 * 0.4))
