import numpy as np
import pytest
from smallarea.report.classes import classes_by_breaks, classes_of_labels, classes_of_residuals, round_breaks


@pytest.mark.parametrize("scale", [1e-6, 1.0, 250.0, 1e7])
@pytest.mark.parametrize("seed", range(5))
def test_breaks_are_round_and_classes_about_equal(scale, seed):
    values = scale * np.random.default_rng(seed).lognormal(size=500)
    breaks = round_breaks(values)
    assert len(breaks) == 4
    assert np.all(np.diff(breaks) > 0)
    assert all(len(f"{b:.6e}".split("e")[0].rstrip("0").replace(".", "").lstrip("0")) <= 3 for b in breaks)
    shares = np.diff([0, *np.searchsorted(np.sort(values), breaks), values.size]) / values.size
    assert shares.min() > 0.08
    assert shares.max() < 0.34


def test_breaks_of_few_distinct_values():
    assert round_breaks([]) == []
    assert round_breaks([2.0, 2.0]) == []
    assert [1.0 < b <= 2.0 for b in round_breaks([1.0] * 50 + [2.0])] == [True]
    assert [0.0 < b <= 0.001 for b in round_breaks([0.0] * 50 + [0.001])] == [True]
    two = round_breaks([1.0, 2.0])
    assert all(1.0 < b <= 2.0 for b in two)


def test_every_value_is_within_the_limits_of_its_label():
    values = np.array([3.04, 3.05, 9.0, 12.5, 20.0, 31.0, 31.5, 40.0, 55.0, np.nan])
    classes = classes_by_breaks(values, "estimate")
    for value, i in zip(values[:-1], classes.index[:-1], strict=True):
        label = classes.legend[i].label
        if label.startswith("below"):
            assert value < float(label.split()[1])
        elif label.endswith("and more"):
            assert value >= float(label.split()[0])
        else:
            low, high = map(float, label.split(" to "))
            assert low <= value < high
    assert classes.index[-1] == -1
    assert classes.legend[-1].hatched
    assert sum(item.count for item in classes.legend) == values.size


def test_percent_classes_say_percent():
    legend = classes_by_breaks(np.linspace(0.01, 0.4, 100), "uncertainty", as_percent=True).legend
    assert [item.label for item in legend] == ["below 10%", "10 to 15%", "15 to 25%", "25 to 30%", "30% and more"]


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [5.0, 5.0], [0.0, 0.0, np.nan]])
def test_degenerate_values_have_a_legend(values):
    classes = classes_by_breaks(values, "estimate")
    assert sum(item.count for item in classes.legend) == len(values)


def test_residual_classes():
    classes = classes_of_residuals([-3.0, -2.0, -1.0, 0.0, 0.99, 1.0, 2.0, np.nan])
    assert classes.index.tolist() == [0, 1, 2, 2, 2, 3, 4, -1]


def test_label_classes_keep_the_order_of_the_preset_and_skip_what_does_not_occur():
    known = [
        {"label": x, "colour": c}
        for x, c in (("good", "#000001"), ("fair", "#000002"), ("bad", "#000003"), ("none", "#000004"))
    ]
    classes = classes_of_labels(["bad", "good", "none", "bad"], known, "none")
    assert [item.label for item in classes.legend] == ["good", "bad", "no estimate"]
    assert classes.colours == ["#000003", "#000001", "#e3e3e3", "#000003"]
