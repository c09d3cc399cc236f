from dataclasses import replace

import numpy as np
import pytest
from smallarea.report.checks import FINE, LOOK, NOTE, run_checks, summary_of
from smallarea.report.facts import gather


def verdicts(result):
    return {c.name.split(" (")[0]: c for c in run_checks(result, gather(result)[0])}


def with_residuals(result, residual):
    return replace(result, area_diagnostics=result.area_diagnostics.assign(std_residual=residual))


def as_iid(result):
    return replace(result, model={**result.model, "random_effect": "iid", "method": "reml"})


def test_a_good_fit_is_fine(make_result):
    found = verdicts(make_result())
    assert {c.verdict for c in found.values()} <= {FINE, NOTE}
    assert summary_of(list(found.values())) == f"All {len(found)} checks of the model are fine or need no action."


def test_a_pattern_that_is_left_is_never_fine(make_result):
    x, y = np.meshgrid(np.arange(6.0), np.arange(6.0))
    smooth = with_residuals(make_result(), ((x + y).ravel() - 5.0) / 3.0)
    name = "Spatial pattern of the residuals"
    assert verdicts(smooth)[name].verdict == LOOK
    assert "although the model borrows" in verdicts(smooth)[name].meaning
    assert verdicts(as_iid(smooth))[name].verdict == LOOK
    assert "spatial random effect" in verdicts(as_iid(smooth))[name].meaning
    # Alternating residuals are what prediction from neighbours leaves; they call for nothing.
    board = with_residuals(make_result(), np.where((x + y).ravel() % 2, 1.0, -1.0) + 0.1 * x.ravel())
    assert verdicts(board)[name].verdict == FINE
    noise = with_residuals(make_result(), np.random.default_rng(3).normal(size=36))
    assert verdicts(noise)[name].verdict == FINE
    assert verdicts(as_iid(noise))[name].verdict == FINE


def test_whether_a_spatial_effect_has_anything_to_use(make_result):
    name = "Use of a spatial effect"
    x, y = np.meshgrid(np.arange(6.0), np.arange(6.0))
    result = make_result()
    assert verdicts(result)[name].verdict == NOTE
    assert name not in verdicts(as_iid(result))
    tilted = result.area_diagnostics.assign(synthetic=result.estimates["direct"] - 8.0 * (x + y).ravel())
    assert verdicts(replace(result, area_diagnostics=tilted))[name].verdict == FINE


def test_normality_needs_size_and_shape(make_result):
    skewed = with_residuals(make_result(), np.random.default_rng(1).exponential(size=36) ** 2)
    assert verdicts(skewed)["Normality of the standardised residuals"].verdict == LOOK
    many = make_result(60, 60, unsampled=())
    rng = np.random.default_rng(2)
    nearly = with_residuals(many, rng.standard_t(15, size=3600))
    check = verdicts(nearly)["Normality of the standardised residuals"]
    assert "p < 0.001" in check.result
    assert check.verdict == NOTE


def test_outliers(make_result):
    residual = np.random.default_rng(0).normal(size=36)
    residual[:3] = [5.0, -6.0, 4.0]
    check = verdicts(with_residuals(make_result(), residual))["Outlying areas"]
    assert check.verdict == LOOK
    assert check.result.startswith("3 areas beyond 3")


def test_disagreement_with_the_survey(make_result):
    result = make_result()
    table = result.estimates.copy()
    table["estimate"] += 40.0 * np.where(np.arange(36) % 2, 1, -1)
    assert verdicts(replace(result, estimates=table))["Agreement with the direct estimates"].verdict == LOOK


@pytest.mark.parametrize(("worse", "verdict"), [(0, FINE), (2, NOTE), (20, LOOK)])
def test_precision_lost(make_result, worse, verdict):
    result = make_result(unsampled=())
    table = result.estimates.copy()
    table.loc[: worse - 1, "se"] = 1.5 * table["direct_se"]
    check = verdicts(replace(result, estimates=table))["Standard errors of the model"]
    assert check.verdict == verdict
    assert f"in {worse or 'none'} of 36 areas" in check.result


def test_more_coefficients_than_the_areas_can_bear(make_result):
    result = make_result(2, 4, unsampled=())
    assert verdicts(result)["Enough areas"].verdict == LOOK
    assert verdicts(make_result())["Enough areas"].verdict == FINE


def test_coefficients_are_counted_by_response(make_several):
    result = make_several()
    for facts in gather(result):
        check = next(c for c in run_checks(result, facts) if c.name == "Enough areas")
        assert check.result == "34 direct estimates, 2 coefficients"
