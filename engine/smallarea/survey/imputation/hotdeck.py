"""Hot deck: a missing answer is that of a random respondent of the same cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem
from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.method import Progress, Sampler

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

# Rows with rarer combinations of gaps take each answer from another donor.
_MOST_PATTERNS = 300
_BINS = 4
_CORRELATION_DRAWS = 10


@dataclass(frozen=True)
class Request:
    """Rows that lack the same answers.

    Attributes
    ----------
    rows : ndarray of int
        The rows.
    variables : ndarray of int
        The variables that they take from one donor.
    unsure : ndarray of bool
        Of which of them it is open whether the question was put. Then a donor need not have answered it.
    """

    rows: Codes
    variables: Codes
    unsure: NDArray[np.bool_]


@dataclass(frozen=True)
class FittedHotDeck:
    """Cells and who asks for what.

    Attributes
    ----------
    encoded : EncodedTable
        The table.
    levels : tuple of ndarray of int, shape (n,)
        Cell of each row, finest division first; in the last one all rows are one cell.
    names : tuple of str
        What the divisions are by.
    requests : tuple of Request
        What is asked for.
    fewest : int
        Donors below which a coarser division is taken.
    seed : int
        Of `correlation`.
    """

    encoded: EncodedTable
    levels: tuple[Codes, ...]
    names: tuple[str, ...]
    requests: tuple[Request, ...]
    fewest: int
    seed: int

    @property
    def record(self) -> dict[str, Any]:
        """See `Fitted`; with the rows served in each division."""
        served = dict.fromkeys(self.names, 0)
        for request in self.requests:
            for name, rows, _ in self._served(request):
                served[name] += len(rows)
        return {"method": "hotdeck", "rows": len(self.encoded.values), "served": served}

    def draw(self, rng: np.random.Generator) -> Vector:
        """See `Fitted`.

        Donors are drawn with probabilities that follow their weights, from a bootstrap sample of the cell's donors: the
        approximate Bayesian bootstrap of Rubin and Schenker (1986), without which intervals are too short. A donor who
        was asked a later question but did not answer it gives the earlier answers; the later one is another's.
        """
        completed = self.encoded.values.copy()
        pending = np.zeros(self.encoded.lost.shape, dtype=bool)
        for request in self.requests:
            self._serve(request, completed, pending, rng)
        for variable in np.flatnonzero(pending.any(axis=0)):
            rows = np.flatnonzero(pending[:, variable])
            self._serve(Request(rows, np.array([variable]), np.array([False])), completed, pending, rng)
        return completed

    def sampler(self, rng: np.random.Generator) -> Sampler:
        """See `Fitted`: every draw has a bootstrap sample of its own."""

        def draw(rows: Codes | None) -> Vector:
            table = self.draw(rng)
            return table if rows is None else table[rows]

        return draw

    def _serve(self, request: Request, completed: Vector, pending: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Give answers, in place, and note what the donors did not answer either."""
        owner = np.array([column.variable for column in self.encoded.columns])
        columns = np.flatnonzero(np.isin(owner, request.variables))
        for name, rows, donors in self._served(request):
            cells = self.levels[self.names.index(name)]
            chosen = _donors(cells[rows], cells[donors], donors, self.encoded.context.weights[donors], rng)
            completed[np.ix_(rows, columns)] = self.encoded.values[np.ix_(chosen, columns)]
            pending[np.ix_(rows, request.variables)] = self.encoded.lost[np.ix_(chosen, request.variables)]

    def correlation(self) -> Vector:
        """See `Fitted`: the mean over ten completed tables, from the answers that both columns have."""
        found = []
        for rng in np.random.default_rng(self.seed).spawn(_CORRELATION_DRAWS):
            completed = np.ma.masked_invalid(self.draw(rng))
            found.append(np.ma.corrcoef(completed, rowvar=False).filled(np.nan))
        return np.mean(found, axis=0)

    def _served(self, request: Request) -> list[tuple[str, Codes, Codes]]:
        """Return division, rows and donors: each row in the finest division with enough donors."""
        donors = np.flatnonzero(_able(self.encoded, request.variables, request.unsure))
        left = request.rows
        parts = []
        for name, cells in zip(self.names, self.levels, strict=True):
            count = np.bincount(cells[donors], minlength=int(cells.max()) + 1)
            enough = count[cells[left]] >= (1 if name == self.names[-1] else self.fewest)
            if enough.any():
                parts.append((name, left[enough], donors))
            left = left[~enough]
        return parts


@dataclass(frozen=True)
class HotDeck:
    """Random hot deck within cells of area, stratum and covariates.

    Cells are the finest division with enough donors: by area, stratum and quarters of the covariates (the weight is one
    of them); by area, stratum and halves of the covariates that were named; by area and stratum; by area; by stratum;
    by quarters, by halves of covariates; all rows. A row takes all its missing answers from one donor, so that
    they fit together; rows with rare combinations of gaps take them one by one.

    Attributes
    ----------
    fewest_donors : int
        Donors that a cell must have.
    """

    fewest_donors: int = 5

    def __post_init__(self) -> None:
        if self.fewest_donors < 1:
            raise JobProblem(f"fewest_donors is {self.fewest_donors}; at least 1 is needed.")

    def fit(self, encoded: EncodedTable, *, seed: int, progress: Progress | None = None) -> FittedHotDeck:
        """See `Imputer`."""
        if progress is not None:
            progress(0.0, "Sorting respondents into cells")
        names, levels = _levels(encoded)
        return FittedHotDeck(encoded, levels, names, tuple(_requests(encoded)), self.fewest_donors, seed)


def _levels(encoded: EncodedTable) -> tuple[tuple[str, ...], tuple[Codes, ...]]:
    context = encoded.context
    n = len(encoded.values)
    own = context.covariates[:, ~np.array(context.of_design, dtype=bool)]
    parts = {
        "area": context.area,
        "stratum": context.stratum,
        "covariates": _binned(context.covariates, _BINS),
        "halves of covariates": _binned(own, 2),
    }
    known = {name: cells for name, cells in parts.items() if cells.any()}
    place, fine, coarse = (
        [name for name in some if name in known]
        for some in (("area", "stratum"), ("covariates",), ("halves of covariates",))
    )
    single: list[list[str]] = [[name] for name in (*place, *fine, *coarse)]
    divisions: list[list[str]] = [[*place, *fine], [*place, *coarse], [*place], *single, []]
    levels: dict[str, Codes] = {}
    for division in divisions:
        name = " x ".join(division) or "all"
        cells = np.zeros(n, dtype=np.int64)
        for part in division:
            cells = _cross(cells, known[part])
        levels.setdefault(name, cells)
    return tuple(levels), tuple(levels.values())


def _binned(columns: Vector, pieces: int) -> Codes:
    """Return cells of equal parts of each column."""
    cells = np.zeros(len(columns), dtype=np.int64)
    for column in columns.T:
        edges = np.quantile(column, np.arange(1, pieces) / pieces)
        cells = _cross(cells, np.searchsorted(edges, column, side="left"))
    return cells


def _cross(one: Codes, two: NDArray[Any]) -> Codes:
    """Give each combination of two codes a number."""
    return np.unique(one * (int(two.max()) + 1) + two, return_inverse=True)[1].astype(np.int64)


def _requests(encoded: EncodedTable) -> list[Request]:
    rows = np.flatnonzero(encoded.lost.any(axis=1))
    asked = np.hstack([encoded.lost[rows], encoded.unsure[rows]])
    patterns, place, counts = np.unique(asked, axis=0, return_inverse=True, return_counts=True)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:_MOST_PATTERNS])
    count = encoded.lost.shape[1]
    found = []
    rare = ~np.isin(place, frequent)
    for pattern in frequent:
        variables = np.flatnonzero(patterns[pattern, :count])
        unsure = patterns[pattern, count:][variables]
        if _able(encoded, variables, unsure).any():
            found.append(Request(rows[place == pattern], variables, unsure))
        else:
            rare |= place == pattern
    for variable in range(count):
        asking = rows[rare][encoded.lost[rows[rare], variable]]
        if len(asking):
            found.append(Request(asking, np.array([variable]), np.array([False])))
    return found


def _able(encoded: EncodedTable, variables: Codes, unsure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each row can give all these answers, shape (n,).

    Of an open question, whoever was not asked it, and whoever was asked for certain, answered or not: to leave out
    those who did not answer would make "not asked" too frequent.
    """
    silent = np.isnan(encoded.numbers[:, variables])
    return np.asarray((~silent | (unsure & ~encoded.unsure[:, variables])).all(axis=1))


def _donors(asking: Codes, cells: Codes, donors: Codes, weights: Vector, rng: np.random.Generator) -> Codes:
    """Draw a donor for each asking row from a weighted bootstrap sample of the donors of its cell."""
    order = np.argsort(cells, kind="stable")
    cells, donors = cells[order], donors[order]
    count = np.bincount(cells, minlength=int(max(cells.max(), asking.max())) + 1)
    ends = np.cumsum(count)
    starts = ends - count
    summed = np.cumsum(weights[order])
    before = np.concatenate([[0.0], summed])
    low, high = before[starts[cells]], before[ends[cells]]
    aimed = low + (high - low) * rng.random(len(cells))
    sample = np.clip(np.searchsorted(summed, aimed, side="right"), starts[cells], ends[cells] - 1)
    picked = starts[asking] + (rng.random(len(asking)) * count[asking]).astype(np.int64)
    return donors[sample[picked]]
