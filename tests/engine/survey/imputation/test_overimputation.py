"""Overimputation with imputers whose quality is known: draws from the truth's own distribution, or from another."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from smallarea.errors import JobProblem, ModelProblem
from smallarea.results.prediction.rules import crps_normal
from smallarea.survey.imputation.overimputation import overimpute, rank_interval
from smallarea.survey.imputation.variables import Variable

NORMAL, SCALE = Variable("x", "continuous"), Variable("k", "ordinal", categories=("low", "mid", "high"))


@dataclass
class Drawn:
    """Missing cells of x are N(0, sd), those of k follow the given shares."""

    frame: pd.DataFrame
    imputations: int
    sd: float
    shares: tuple[float, ...]
    masked: pd.DataFrame | None = None

    def completed(self, m):
        rng = np.random.default_rng([7, m])
        table = self.frame.copy()
        gaps = table["x"].isna().to_numpy()
        table.loc[gaps, "x"] = rng.normal(0.0, self.sd, gaps.sum())
        gaps = table["k"].isna().to_numpy()
        table.loc[gaps, "k"] = rng.choice(SCALE.categories, gaps.sum(), p=self.shares)
        return table


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    shares = (0.2, 0.5, 0.3)
    table = pd.DataFrame({"x": rng.normal(size=8_000), "k": rng.choice(SCALE.categories, 8_000, p=shares)})
    table.loc[:99, "x"] = np.nan
    return table


def run(frame, *, sd=1.0, shares=(0.2, 0.5, 0.3), imputations=79, **options):
    return overimpute(frame, [NORMAL, SCALE], lambda masked: Drawn(masked, imputations, sd, shares), **options)


def test_right_draws_score_as_theory_says(frame):
    found = run(frame)
    x, k = (found.scores.set_index("variable").loc[name] for name in ("x", "k"))
    cells = 790
    assert x["cells"] == cells
    assert x["coverage"] == pytest.approx(0.95, abs=3.0 * np.sqrt(0.95 * 0.05 / cells))
    assert x["rmse"] == pytest.approx(np.sqrt(1.0 + 1.0 / 79), rel=0.08)
    # The CRPS of a standard normal prediction, at the very answers that were hidden.
    truth = found.hidden[0].truth
    assert x["crps"] == pytest.approx(float(np.mean(crps_normal(truth, np.zeros(cells), np.ones(cells)))), rel=0.03)
    assert abs(x["skill"]) < 0.01
    # 1 - sum of squared shares.
    assert k["brier"] == pytest.approx(0.62, abs=0.03)
    assert abs(k["skill"]) < 0.01
    assert np.isnan(k["coverage"])


def test_draws_that_are_too_narrow_are_found_out(frame):
    narrow = run(frame, sd=0.5).scores.set_index("variable").loc["x"]
    assert narrow["coverage"] == pytest.approx(2.0 * stats.norm.cdf(0.98) - 1.0, abs=0.05)
    assert narrow["skill"] < -0.01


def test_wrong_shares_cost_skill(frame):
    found = run(frame, shares=(0.6, 0.2, 0.2)).scores.set_index("variable").loc["k"]
    # sum (p - q)^2 over 1 - sum q^2.
    assert found["skill"] == pytest.approx(-0.26 / 0.62, abs=0.06)


def test_only_known_answers_are_hidden_and_truths_are_kept(frame):
    seen = []

    def impute(masked):
        seen.append(masked)
        return Drawn(masked, 20, 1.0, (0.2, 0.5, 0.3))

    before = frame.copy()
    found = overimpute(frame, [NORMAL, SCALE], impute, share=0.25, seed=3)
    assert frame.equals(before)
    for one in found.hidden:
        column = before[one.variable.name]
        assert column.iloc[one.rows].notna().all()
        assert seen[0][one.variable.name].iloc[one.rows].isna().all()
        assert len(one.rows) == round(0.25 * column.notna().sum())
        assert one.draws.shape == (20, len(one.rows))
    assert np.array_equal(found.hidden[0].truth, before["x"].iloc[found.hidden[0].rows])
    again = overimpute(frame, [NORMAL, SCALE], impute, share=0.25, seed=3)
    assert found.scores.equals(again.scores)


def test_rare_categories_are_not_hidden(frame):
    frame.loc[[5, 6], "k"] = "rare"
    scale = Variable("k", "nominal", categories=("low", "mid", "high", "rare"))
    found = overimpute(frame, [scale], lambda masked: Drawn(masked, 20, 1.0, (0.2, 0.5, 0.3)), share=0.9)
    assert not np.isin([5, 6], found.hidden[0].rows).any()


def test_rank_intervals_cover_exactly_where_ranks_are_whole():
    draws = np.arange(1.0, 40.0)[:, None]
    assert [float(end[0]) for end in rank_interval(draws, 0.95)] == pytest.approx([1.0, 39.0])
    draws = np.arange(1.0, 80.0)[:, None]
    assert [float(end[0]) for end in rank_interval(draws, 0.95)] == pytest.approx([2.0, 78.0])


def test_impossible_requests_are_refused(frame):
    with pytest.raises(JobProblem, match="share"):
        run(frame, share=0.0)
    with pytest.raises(JobProblem, match="level"):
        run(frame, level=1.0)
    with pytest.raises(ModelProblem, match="too few"):
        run(frame, imputations=5)
    with pytest.raises(ModelProblem, match="no known answer"):
        run(frame.head(2).assign(x=np.nan), share=0.1)
