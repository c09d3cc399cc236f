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
        ({"random_effect": "besag"}, "Unknown random effect 'besag'; there are iid, car, leroux, bym2, icar"),
        ({"link": "copula"}, "Unknown link between responses 'copula'; there are independent, separable, chain"),
        ({"responses": ()}, "needs responses with different names"),
        ({"responses": ("a", "b", "a")}, "needs responses with different names; got 'a', 'b', 'a'"),
        ({"responses": "income"}, r"responses are a list of names; got the text 'income'\. Write \['income'\]"),
        ({"covariates": "age"}, "covariates are a list of names"),
        ({"order": ("direct",)}, "belongs to link 'chain' with two responses"),
        ({"link": "chain", "order": ("direct",)}, "belongs to link 'chain' with two responses"),
        ({"responses": ("a", "b"), "order": ("a", "b")}, "belongs to link 'chain'"),
        ({"responses": ("a", "b"), "link": "chain", "order": ("a", "a")}, "each response once: 'a', 'b'; got 'a', 'a'"),
        ({"responses": ("a", "b"), "link": "chain", "order": ("b",)}, "each response once: 'a', 'b'; got 'b'"),
        *(
            (
                {"responses": ("a", "b"), "link": "chain", "random_effect": effect},
                "needs random_effect 'car' or 'leroux'",
            )
            for effect in ("iid", "bym2", "icar")
        ),
        ({"responses": ("a", "b"), "random_effect": "iid", "method": "amrl"}, "one response with independent"),
        ({"method": "mcmc"}, "Unknown method 'mcmc'; there are bayes, hmc, reml"),
        ({"method": "fh"}, "fits one response with independent area effects only.*'iid'"),
        ({"method": "ampl_yl", "random_effect": "leroux"}, "independent area effects only"),
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
        ({"random_effect": "bym2", "priors": {"rho": "Uniform(-1,1)"}}, "between 0 and 1"),
        ({"random_effect": "bym2", "priors": {"rho": "Fixed(0)"}}, "has no spatial part. Choose 'iid'"),
        ({"random_effect": "icar", "priors": {"rho": "Uniform(0,1)"}}, "given for rho.*only sd_phi, sd_delta"),
        ({"priors": {"correlation": "LKJ(2)"}}, "given for correlation"),
        ({"priors": {"sd_phi[direct]": "HalfNormal(1)"}}, "given for sd_phi\\[direct\\]"),
        ({"priors": {"rho": "LKJ(2)"}}, "LKJ is a prior of correlations, not of rho"),
        ({"responses": ("a", "b"), "priors": {"rho[a]": "Uniform(0,1)"}}, "given for rho\\[a\\]"),
        ({"responses": ("a", "b"), "priors": {"sd_phi[c]": "HalfNormal(1)"}}, "given for sd_phi\\[c\\]"),
        ({"responses": ("a", "b"), "link": "chain", "priors": {"eta0[b,a]": "Normal(0,1)"}}, "eta0\\[b,a\\]"),
        ({"responses": ("a", "b", "c"), "priors": {"correlation": "Uniform(-1,1)"}}, "share one LKJ"),
        ({"responses": ("a", "b", "c"), "priors": {"correlation[a,b]": "LKJ(3)"}}, "share one LKJ"),
        ({"priors": ["HalfNormal(1)"]}, "must be a dictionary"),
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


def test_priors_of_a_kind_and_of_one_response():
    model = specify(
        responses=("a", "b"),
        link="chain",
        priors={"sd_phi": "HalfNormal(2)", "sd_phi[b]": "Fixed(1)", "rho[a]": "Beta(2, 1)", "eta1[a,b]": "Fixed(0)"},
    )
    texts = {name: str(prior) for name, prior in model.priors.items()}
    assert texts["sd_phi[a]"] == "HalfNormal(2)"
    assert texts["sd_phi[b]"] == "Fixed(1)"
    assert (texts["rho[a]"], texts["rho[b]"]) == ("Beta(2, 1)", "Uniform(0, 1)")
    assert (texts["eta0[a,b]"], texts["eta1[a,b]"]) == ("Normal(0, 1)", "Fixed(0)")
    three = specify(responses=("a", "b", "c"), priors={"correlation": "LKJ(4)"})
    assert [str(p) for n, p in three.priors.items() if n.startswith("correlation")] == ["LKJ(4)"] * 3


def test_defaults_for_several_responses():
    model = specify(["x"], responses=("a", "b"))
    assert (model.random_effect, model.link, model.order, model.iid_part) == ("car", "separable", (), True)
    assert specify(responses=("a", "b"), link="chain").order == ("a", "b")
    assert specify(responses=("a", "b"), link="chain", order=["b", "a"]).order == ("b", "a")
    assert specify(random_effect="icar").iid_part
    assert not specify(random_effect="bym2").iid_part
    assert specify(link="separable").link == specify(link="chain").link == "independent"


def test_text_of_several_responses():
    two = {"responses": ("a", "b")}
    assert str(specify(["x"], **two)).startswith(
        "direct_ik ~ N(theta_ik, variance_ik)\n"
        "theta_ik = intercept + x + phi_ik + delta_ik\n"
        "k = a, b; coefficients for each response\n"
        "phi ~ N(0, Sigma x (D - rho W)^-1), Sigma from sd_phi_k and correlation\n"
        "delta_ik ~ N(0, sd_delta_k^2)\n"
    )
    iid = str(specify(random_effect="iid", **two))
    assert "delta_i ~ N(0, Sigma), Sigma from sd_delta_k and correlation\n" in iid
    assert "sd_delta_k^2" not in iid
    assert "correlation[a,b] ~ LKJ(2)" in iid
    separate = str(specify(random_effect="leroux", link="independent", **two))
    assert "phi_k ~ N(0, sd_phi_k^2 (rho_k (D - W) + (1 - rho_k) I)^-1)\n" in separate
    chain = str(specify(link="chain", order=("b", "a"), **two))
    assert (
        "phi[b] | phi[a] ~ N((eta0[b,a] I + eta1[b,a] W) phi[a], sd_phi[b]^2 (D - rho[b] W)^-1)\n"
        "phi[a] ~ N(0, sd_phi[a]^2 (D - rho[a] W)^-1)\n"
    ) in chain


def test_text_of_bym2_and_icar():
    # The brackets matter: sd_phi^2 multiplies both parts.
    assert "phi ~ N(0, sd_phi^2 (rho (scaled (D - W)^-) + (1 - rho) I))\n" in str(specify(random_effect="bym2"))
    both = str(specify(random_effect="bym2", responses=("a", "b")))
    assert "phi ~ N(0, Sigma x (rho (scaled (D - W)^-) + (1 - rho) I)), Sigma from" in both
    assert "(D - W)^-, summing to zero in each component" in str(specify(random_effect="icar"))


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
