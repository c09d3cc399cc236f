"""Chained equations with predictive mean matching, by statsmodels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable, JobProblem, ModelProblem
from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.margins import Quantiles, linear_margin
from smallarea.survey.imputation.matching import ANSWERS_EACH
from smallarea.survey.imputation.method import Progress, Sampler

if TYPE_CHECKING:
    from statsmodels.imputation.mice import MICEData

Vector = NDArray[np.float64]

_CORRELATION_DRAWS = 10


@dataclass(frozen=True)
class FittedChain:
    """Chained equations after their warm-up.

    Attributes
    ----------
    encoded : EncodedTable
        The table.
    start : ndarray, shape (r, p + c)
        Answers and surroundings of the rows with any of them, completed in the warm-up.
    rows : ndarray of int, shape (r,)
        Those rows.
    neighbours : int
        Donors of a missing answer.
    cycles : int
        Rounds through all columns for each completed table.
    seed : int
        Of `correlation`.
    facts : dict
        For the record.
    """

    encoded: EncodedTable
    start: Vector
    rows: NDArray[np.int64]
    neighbours: int
    cycles: int
    seed: int
    facts: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """See `Fitted`."""
        return dict(self.facts)

    def draw(self, rng: np.random.Generator) -> Vector:
        """See `Fitted`."""
        return self.sampler(rng)(None)

    def sampler(self, rng: np.random.Generator) -> Sampler:
        """See `Fitted`.

        Every table starts where the warm-up ended; each further draw is a further round. Rows without any answer or
        covariate take the answers of a random other row: nothing tells them from others.
        """
        chain = _chain(self.encoded, self.rows, self.neighbours, rng)
        chain.data = pd.DataFrame(self.start.copy(), columns=chain.data.columns)

        def draw(rows: NDArray[np.int64] | None) -> Vector:
            _turn(chain, self.cycles if rows is None else 1)
            table = self._whole(chain.data.to_numpy(dtype=float), rng)
            return table if rows is None else table[rows]

        return draw

    def correlation(self) -> Vector:
        """See `Fitted`: the mean over ten completed tables."""
        tables = (self.draw(rng) for rng in np.random.default_rng(self.seed).spawn(_CORRELATION_DRAWS))
        return np.mean([np.corrcoef(table, rowvar=False) for table in tables], axis=0)

    def _whole(self, completed: Vector, rng: np.random.Generator) -> Vector:
        n, p = self.encoded.shape
        table = np.empty((n, p))
        table[self.rows] = completed[:, :p]
        empty = np.setdiff1d(np.arange(n), self.rows)
        table[empty] = completed[rng.integers(len(completed), size=len(empty)), :p]
        return table


@dataclass(frozen=True)
class ChainedEquations:
    """Each column is regressed on all others in turn; missing answers are those of respondents with like predictions.

    The linear model of statsmodels, coefficients drawn from their posterior (van Buuren 2018, sections 3.4 and 4.5), on
    the working scale. Since only observed answers are given, they are always possible ones. Areas enter as estimated
    effects (`EncodedTable.surroundings`).

    Attributes
    ----------
    neighbours : int
        Respondents among whom a donor is drawn.
    warmup : int
        Rounds through all columns before the first table.
    cycles : int
        Further rounds for each table.
    """

    neighbours: int = 5
    warmup: int = 10
    cycles: int = 5

    def __post_init__(self) -> None:
        if min(self.neighbours, self.cycles) < 1 or self.warmup < 0:
            raise JobProblem("neighbours and cycles must be at least 1, warmup at least 0.")

    def fit(self, encoded: EncodedTable, *, seed: int, progress: Progress | None = None) -> FittedChain:
        """See `Imputer`.

        Raises
        ------
        EngineUnavailable
            If statsmodels is not installed, or is too old to take a generator of random numbers.
        ModelProblem
            If a column has fewer answers than there are columns.
        """
        table = np.column_stack([encoded.values, encoded.surroundings])
        answers = (~np.isnan(encoded.values)).sum(axis=0)
        fewest = int(answers.min())
        if fewest < table.shape[1] + 2:
            raise ModelProblem(
                f"{encoded.columns[int(answers.argmin())].name!r} has only {fewest} answers, too few for a regression "
                f"on {table.shape[1] - 1} other columns. Leave it out, or use method mvn or hotdeck."
            )
        neighbours = min(self.neighbours, fewest)
        rows = np.flatnonzero(~np.isnan(table).all(axis=1))
        chain = _chain(encoded, rows, neighbours, np.random.default_rng(seed))
        for cycle in range(self.warmup):
            if progress is not None:
                progress(100.0 * cycle / self.warmup, f"Chained equations, round {cycle + 1} of {self.warmup}")
            _turn(chain, 1)
        facts = {"method": "chained", "rows": len(rows), "columns": table.shape[1], "neighbours": neighbours}
        start = chain.data.to_numpy(dtype=float)
        return FittedChain(encoded, start, rows, neighbours, self.cycles, seed, facts)


def _turn(chain: MICEData, cycles: int) -> None:
    """Go through all columns; regressions on collinear columns take the smallest solution, which predicts the same."""
    from statsmodels.tools.sm_exceptions import SingularMatrixWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        chain.update_all(cycles)


def _chain(encoded: EncodedTable, rows: NDArray[np.int64], neighbours: int, rng: np.random.Generator) -> MICEData:
    table = np.column_stack([encoded.values, encoded.surroundings])[rows]
    frame = pd.DataFrame(table, columns=[f"v{place}" for place in range(table.shape[1])])
    # Later questions of a nominal variable's chain are put where earlier ones have one answer: they tell nothing of it.
    owner = [column.variable for column in encoded.columns] + [-1] * encoded.surroundings.shape[1]
    others = {
        f"v{place}": [k for k in range(len(owner)) if k != place and (owner[k] != owner[place] or owner[k] < 0)]
        for place in range(len(owner))
    }
    answers = (~np.isnan(encoded.values)).sum(axis=0)
    try:
        chain = _linear_chain()(frame, k_pmm=neighbours, rng=rng)
    except TypeError as problem:
        raise EngineUnavailable(
            'Method "chained" needs statsmodels 0.15 or newer: pip install --upgrade statsmodels.'
        ) from problem
    chain.others = others
    # Relations between skewed answers may be straight in their units (sums) or on normal scores (products).
    units = {
        k: _in_units(column.margin, encoded.values[:, k])
        for k, column in enumerate(encoded.columns)
        if isinstance(column.margin, Quantiles)
    }
    chain.units = {
        f"v{place}": units
        for place in range(len(encoded.columns))
        if answers[place] >= ANSWERS_EACH * (len(owner) + len(units))
    }
    return chain


def _in_units(margin: Quantiles, scores: Vector) -> Callable[[Vector], Vector]:
    """Return what turns normal scores into answers in their own units, centred and divided by their deviation."""
    scale = linear_margin(margin.decode(scores[~np.isnan(scores)]))
    return lambda working: scale.encode(margin.decode(working))


def _linear_chain() -> type[MICEData]:
    """Return statsmodels' chained equations with design matrices from columns.

    They are what its formulas give for sums of columns; reading formulas takes ten times as long as all else.
    """
    try:
        from statsmodels.imputation.mice import MICEData
    except ImportError as problem:
        raise EngineUnavailable(
            'Method "chained" needs statsmodels 0.15 or newer: pip install "smallarea[survey]".'
        ) from problem

    class LinearChain(MICEData):
        others: Mapping[str, list[int]]
        units: Mapping[str, Mapping[int, Callable[[Vector], Vector]]]

        def get_fitting_data(self, vname: str) -> tuple[Vector, Vector, dict, dict]:
            rows = self.ix_obs[vname]
            return self.data[vname].to_numpy()[rows], self._design(vname, rows), {}, {}

        def get_split_data(self, vname: str) -> tuple[Vector, Vector, Vector, dict, dict]:
            # Donors from a bootstrap sample: predictions of donors and of gaps move together with the coefficients, so
            # that without it the error of a regression on one column would cancel (Rubin and Schenker 1986).
            lost, seen = self.ix_miss[vname], self.rng.choice(self.ix_obs[vname], len(self.ix_obs[vname]))
            answers = self.data[vname].to_numpy()[seen]
            return answers[:, None], self._design(vname, seen), self._design(vname, lost), {}, {}

        def _design(self, vname: str, rows: NDArray[np.int64]) -> Vector:
            part = self.data.to_numpy(dtype=float)[rows]
            others = self.others[vname]
            in_units = [one(part[:, k]) for k, one in self.units.get(vname, {}).items() if k in others]
            return np.column_stack([np.ones(len(rows)), part[:, others], *in_units])

    return LinearChain
