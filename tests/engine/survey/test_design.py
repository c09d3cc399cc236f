"""Designs made of columns: how units are told apart, finite populations, and what is refused."""

import re

import numpy as np
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.design import survey_design

ONES = np.ones(6)
STRATA = ["n", "n", "n", "s", "s", "s"]


def test_rows_are_the_units_without_any_named():
    (stage,) = survey_design(ONES).stages
    assert len(stage.stratum) == 6
    assert stage.size.tolist() == [6]
    assert np.isinf(stage.population).all()
    assert survey_design(ONES).df == 5


def test_units_of_the_same_name_in_different_strata():
    units = ["a", "b", "b", "a", "b", "c"]
    with pytest.raises(TableProblem, match="2 sampling units occur in more than one stratum: 'a', 'b'"):
        survey_design(ONES, strata=[STRATA], psu=[units])
    (stage,) = survey_design(ONES, strata=[STRATA], psu=[units], nest=True).stages
    assert stage.size.tolist() == [2, 3]


def test_names_of_the_second_stage_always_start_anew():
    design = survey_design(ONES, psu=[["a", "a", "a", "b", "b", "b"], ["1", "1", "2", "1", "2", "2"]], fpc=[ONES * 8])
    first, second = design.stages
    assert first.size.tolist() == [2]
    assert second.size.tolist() == [2, 2]
    assert second.parent.tolist() == [0, 1]


def test_a_later_stage_adds_nothing_without_the_population_of_the_stage_before():
    units = [["a", "a", "a", "b", "b", "b"], ["1", "1", "2", "1", "2", "2"]]
    assert len(survey_design(ONES, psu=units).stages) == 1


def test_finite_populations_are_counts_or_shares():
    count = survey_design(ONES, strata=[STRATA], fpc=[np.repeat([30.0, 12.0], 3)]).stages[0]
    share = survey_design(ONES, strata=[STRATA], fpc=[np.repeat([0.1, 0.25], 3)]).stages[0]
    assert count.population.tolist() == [30.0, 12.0]
    np.testing.assert_allclose(share.population, count.population)
    np.testing.assert_allclose(count.unsampled, [0.9, 0.75])


def test_lonely_units_are_those_not_taken_whole():
    stage = survey_design(ONES, strata=[["a", "b", "c", "c", "c", "c"]], fpc=[np.array([1.0, 5, 9, 9, 9, 9])]).stages[0]
    assert stage.lonely.tolist() == [False, True, False]


def test_degrees_of_freedom_count_units_with_a_weight():
    weights = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert survey_design(weights, strata=[STRATA]).df == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"strata": [["n", None, "n", "s", "s", "s"]]}, "1 rows have no stratum of stage 1: rows 2"),
        ({"psu": [["a", "b", np.nan, "c", "d", "e"]]}, "no sampling unit of stage 1: rows 3"),
        ({"fpc": [np.array([9.0, 9, 9, 9, 9, 8])]}, "differs within 1 strata"),
        ({"fpc": [ONES * 5.0]}, "more sampled units than their population: 'the whole sample (6 of 5)'"),
        ({"fpc": [np.array([9.0, 9, 9, 9, 9, np.nan])]}, "no positive finite population of stage 1: rows 6"),
        ({"fpc": [ONES * 0.0]}, "no positive finite population"),
    ],
)
def test_tables_that_are_refused(more, said):
    with pytest.raises(TableProblem, match=re.escape(said)):
        survey_design(ONES, **more)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, np.nan, 1.0], "1 rows have no weight: rows 2"),
        ([1.0, np.inf, 1.0], "1 rows have no weight: rows 2"),
        ([1.0, -2.0, 1.0], "negative"),
        ([0.0, 0.0, 0.0], "zero"),
        ([], "no rows"),
    ],
)
def test_weights_that_are_refused(weights, said):
    with pytest.raises(TableProblem, match=said):
        survey_design(np.array(weights))


def test_more_strata_than_stages():
    with pytest.raises(JobProblem, match="1 stages of sampling units, but 2 of strata"):
        survey_design(ONES, strata=[STRATA, STRATA], psu=[STRATA])
