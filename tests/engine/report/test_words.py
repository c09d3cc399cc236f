import re

import pytest
from smallarea.report import render_report
from smallarea.report.references import references
from smallarea.report.words import is_spatial, model_in_words, prior_in_words, sampling_in_words

ONE = {"direct": ["income"], "method": "bayes", "level": 0.95, "covariates": ["poverty"], "link": "independent"}
TWO = {**ONE, "direct": ["income", "rent"], "link": "separable"}


def cited(model, **tests):
    made = {"moran": False, "shapiro": False, "brown": False} | tests
    return " ".join(references(model, **made))


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("iid", "has of its own: an independent effect."),
        ("car", "proper CAR"),
        ("leroux", "Leroux CAR"),
        ("bym2", "the share of its variance that is spatial"),
        ("icar", "summing to zero in each connected part"),
        ("sar", "mean effect of the neighbours"),
    ],
)
def test_every_effect_has_its_words(effect, words):
    assert words in " ".join(model_in_words({**ONE, "random_effect": effect, "iid_part": effect == "iid"}))
    assert is_spatial({"random_effect": effect}) == (effect != "iid")


def test_links_are_described_only_for_several_responses():
    model = {**TWO, "random_effect": "car", "iid_part": True}
    assert "correlated between the responses" in " ".join(model_in_words(model))
    assert "independent of those of the others" in " ".join(model_in_words({**model, "link": "independent"}))
    one = " ".join(model_in_words({**ONE, "random_effect": "car", "iid_part": True}))
    assert "responses" not in one
    chain = {**model, "link": "chain", "order": ["rent", "income"]}
    assert "chain (GMCAR): rent given income, and income by itself" in " ".join(model_in_words(chain))


def test_a_transformation_and_its_way_back_are_said():
    model = {**ONE, "random_effect": "iid", "transformation": "log", "back_transformation": "bias-corrected"}
    assert "The model is of the logarithm of the direct estimate" in " ".join(model_in_words(model))
    assert "in the units of the direct estimates (bias-corrected)" in " ".join(model_in_words(model))
    assert "in the units of the direct" not in " ".join(model_in_words({**model, "transformation": "none"}))


def test_what_is_said_of_the_sampling_errors():
    assert sampling_in_words(ONE) == ("", False)
    text, assumed = sampling_in_words({**TWO, "covariance": ["cov_ir"]})
    assert not assumed
    assert "(cov_ir)" in text
    text, assumed = sampling_in_words({**TWO, "covariance": [], "sampling_correlation": 0.5})
    assert assumed
    assert "assumed to be correlated by 0.5" in text
    text, assumed = sampling_in_words({**TWO, "covariance": [], "sampling_correlation": None})
    assert assumed
    assert "taken to be uncorrelated" in text


@pytest.mark.parametrize(
    ("model", "wanted", "unwanted"),
    [
        ({**ONE, "random_effect": "car"}, ["Besag, J. (1974)", "Cornuet"], ["Mardia", "Jin", "Prasad"]),
        ({**ONE, "random_effect": "bym2"}, ["Riebler", "Besag, J., York", "Freni"], ["Besag, J. (1974)"]),
        ({**ONE, "random_effect": "icar"}, ["Besag, J., York", "Freni"], ["Riebler"]),
        ({**ONE, "random_effect": "sar", "method": "reml"}, ["Petrucci", "Singh"], ["Kackar", "Cornuet"]),
        ({**TWO, "random_effect": "car"}, ["Mardia", "Lewandowski"], ["Jin", "Benavent"]),
        ({**TWO, "random_effect": "iid"}, ["Benavent", "Lewandowski"], ["Mardia", "Besag"]),
        ({**TWO, "random_effect": "car", "link": "chain"}, ["Jin, X."], ["Mardia", "Lewandowski"]),
        ({**TWO, "random_effect": "leroux", "link": "independent"}, ["Leroux"], ["Mardia", "Jin"]),
        ({**TWO, "random_effect": "car", "method": "reml"}, ["Kackar", "Prasad"], ["Lewandowski", "Vehtari"]),
        ({**ONE, "random_effect": "iid", "method": "reml"}, ["Prasad"], ["Kackar", "Slud"]),
        ({**ONE, "random_effect": "iid", "method": "reml", "transformation": "log"}, ["Slud"], ["Kackar"]),
        ({**ONE, "random_effect": "iid", "method": "robust"}, ["Sinha"], ["Prasad"]),
        ({**ONE, "random_effect": "iid", "method": "ybarra_lohr"}, ["Ybarra"], ["Prasad"]),
        ({**TWO, "random_effect": "iid", "method": "reml", "link": "ar1"}, ["Benavent"], ["Mardia", "Jin"]),
    ],
)
def test_only_what_was_used_is_cited(model, wanted, unwanted):
    text = cited(model)
    assert all(name in text for name in wanted)
    assert not any(name in text for name in unwanted)
    assert "Fay, R. E." in text
    assert "Garrett" not in text
    assert "Garrett" in cited(model, overlap=True)


@pytest.mark.parametrize(
    ("effect", "link", "iid", "formula"),
    [
        ("car", "separable", True, "φ =(φ 1,…,φ K)~ N(0,Σ ⊗(D − ρ W)−1)"),
        ("car", "independent", True, "φ k ~ N(0,σ k ²(D − ρ k W)−1),independent of each other"),
        ("leroux", "separable", False, "Σ ⊗(ρ(D − W)+(1 − ρ)I)−1"),
        ("icar", "separable", True, "Σ ⊗(D − W)−"),
        ("bym2", "separable", False, "φ ik = √ ρ u ik + √(1 − ρ)v ik"),
        ("iid", "separable", True, "δ i ~ N(0,Σ)"),
        ("iid", "ar1", True, "Σ kl = σ δ ² ρ | k − l |"),
        ("iid", "har1", True, "Σ kl = σ δk σ δl ρ | k − l |"),
        ("car", "chain", True, "φ 2 | φ 1 ~ N((η 0,21 I + η 1,21 W)φ 1,σ 2 ²(D − ρ 2 W)−1)"),
    ],
)
def test_formulas_of_several_responses(make_several, effect, link, iid, formula):
    order = ["rent", "income"] if link == "chain" else []
    result = make_several()
    model = {**result.model, "random_effect": effect, "link": link, "iid_part": iid, "order": order}
    page = as_text(render_report(make_several(model=model)))
    assert formula in page
    assert "Responses: 1 = income,2 = rent." in page


@pytest.mark.parametrize(
    ("effect", "formula"),
    [
        ("bym2", "u ~ N(0,σ φ ² R −)"),
        ("icar", "φ ~ N(0,σ φ ²(D − W)−)"),
        ("sar", "φ ~ N(0,σ φ ²((I − ρ B)′(I − ρ B))−1)"),
        ("leroux", "φ ~ N(0,σ φ ²(ρ(D − W)+(1 − ρ)I)−1)"),
    ],
)
def test_formulas_of_one_response(make_result, effect, formula):
    page = as_text(render_report(make_result(model={**make_result().model, "random_effect": effect})))
    assert formula in page
    assert "Responses:" not in page


def as_text(page):
    """Return the page as words with single spaces and none beside brackets and commas."""
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.replace("&emsp;", " ")))
    return re.sub(r" ?([(),]) ?", r"\1", text)


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ("Normal(0, 1)", "95% of it between −2.0 and 2.0"),
        ("LKJ(2)", "correlations near zero are likelier than strong ones"),
        ("LKJ(1)", "every correlation matrix equally likely"),
        ("Uniform(0, 1)", "every value from 0 to 1 equally likely"),
        ("Nonsense(1)", ""),
    ],
)
def test_priors_in_words(prior, words):
    assert prior_in_words(prior) == words
