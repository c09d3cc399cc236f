from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from smallarea.report.checks import FINE, LOOK, NOTE
from smallarea.report.learning import learn
from smallarea.report.model_checks import model_checks


def verdicts(result):
    return {c.name: c for c in model_checks(result, learn(result))}


def by_likelihood(result, values, effect="car"):
    """The same fit by REML with other hyperparameters: name to estimate and standard error."""
    table = pd.DataFrame(
        {
            "name": list(values),
            "description": "",
            "estimate": [value for value, _ in values.values()],
            "se": [se for _, se in values.values()],
            "lower": np.nan,
            "upper": np.nan,
            "ess": np.nan,
            "prior": "",
        }
    )
    model = {**result.model, "method": "reml", "random_effect": effect}
    return replace(result, hyperparameters=table, model=model, diagnostics={}, posterior=None)


def test_sampler_and_weights(make_result):
    found = verdicts(make_result())
    assert found["Sampling of the hyperparameters"].verdict == FINE
    assert found["Importance weights"].verdict == FINE
    found = verdicts(make_result(diagnostics={"ess_min": 120.0, "pareto_k": 0.75}))
    assert found["Sampling of the hyperparameters"].verdict == LOOK
    assert "120" in found["Sampling of the hyperparameters"].result
    assert found["Importance weights"].verdict == LOOK
    # Without the diagnostic the table of hyperparameters tells.
    assert "1,200" in verdicts(make_result(diagnostics={}))["Sampling of the hyperparameters"].result


def test_a_bayesian_fit_has_no_boundary(make_result):
    found = verdicts(make_result())
    assert "Model variance" not in found
    assert "Hyperparameters inside their range" not in found


def test_zero_model_variance(make_result):
    result = by_likelihood(make_result(), {"sd_delta": (0.0, np.nan)}, "iid")
    assert verdicts(result)["Model variance"].verdict == LOOK
    assert verdicts(result)["Model variance"].result == "sd_delta is zero"
    assert verdicts(by_likelihood(make_result(), {"sd_delta": (2.0, 0.4)}, "iid"))["Model variance"].verdict == FINE


def test_one_of_two_effects_may_vanish(make_result):
    found = verdicts(by_likelihood(make_result(), {"sd_phi": (2.0, 0.5), "rho": (0.8, 0.1), "sd_delta": (0.0, np.nan)}))
    assert found["Model variance"].verdict == FINE
    boundary = found["Hyperparameters inside their range"]
    assert boundary.verdict == NOTE
    assert boundary.result == "sd_delta is zero"


def test_an_effect_within_its_error_of_zero_is_zero(make_result):
    near = {"sd_phi": (2.0, 0.5), "rho": (0.8, 0.1), "sd_delta": (0.01, 0.4)}
    assert verdicts(by_likelihood(make_result(), near))["Hyperparameters inside their range"].verdict == NOTE
    near["sd_delta"] = (0.1, 0.4)
    assert verdicts(by_likelihood(make_result(), near))["Hyperparameters inside their range"].verdict == FINE


@pytest.mark.parametrize("name", ["rho", "correlation[income,rent]"])
def test_dependence_at_its_end(make_several, name):
    values = {"sd_phi[income]": (2.0, 0.5), "sd_phi[rent]": (1.0, 0.2), "rho": (0.8, 0.1)} | {name: (0.9999, np.nan)}
    boundary = verdicts(by_likelihood(make_several(), values))["Hyperparameters inside their range"]
    assert boundary.verdict == NOTE
    assert boundary.result == f"{name} is 1.000"


def test_a_response_without_any_effect_is_named(make_several):
    values = {"sd_phi[income]": (2.0, 0.5), "sd_phi[rent]": (0.0, np.nan), "rho": (0.8, 0.1)}
    check = verdicts(by_likelihood(make_several(), values))["Model variance"]
    assert check.verdict == LOOK
    assert check.result == "sd_phi[rent] is zero"


def test_what_the_data_say_about_dependence(make_several):
    check = verdicts(make_several())["What the data say about dependence"]
    assert check.verdict == NOTE
    assert "say little about rho:" in check.meaning
    assert "correlation of income and rent" in check.result


def test_sampling_errors_that_are_assumed(make_several, make_result):
    name = "Sampling errors of different responses"
    assert name not in verdicts(make_result())
    result = make_several()
    assert verdicts(result)[name].result == "correlation 0.00 assumed"
    assumed = replace(result, model={**result.model, "sampling_correlation": 0.5})
    assert verdicts(assumed)[name].result == "correlation 0.50 assumed"
    assert verdicts(assumed)[name].verdict == NOTE
    given = replace(result, model={**result.model, "covariance": ["cov"]})
    assert verdicts(given)[name].verdict == FINE
