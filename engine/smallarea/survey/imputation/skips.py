"""Who was asked what: skip patterns worked out row by row, before and after imputation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named
from smallarea.survey.imputation.rules import Condition, Rules, compare
from smallarea.survey.imputation.variables import Variable

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Gate:
    """One condition on the asking of a question.

    Attributes
    ----------
    variable : int
        The variable that is read, or -1 where the condition reads a column that is not imputed.
    known : ndarray of bool, shape (n,), or None
        Whether the condition holds in each row, for such a column.
    condition : Condition
        The comparison.
    categories : tuple
        Of the variable that is read, empty for numbers.
    """

    variable: int
    known: Mask | None
    condition: Condition
    categories: tuple

    def holds(self, numbers: Vector) -> Mask:
        """Whether the condition holds, shape (n,), given the table in numbers, shape (n, V); NaN does not fulfil it."""
        if self.known is not None:
            return self.known
        column = numbers[:, self.variable]
        present = ~np.isnan(column)
        result = np.zeros(len(column), dtype=bool)
        if self.categories:
            allowed = np.array([compare(category, self.condition) for category in self.categories])
            result[present] = allowed[column[present].astype(int)]
            return result
        values, place = np.unique(column[present], return_inverse=True)
        result[present] = np.array([compare(value, self.condition) for value in values], dtype=bool)[place]
        return result


@dataclass(frozen=True)
class Skips:
    """The skip patterns of a table.

    Attributes
    ----------
    order : tuple of int
        All variables, each after those that its rules read.
    gates : dict of int to tuple of Gate
        The conditions of the variables that have any.
    numbers : ndarray of int, shape (n,)
        Numbers of the rows, for messages.
    """

    order: tuple[int, ...]
    gates: dict[int, tuple[Gate, ...]]
    numbers: NDArray[np.int64]

    def rows(self, which: NDArray[np.int64]) -> Skips:
        """Return the skip patterns of some of the rows."""
        return replace(
            self,
            numbers=self.numbers[which],
            gates={
                variable: tuple(
                    gate if gate.known is None else replace(gate, known=gate.known[which]) for gate in gates
                )
                for variable, gates in self.gates.items()
            },
        )

    def of(self, variable: int) -> tuple[Gate, ...]:
        """Conditions of a variable."""
        return self.gates.get(variable, ())

    def asked(self, numbers: Vector, variable: int) -> Mask:
        """Whether the question was put, shape (n,), given a table without gaps in what is read."""
        return np.logical_and.reduce([gate.holds(numbers) for gate in self.gates[variable]])

    def shut(self, numbers: Vector, lost: Mask, variable: int) -> Mask:
        """Whether a code says that the question was not put, shape (n,), where that hangs on answers to impute.

        Nowhere, if the code also stands where the conditions are known to hold: then it has other reasons.

        Parameters
        ----------
        numbers : ndarray, shape (n, V)
            The table, before or after it was completed.
        lost : ndarray of bool, shape (n, V)
            Cells to impute.
        variable : int
            Which question.
        """
        read = [gate.variable for gate in self.gates[variable] if gate.known is None]
        hangs = lost[:, read].any(axis=1)
        coded = np.isnan(numbers[:, variable]) & ~lost[:, variable]
        if (coded & ~hangs & self.asked(numbers, variable)).any():
            return np.zeros(len(numbers), dtype=bool)
        return np.asarray(coded & hangs)

    def open_gates(self, numbers: Vector, variable: int, structural: Mask) -> Mask:
        """Whether that depends on an answer which is missing, shape (n,): no condition fails and one is unknown."""
        failed = np.zeros(len(numbers), dtype=bool)
        unknown = np.zeros(len(numbers), dtype=bool)
        for gate in self.gates[variable]:
            holds = gate.holds(numbers)
            if gate.known is None:
                gap = np.isnan(numbers[:, gate.variable]) & ~structural[:, gate.variable]
                unknown |= gap
                failed |= ~holds & ~gap
            else:
                failed |= ~holds
        return unknown & ~failed


def work_out(rules: Rules, frame: pd.DataFrame, variables: Sequence[Variable]) -> Skips:
    """Make the gates of all variables.

    Parameters
    ----------
    rules : Rules
        Checked.
    frame : pandas.DataFrame, shape (n, ...)
        The table, its index the numbers of the rows.
    variables : sequence of Variable, length V
        The variables.

    Returns
    -------
    Skips

    Raises
    ------
    TableProblem
        If a condition reads a column which has gaps and is not imputed.
    """
    names = [variable.name for variable in variables]
    gates = {
        names.index(name): tuple(_gate(condition, frame, variables, names) for condition in rules.of(name))
        for name in names
        if rules.of(name)
    }
    return Skips(tuple(names.index(name) for name in rules.order(names)), gates, frame.index.to_numpy())


def structural_cells(skips: Skips, numbers: Vector, variables: Sequence[Variable], coded: Mask) -> tuple[Mask, Mask]:
    """Return the cells which stay empty because the question was not put, and those for which that is open, (n, V).

    Parameters
    ----------
    skips : Skips
        The skip patterns.
    numbers : ndarray, shape (n, V)
        The answers.
    variables : sequence of Variable, length V
        For messages.
    coded : ndarray of bool, shape (n, V)
        Cells with a code for "not asked".

    Raises
    ------
    TableProblem
        If a question was answered although the rules say that it was not put.
    """
    structural = coded.copy()
    unsure = np.zeros_like(coded)
    for variable in (place for place in skips.order if skips.of(place)):
        asked = skips.asked(numbers, variable)
        open_ = skips.open_gates(numbers, variable, structural)
        against = ~asked & ~open_ & ~np.isnan(numbers[:, variable])
        if against.any():
            conditions = [str(gate.condition) for gate in skips.gates[variable]]
            raise TableProblem(
                f"{int(against.sum())} rows answer {variables[variable].name!r} although {named(conditions)} does not "
                f"hold: rows {named(skips.numbers[against])}. Correct the answers or the rule."
            )
        structural[:, variable] |= ~asked & ~open_
        unsure[:, variable] = open_
    return structural, unsure


def keep_skips(skips: Skips, numbers: Vector, lost: Mask, rng: np.random.Generator) -> None:
    """Make a completed table obey its skip patterns, in place.

    An imputed answer that would close a question which was answered is replaced by that of a random respondent for
    whom the conditions hold; one that would put a question whose code says that it was not put, by that of one for whom
    they do not. Answers to questions that turn out not to have been put are taken out; a question that
    turns out to have been put, and has no answer, gets that of a random respondent.

    Parameters
    ----------
    skips : Skips
        The skip patterns.
    numbers : ndarray, shape (n, V)
        A completed table; changed.
    lost : ndarray of bool, shape (n, V)
        Cells that were imputed; no other is changed.
    rng : numpy.random.Generator
        Source of randomness.

    Raises
    ------
    TableProblem
        If nobody's answer fulfils a condition.
    """
    answered = ~lost & ~np.isnan(numbers)
    needed = answered.copy()
    for place in reversed(skips.order):
        readers = [variable for variable in skips.order if any(gate.variable == place for gate in skips.of(variable))]
        if readers:
            _open(skips, numbers, place, readers, needed, answered, lost, rng)
            needed[:, place] |= needed[:, readers].any(axis=1)
    for variable in skips.order:
        if skips.of(variable):
            _close(skips, numbers, variable, needed, answered, lost, rng)
    for variable in skips.order:
        if skips.of(variable):
            asked = skips.asked(numbers, variable)
            numbers[~asked, variable] = np.nan
            unanswered = asked & lost[:, variable] & np.isnan(numbers[:, variable])
            given = numbers[answered[:, variable], variable]
            numbers[unanswered, variable] = rng.choice(given, int(unanswered.sum()))


def _open(
    skips: Skips,
    numbers: Vector,
    place: int,
    readers: Sequence[int],
    needed: Mask,
    answered: Mask,
    lost: Mask,
    rng: np.random.Generator,
) -> None:
    """Redraw imputed answers that would close questions which were answered."""
    wanted, group = np.unique(needed[:, readers], axis=0, return_inverse=True)
    for number, mask in enumerate(wanted):
        gates = [g for variable in np.array(readers)[mask] for g in skips.of(variable) if g.variable == place]
        if not gates:
            continue
        holds = np.logical_and.reduce([gate.holds(numbers) for gate in gates])
        wrong = (group == number) & ~holds & lost[:, place]
        if not wrong.any():
            continue
        donors = numbers[holds & answered[:, place], place]
        if not len(donors):
            conditions = named(str(gate.condition) for gate in gates)
            raise TableProblem(
                f"Nobody's answer fulfils {conditions}, as rows {named(skips.numbers[wrong])} need. Correct the rules."
            )
        numbers[wrong, place] = rng.choice(donors, int(wrong.sum()))


def _close(
    skips: Skips,
    numbers: Vector,
    variable: int,
    needed: Mask,
    answered: Mask,
    lost: Mask,
    rng: np.random.Generator,
) -> None:
    """Redraw imputed answers that would put a question of which a code says that it was not put."""
    for row in np.flatnonzero(skips.shut(numbers, lost, variable) & skips.asked(numbers, variable)):
        donors: list[tuple[int, NDArray[np.int64]]] = []
        for gate in skips.of(variable):
            place = gate.variable
            if place < 0 or not lost[row, place]:
                continue
            fit = answered[:, place] & ~gate.holds(numbers)
            readers = [other for other in skips.order if needed[row, other] and skips.of(other)]
            for one in (one for other in readers for one in skips.of(other) if one.variable == place):
                fit &= one.holds(numbers)
            if fit.any():
                donors.append((place, np.flatnonzero(fit)))
        if not donors:
            raise TableProblem(
                f"Row {skips.numbers[row]} has a code for 'not asked', but nobody's answer fails "
                f"{named(str(gate.condition) for gate in skips.of(variable))}. Correct the code or the rules."
            )
        place, rows = donors[int(rng.integers(len(donors)))]
        numbers[row, place] = numbers[rng.choice(rows), place]


def _gate(condition: Condition, frame: pd.DataFrame, variables: Sequence[Variable], names: Sequence[str]) -> Gate:
    if condition.column in names:
        place = names.index(condition.column)
        return Gate(place, None, condition, variables[place].categories)
    column = frame[condition.column]
    gaps = column.isna().to_numpy()
    if gaps.any():
        raise TableProblem(
            f"The rule {str(condition)!r} reads a column with {int(gaps.sum())} missing answers (rows "
            f"{named(frame.index[gaps])}). Impute {condition.column!r} as well, or fill it."
        )
    codes, uniques = pd.factorize(column)
    allowed = np.array([compare(value, condition) for value in uniques], dtype=bool)
    return Gate(-1, allowed[codes], condition, ())
