"""What can be an answer and who was asked: ranges, codes that are no answers, skip patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smallarea.errors import JobProblem, named

_RULE = re.compile(r"^\s*(?P<variable>.+?)\s+asked\s+if\s+(?P<conditions>.+?)\s*$", re.IGNORECASE)
_CONDITION = re.compile(r"^\s*(?P<column>.+?)\s*(?P<operator><=|>=|!=|=|<|>|\bin\b)\s*(?P<value>.+?)\s*$")
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in")


@dataclass(frozen=True)
class Condition:
    """A comparison of a column with a value.

    Attributes
    ----------
    column : str
        Which column.
    operator : {'=', '!=', '<', '<=', '>', '>=', 'in'}
        How it is compared.
    values : tuple
        One value; several with ``in``.
    """

    column: str
    operator: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class SkipRule:
    """A question was put only to rows for which all conditions hold.

    Attributes
    ----------
    variable : str
        The answers to the question.
    conditions : tuple of Condition
        On other columns.
    """

    variable: str
    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return f"{self.variable} asked if {' and '.join(map(str, self.conditions))}"


@dataclass(frozen=True)
class Rules:
    """All that is known of a questionnaire.

    Attributes
    ----------
    not_asked : mapping of str to sequence
        Codes which say that the question was not put: the cell stays empty and is not imputed.
    refused : mapping of str to sequence
        Codes which say that no answer was given ("refused", "don't know"): the cell is imputed.
    skips : tuple of SkipRule
        Skip patterns. Several of one variable must all hold.
    """

    not_asked: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    refused: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    skips: tuple[SkipRule, ...] = ()

    @property
    def codes(self) -> dict[str, tuple[Any, ...]]:
        """Column to all codes that are no answers, for `describe_variables`."""
        return {
            name: (*self.not_asked.get(name, ()), *self.refused.get(name, ()))
            for name in {**self.not_asked, **self.refused}
        }

    def check(self, names: Sequence[str], columns: Sequence[str]) -> None:
        """Refuse rules that cannot all hold.

        Parameters
        ----------
        names : sequence of str
            The variables.
        columns : sequence of str
            All columns of the table.

        Raises
        ------
        JobProblem
            If a rule is about a column that is no variable, a condition reads one that is not in the table, a code is
            both "not asked" and "refused", two skip patterns of a variable exclude each other, or whether one
            question was put depends on itself.
        """
        about = {*self.not_asked, *self.refused, *(skip.variable for skip in self.skips)}
        strangers = sorted(about - set(names))
        if strangers:
            raise JobProblem(f"Rules are about {named(strangers)}, which are not among the variables. Name them there.")
        lost = sorted({c.column for skip in self.skips for c in skip.conditions} - set(columns))
        if lost:
            raise JobProblem(
                f"Rules read {named(lost)}, which are not in the table. Its columns: {named(columns, 12)}."
            )
        for name in sorted(set(self.not_asked) & set(self.refused)):
            both = set(self.not_asked[name]) & set(self.refused[name])
            if both:
                raise JobProblem(
                    f"Code {named(both)} of {name!r} is given both as not asked and as refused. Choose one."
                )
        self._check_exclusion()
        self.order(names)

    def of(self, name: str) -> tuple[Condition, ...]:
        """Conditions under which a question was put, of all its rules."""
        return tuple(condition for skip in self.skips if skip.variable == name for condition in skip.conditions)

    def order(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the variables so that each comes after those that its rules read.

        Raises
        ------
        JobProblem
            If there is no such order.
        """
        left, ordered = list(names), []
        while left:
            free = [name for name in left if not any(c.column in left for c in self.of(name))]
            if not free:
                circle = [str(skip) for skip in self.skips if skip.variable in left]
                raise JobProblem(f"Contradictory rules: they ask in a circle: {named(circle)}. Remove one of them.")
            ordered += free
            left = [name for name in left if name not in free]
        return tuple(ordered)

    def _check_exclusion(self) -> None:
        for name in {skip.variable for skip in self.skips}:
            conditions = self.of(name)
            for column in {condition.column for condition in conditions}:
                wanted = [c for c in conditions if c.column == column]
                if _exclude(wanted):
                    raise JobProblem(
                        f"Contradictory rules: nobody can be asked {name!r}: {named(map(str, wanted))} never hold "
                        "together. Remove or correct one."
                    )


def parse_skip(text: str) -> SkipRule:
    """Read a skip pattern as ``pregnant asked if sex = 2 and age < 50``.

    Values are compared with the answers as they stand in the table; numbers are numbers, anything else is text, quotes
    are optional. ``in`` takes several values with commas between: ``work asked if status in 1, 2``.

    Parameters
    ----------
    text : str
        One pattern.

    Returns
    -------
    SkipRule

    Raises
    ------
    JobProblem
        If it cannot be read.
    """
    rule = _RULE.match(text)
    parts = re.split(r"\s+and\s+", rule["conditions"], flags=re.IGNORECASE) if rule else []
    found = [_CONDITION.match(part) for part in parts]
    if rule is None or None in found:
        raise JobProblem(
            f'The skip pattern {text!r} cannot be read. Write it as "VARIABLE asked if COLUMN = VALUE", with one of '
            f"{', '.join(OPERATORS)}, and 'and' between conditions."
        )
    conditions = tuple(
        Condition(match["column"], match["operator"], _values(match["value"], match["operator"]))
        for match in found
        if match is not None
    )
    return SkipRule(rule["variable"], conditions)


def _values(text: str, operator: str) -> tuple[Any, ...]:
    parts = text.split(",") if operator == "in" else [text]
    return tuple(_value(part.strip()) for part in parts)


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    return int(number) if number.is_integer() else number


def _exclude(conditions: Sequence[Condition]) -> bool:
    """Whether conditions on one column can never hold together, as far as equalities and order tell."""
    sets = [set(c.values) for c in conditions if c.operator in ("=", "in")]
    if sets:
        allowed = set.intersection(*sets)
        return not any(all(compare(value, c) for c in conditions) for value in allowed)
    low = [float(c.values[0]) for c in conditions if c.operator in (">", ">=")]
    high = [float(c.values[0]) for c in conditions if c.operator in ("<", "<=")]
    if not low or not high or max(low) < min(high):
        return False
    strict = any(c.operator in ("<", ">") and float(c.values[0]) == max(low) for c in conditions)
    return max(low) > min(high) or strict


def compare(value: Any, condition: Condition) -> bool:
    """Whether a value fulfils a condition.

    Raises
    ------
    JobProblem
        If text is compared by size.
    """
    if condition.operator in ("=", "in"):
        return value in condition.values
    if condition.operator == "!=":
        return value not in condition.values
    try:
        number, limit = float(value), float(condition.values[0])
    except (TypeError, ValueError):
        raise JobProblem(f"The condition {str(condition)!r} compares text by size. Use =, != or in.") from None
    return {
        "<": number < limit,
        "<=": number <= limit,
        ">": number > limit,
        ">=": number >= limit,
    }[condition.operator]
