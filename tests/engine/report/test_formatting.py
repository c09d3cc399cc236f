import math

import numpy as np
import pytest
from smallarea.report.formatting import (
    MISSING,
    count,
    fixed,
    level_percent,
    listed,
    p_equals,
    percent,
    plural,
    scale_for,
    seconds,
    setting,
    significant,
)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (1234567.8, 3, "1,234,568"),
        (-1234.5, 3, "−1,234"),
        (0.09996, 3, "0.100"),
        (0.0001234, 3, "0.000123"),
        (1.234e-7, 3, "1.23 × 10⁻⁷"),
        (-5e15, 2, "−5.0 × 10¹⁵"),
        (999.6, 3, "1,000"),
        (float("nan"), 3, MISSING),
        (float("-inf"), 3, "−∞"),
        (None, 3, MISSING),
        ("text", 3, MISSING),
    ],
)
def test_significant(value, digits, text):
    assert significant(value, digits) == text


def test_fixed_has_no_negative_zero():
    assert fixed(-0.0004, 2) == "0.00"
    assert fixed(-0.006, 2) == "−0.01"


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.8994, "89.9%"),
        (0.0037, "0.37%"),
        (0.99996, "100%"),
        (-0.4, "−40.0%"),
        (np.nan, MISSING),
    ],
)
def test_percent(fraction, text):
    assert percent(fraction) == text


def test_level_percent_has_no_needless_zeros():
    assert [level_percent(x) for x in (0.95, 0.975, 0.9)] == ["95%", "97.5%", "90%"]


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0004, "p < 0.001"),
        (0.0123, "p = 0.012"),
        (0.25, "p = 0.25"),
        (0.999, "p > 0.99"),
        (math.nan, f"p = {MISSING}"),
    ],
)
def test_p_equals(p, text):
    assert p_equals(p) == text


def test_scale_follows_the_errors():
    assert scale_for([0.031, 0.05, np.nan])(1.23456) == "1.235"
    assert scale_for([3512.0])(81234.6) == "81,235"
    assert scale_for([], [0.00123])(0.0012345) == "0.00123"
    assert scale_for([np.nan], [np.nan])(1.5) == "1.500"
    assert scale_for([1.0])(3e14) == "3.00 × 10¹⁴"


def test_small_words():
    assert plural(1, "area") == "1 area"
    assert plural(1204, "area") == "1,204 areas"
    assert count(np.int64(8043)) == "8,043"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed("abcdef", 2) == "a, b and 4 more"
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert [seconds(s) for s in (0.0001, 0.04, 3.456, 45.67, 125)] == [
        "< 1 ms",
        "40 ms",
        "3.46 s",
        "45.7 s",
        "2 min 5 s",
    ]


def test_settings_of_the_call():
    assert setting(None) == MISSING
    assert setting(True) == "yes"
    assert setting({"rho": "Uniform(0, 1)"}) == "rho: Uniform(0, 1)"
    assert setting(["a", 2]) == "a, 2"
    assert setting(0.1) == "0.1"
