"""Specification: defaults, contradictions, and what is printed."""

import pytest
from smallarea.area_level import Fixed, HalfNormal, specify
from smallarea.errors import ModelProblem, PriorProblem


def test_defaults():
    model = specify(["income"])
    assert (model.random_effect, model.iid_part, model.intercept, model.method) == ("car", True, True, "bayes")
    assert model.hyperparameters == ("sd_phi", "rho", "sd_delta")
    assert tuple(model.priors) == model.hyperparameters
    assert model.terms == ("intercept", "income")
    assert specify(random_effect="leroux").hyperparameters == ("sd_phi", "rho")
    assert specify(random_effect="leroux", iid_part=True).hyperparameters == ("sd_phi", "rho", "sd_delta")
    assert specify(random_effect="car", iid_part=False).hyperparameters == ("sd_phi", "rho")
    assert specify(random_effect="iid").hyperparameters == ("sd_delta",)
    assert specify(random_effect="iid", method="reml").priors == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"random_effect": "bym2"}, "Unknown random effect 'bym2'; there are iid, car, leroux"),
        ({"method": "mcmc"}, "Unknown method 'mcmc'; there are bayes, reml"),
        ({"method": "reml"}, "fits independent area effects only.*'iid'"),
        ({"method": "reml", "random_effect": "leroux"}, "fits independent area effects only"),
        ({"random_effect": "iid", "iid_part": False}, "is its iid part"),
        ({"intercept": False}, "neither an intercept nor a covariate"),
        ({"covariates": ["a", "b", "a"]}, "named twice: a\\."),
    ],
)
def test_contradictions(arguments, says):
    with pytest.raises(ModelProblem, match=says):
        specify(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"random_effect": "iid", "method": "ml", "priors": {"sd_delta": "HalfNormal(1)"}}, "'ml' has none"),
        (
            {"random_effect": "iid", "priors": {"rho": "Uniform(0,1)"}},
            "given for rho, but this model has only sd_delta",
        ),
        ({"random_effect": "leroux", "priors": {"sd_delta": "HalfNormal(1)"}}, "only sd_phi, rho"),
        ({"random_effect": "leroux", "priors": {"rho": "Uniform(-1,1)"}}, "between 0 and 1"),
        ({"priors": {"sigma": "HalfNormal(1)"}}, "Unknown hyperparameter 'sigma'"),
        ({"priors": {"sd_phi": "HalfNormal"}}, "Cannot read"),
    ],
)
def test_priors_that_do_not_fit(arguments, says):
    with pytest.raises(PriorProblem, match=says):
        specify(**arguments)


def test_given_priors_replace_the_defaults_one_by_one():
    model = specify(priors={"sd_delta": "Fixed(0.2)", "rho": "Beta(9, 1)"})
    assert model.priors["sd_delta"] == Fixed(0.2)
    assert str(model.priors["rho"]) == "Beta(9, 1)"
    assert model.priors["sd_phi"] == HalfNormal(1.0)


def test_text():
    assert str(specify(["x1", "x2"])) == (
        "direct_i ~ N(theta_i, variance_i)\n"
        "theta_i = intercept + x1 + x2 + phi_i + delta_i\n"
        "phi ~ N(0, sd_phi^2 (D - rho W)^-1)\n"
        "delta_i ~ N(0, sd_delta^2)\n"
        "sd_phi ~ HalfNormal(1)\nrho ~ Uniform(0, 1)\nsd_delta ~ HalfNormal(1)"
    )
    leroux = str(specify(["x"], random_effect="leroux", intercept=False))
    assert "theta_i = x + phi_i\n" in leroux
    assert "(rho (D - W) + (1 - rho) I)^-1" in leroux
    assert "delta" not in leroux
    iid = str(specify(random_effect="iid", method="reml"))
    assert iid == ("direct_i ~ N(theta_i, variance_i)\ntheta_i = intercept + delta_i\ndelta_i ~ N(0, sd_delta^2)")
