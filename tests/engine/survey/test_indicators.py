"""How indicators are written and named."""

import pytest
from smallarea.errors import JobProblem
from smallarea.survey.indicators import Indicator, parse_indicator, parse_indicators


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("income", Indicator("income", "mean", ("income",))),
        (" mean( income ) ", Indicator("income", "mean", ("income",))),
        ("net = mean(income)", Indicator("net", "mean", ("income",))),
        ("net income = mean(income (EUR))", Indicator("net_income", "mean", ("income (EUR)",))),
        ("proportion(smoker)", Indicator("smoker", "proportion", ("smoker",))),
        ("proportion(smoker = 1)", Indicator("smoker_1", "proportion", ("smoker",), "==", "1")),
        ("proportion(smoker == 1)", Indicator("smoker_1", "proportion", ("smoker",), "==", "1")),
        ("proportion(work != 'none')", Indicator("work_none", "proportion", ("work",), "!=", "none")),
        ("poor = proportion(income<12000)", Indicator("poor", "proportion", ("income",), "<", "12000")),
        ("proportion(age >= 65)", Indicator("age_65", "proportion", ("age",), ">=", "65")),
        ("proportion(age<=5)", Indicator("age_5", "proportion", ("age",), "<=", "5")),
        ("total(cars)", Indicator("total_cars", "total", ("cars",))),
        ("total()", Indicator("total", "total", ())),
        ("ratio(rent, income)", Indicator("rent_per_income", "ratio", ("rent", "income"))),
        ("median(income)", Indicator("median_income", "quantile", ("income",))),
        ("quantile(income, 0.25)", Indicator("quantile_income_25", "quantile", ("income",), probability=0.25)),
        ("v012", Indicator("v012", "mean", ("v012",))),
        ("Käse pro Kopf", Indicator("Käse_pro_Kopf", "mean", ("Käse pro Kopf",))),
    ],
)
def test_what_is_understood(text, wanted):
    assert parse_indicator(text) == wanted
    # What an indicator says of itself means the same again.
    assert parse_indicator(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be understood"),
        ("mean(income", "cannot be understood"),
        ("income > 5", "cannot be understood"),
        ("= mean(income)", "cannot be understood"),
        ("mode(income)", "'mode', which is not known"),
        ("mean()", "has 0 fields"),
        ("mean(a, b)", "has 2 fields"),
        ("ratio(a)", "has 1 fields"),
        ("ratio(a, )", "has 2 fields"),
        ("proportion()", "no condition"),
        ("proportion(a, b)", "no condition"),
        ("median(a, 0.5)", "needs 1 values"),
        ("quantile(a)", "needs 2 values"),
        ("quantile(a, 0)", "between 0 and 1"),
        ("quantile(a, nan)", "between 0 and 1"),
        ("quantile(a, half)", "between 0 and 1"),
    ],
)
def test_what_is_not_understood(text, said):
    with pytest.raises(JobProblem, match=said):
        parse_indicator(text)


def test_lists():
    assert [one.name for one in parse_indicators(["income", "poor = proportion(income < 5)"])] == ["income", "poor"]
    with pytest.raises(JobProblem, match="Name what to estimate"):
        parse_indicators([])
    with pytest.raises(JobProblem, match="Several indicators are called 'income'"):
        parse_indicators(["income", "income = median(income)"])
