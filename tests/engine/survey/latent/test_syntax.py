"""The text of a model: what it says, which way its arrows point, and what is refused with line and remedy."""

import numpy as np
import pytest
from smallarea.errors import JobProblem
from smallarea.survey.latent.effects import defined_values
from smallarea.survey.latent.expressions import parse_expression
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.syntax import parse_model


def test_lines_comments_and_continuations():
    text = "f =~ x1 +  # the first\n  x2\n + 0.5*x3; g =~ a*x4 + NA*x5 ! more\n\ny ~\n f + g\nd := 2*a"
    found = parse_model(text)
    assert [(s.line, s.left, s.operator, [t.name for t in s.terms]) for s in found.statements] == [
        (1, "f", "=~", ["x1", "x2", "x3"]),
        (3, "g", "=~", ["x4", "x5"]),
        (5, "y", "~", ["f", "g"]),
    ]
    assert found.statements[0].terms[2].fixed == 0.5
    assert found.statements[1].terms[0].label == "a"
    assert found.statements[1].terms[1].freed
    assert [(d.line, d.name) for d in found.definitions] == [(7, "d")]


def test_the_right_side_of_a_regression_is_the_cause():
    model = build_model("f =~ x1 + x2 + x3\ny ~ f")
    (path,) = [one for one in model.parameters if one.kind == "regression"]
    at = {name: i for i, name in enumerate(model.variables)}
    assert (path.row, path.column) == (at["y"], at["f"])
    theta = np.zeros(len(model.names))
    theta[model.names.index("f ~~ f")] = 1.0
    theta[path.index] = 0.5
    theta[model.names.index("y ~~ y")] = 0.75
    covariance = model.covariance(theta)
    # Twice the cause is half a unit more of the outcome; the cause keeps its variance.
    assert covariance[at["y"], at["y"]] == pytest.approx(1.0)
    assert covariance[at["f"], at["f"]] == pytest.approx(1.0)
    assert covariance[at["y"], at["f"]] == pytest.approx(0.5)


def test_the_rules_of_what_is_free():
    model = build_model("f =~ x1 + x2 + x3\ng =~ x4 + x5 + x6\nh =~ x7 + x8 + x9\nf ~ z1 + z2\ng ~ z1")
    assert {"z1 ~~ z2", "f ~~ g", "x1 ~~ x1", "f ~~ f"} <= set(model.names)
    assert not {"f ~~ h", "g ~~ h", "f =~ x1", "z1 ~~ h"} & set(model.names)
    fixed = {f"{one.left} {one.operator} {one.right}": one.fixed for one in model.parameters if one.index < 0}
    assert fixed == {"f =~ x1": 1.0, "g =~ x4": 1.0, "h =~ x7": 1.0}


def test_a_fixed_variance_frees_the_first_loading_and_labels_make_equal():
    model = build_model("f =~ a*x1 + a*x2 + x3\nf ~~ 1*f")
    assert model.names[:2] == ("a", "f =~ x3")
    assert [one.index for one in model.parameters[:3]] == [0, 0, 1]


def test_a_first_loading_with_a_label_is_one_and_so_are_all_with_its_label():
    # As lavaan has it: what is fixed fixes all that must equal it.
    model = build_model("f =~ a*x1 + b*x2 + a*x3\nd := a + b")
    assert model.names[0] == "b"
    assert [(one.label, one.index, one.fixed) for one in model.parameters[:3]][::2] == [("a", -1, 1.0)] * 2
    theta = np.arange(1.0, len(model.names) + 1.0)
    assert defined_values(model, theta).tolist() == [2.0]


def test_a_term_says_two_things_of_a_variable():
    model = build_model("f =~ NA*x1 + a*x1 + b*x2 + x3 + 0.5*x4 + c*x4\nf ~~ 1*f")
    assert model.names[:3] == ("a", "b", "f =~ x3")
    assert next((one.label, one.fixed) for one in model.parameters if one.right == "x4") == ("c", 0.5)


def test_equalities_are_one_parameter_or_a_value():
    same = build_model("f =~ x1 + a*x2 + b*x3 + c*x4 + d*x5\na == b\nc == d\nd == b")
    assert same.names[0] == "c"
    assert [one.index for one in same.parameters[:5]] == [-1, 0, 0, 0, 0]
    assert same.df == build_model("f =~ x1 + a*x2 + a*x3 + a*x4 + a*x5").df
    fixed = build_model("f =~ NA*x1 + a*x2 + b*x3\na == b; b == 0.7")
    assert [(one.index, one.fixed) for one in fixed.parameters[1:3]] == [(-1, 0.7)] * 2
    assert fixed.names[0] == "f =~ x1"  # the other loadings give the scale


def test_labels_may_be_anything_that_is_a_name():
    expression = parse_expression("lambda^2 * b.1 + 2e1 * \u00b5 + exp(0*if)")
    assert expression.names == ("lambda", "b.1", "\u00b5", "if")
    assert expression.value({"lambda": 3.0, "b.1": 2.0, "\u00b5": 1.0, "if": 5.0}) == pytest.approx(39.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("f = x1 + x2", "Line 1 .* no operator"),
        ("f =~ x1 + x2\n\ny ~ x ~ z", "Line 3 .* several operators"),
        ("f =~ x1 + 2x", "Line 1 .* '2x' is not the name"),
        ("f =~ x1 +", "Line 1 .* a variable is missing"),
        ("f =~ x1 + b c*x2", "Line 1 .* no number, label or NA"),
        ("f =~ x1 + 2*x2 + NA*x2", "Line 1 .* 'x2' is fixed and has NA"),
        ("f =~ x1 + a*x2 + b*x2", "Line 1 .* 'x2' is there twice"),
        ("f =~ x1 + start(0.8)*x2", "Line 1 .* starting values"),
        ("f <~ x1 + x2", "Line 1 .* Composites"),
        ("f =~ x1 + x2 + x3\nx1 ~ 1", "Line 2 .* intercept"),
        ("f =~ x1 + a*x2 + b*x3\na == 2*b", "Line 2 .* only 'a == b'"),
        ("f =~ x1 + a*x2 + b*x3\na == c", "Line 2 .* no parameter is labelled 'c'"),
        ("f =~ x1 + a*x2 + b*x3\na == 2; b == 3; a == b", "fixes what is labelled 'b' at 2 and at 3"),
        ("f =~ x1 + x2 + x3\nx1 | t1", "Line 2 .* Thresholds are not supported"),
        ("y ~ x", "has no factor"),
        ("f =~ x1 + x2 + x1", "Line 1 .* is there twice"),
        ("f =~ x1 + x2 + x3\ny ~ y", "Line 2 .* both sides"),
        ("f =~ NA*x1 + x2 + x3", "has no scale"),
        ("f =~ x1 + x2", "4 free parameters, but 2 items have only 3"),
        ("f =~ x1 + a*x2 + x3\nd := a*b", "Line 2 .* no parameter is labelled 'b'"),
        ("f =~ x1 + a*x2 + x3\nd := open(a)", "Line 2 .* something other than labels"),
        ("f =~ x1 + a*x2 + x3\nd := exp", "Line 2 .* something other than labels"),
        ("f =~ x1 + a*x2 + x3\nd := (a).real", "Line 2 .* something other than labels"),
        ("f =~ x1 + a*x2 + x3\nd := a +* 2", "Line 2 .* cannot be read"),
        ("f =~ x1 + a*x2 + x3\na := a*2", "Line 2 .* is there already"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(JobProblem, match=said):
        build_model(text)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "(a).b", "a[0]", "(lambda: 1)()", "a if a else b", "'x'*3", "exp(a, b)"]
)
def test_expressions_compute_and_nothing_else(text):
    with pytest.raises(JobProblem):
        parse_expression(text)


def test_an_expression_has_its_value_for_numbers_and_draws():
    found = parse_expression("-(a + 2)^2 / exp(b)")
    assert found.names == ("a", "b")
    assert found.value({"a": 1.0, "b": 0.0}) == pytest.approx(-9.0)
    np.testing.assert_allclose(found.value({"a": np.array([1.0, 0.0]), "b": 0.0}), [-9.0, -4.0])
