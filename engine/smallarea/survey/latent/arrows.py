"""The arrows of a model: which are there, which are free, and which have the same label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from smallarea.errors import JobProblem, named
from smallarea.survey.latent.syntax import Equality, Statement, Term

Kind = Literal["loading", "regression", "variance", "covariance"]
_KINDS: dict[str, Kind] = {"=~": "loading", "~": "regression", "~~": "covariance"}


@dataclass(frozen=True)
class Parameter:
    """One arrow of the model.

    Attributes
    ----------
    left, operator, right : str
        As in the text; ``left ~~ left`` is a variance.
    kind : {'loading', 'regression', 'variance', 'covariance'}
        What it is.
    row, column : int
        Its place in A (loadings and regressions) or S.
    label : str or None
        As in the text.
    index : int
        Place among the free parameters, -1 if fixed.
    fixed : float
        Its value if fixed, else NaN.
    """

    left: str
    operator: str
    right: str
    kind: Kind
    row: int
    column: int
    label: str | None
    index: int
    fixed: float

    @property
    def in_effects(self) -> bool:
        """Whether it is an entry of A."""
        return self.kind in ("loading", "regression")


@dataclass
class Draft:
    """An arrow before its number is known."""

    left: str
    operator: str
    right: str
    row: int
    column: int
    term: Term


class Arrows:
    """The arrows so far, none twice."""

    def __init__(self, variables: Sequence[str]) -> None:
        self.variables = tuple(variables)
        self.at = {name: i for i, name in enumerate(variables)}
        self.drafts: dict[tuple[bool, int, int], Draft] = {}
        self._same: dict[str, str] = {}

    def add(self, statement: Statement, term: Term) -> None:
        left, right = statement.left, term.name
        if statement.operator != "~~" and left == right:
            raise JobProblem(
                f"Line {statement.line} of the model: {left!r} stands on both sides. Name another variable."
            )
        row, column = (right, left) if statement.operator == "=~" else (left, right)
        key = self._key(statement.operator, row, column)
        if key in self.drafts:
            raise JobProblem(
                f"Line {statement.line} of the model: '{left} {statement.operator} {right}' is there twice. Leave one "
                "out."
            )
        self.drafts[key] = Draft(left, statement.operator, right, key[1], key[2], term)

    def add_free(self, one: str, other: str) -> None:
        """Add a free variance or covariance unless the text speaks of it."""
        key = self._key("~~", one, other)
        self.drafts.setdefault(key, Draft(one, "~~", other, key[1], key[2], Term(other)))

    def targets(self) -> set[str]:
        """Variables that something acts on."""
        return {self.variables[row] for effect, row, _ in self.drafts if effect}

    def sources(self) -> set[str]:
        """Variables that act on something by a regression."""
        return {d.right for d in self.drafts.values() if d.operator == "~"}

    def outcomes(self) -> set[str]:
        """Variables that a regression explains."""
        return {d.left for d in self.drafts.values() if d.operator == "~"}

    def items(self) -> set[str]:
        """Variables that a factor acts on as its items."""
        return {d.right for d in self.drafts.values() if d.operator == "=~"}

    def equate(self, equalities: Sequence[Equality]) -> None:
        """Give arrows whose labels are equal the same number, and fix those whose labels are fixed.

        An arrow with a fixed value fixes all others of its label.

        Raises
        ------
        JobProblem
            If there is no such label, or one has two values.
        """
        self._check_labels(equalities)
        for one in equalities:
            if isinstance(one.other, str):
                kept, gone = self.shared(one.label), self.shared(one.other)
                self._same |= dict.fromkeys([gone, *(k for k, v in self._same.items() if v == gone)], kept)
        values: dict[str, float] = {}
        for label, value in (
            *((one.label, one.other) for one in equalities),
            *((draft.term.label, draft.term.fixed) for draft in self.drafts.values()),
        ):
            if label is None or not isinstance(value, float):
                continue
            if values.setdefault(self.shared(label), value) != value:
                raise JobProblem(
                    f"The model fixes what is labelled {label!r} at {values[self.shared(label)]:g} and at {value:g}. "
                    "Leave one out."
                )
        for draft in self.drafts.values():
            if draft.term.label is not None and self.shared(draft.term.label) in values:
                draft.term = replace(draft.term, fixed=values[self.shared(draft.term.label)])

    def shared(self, label: str) -> str:
        """Return the label that stands for all that are equal to this one."""
        return self._same.get(label, label)

    def _check_labels(self, equalities: Sequence[Equality]) -> None:
        known = {draft.term.label for draft in self.drafts.values()}
        for one in equalities:
            lost = [name for name in (one.label, one.other) if isinstance(name, str) and name not in known]
            if lost:
                raise JobProblem(
                    f"Line {one.line} of the model: no parameter is labelled {named(lost)}. Label it where it stands, "
                    f"as in 'y ~ {lost[0]}*x'."
                )

    def numbered(self) -> tuple[tuple[Parameter, ...], tuple[str, ...]]:
        """Return the parameters and the names of the free ones; equal labels have one number."""
        order = {"=~": 0, "~": 1, "~~": 2}
        names: list[str] = []
        found = []
        for draft in sorted(self.drafts.values(), key=lambda d: order[d.operator]):
            kind = "variance" if draft.operator == "~~" and draft.row == draft.column else _KINDS[draft.operator]
            index = -1
            if draft.term.fixed is None:
                label = draft.term.label
                name = self.shared(label) if label else f"{draft.left} {draft.operator} {draft.right}"
                if name not in names:
                    names.append(name)
                index = names.index(name)
            fixed = float("nan") if draft.term.fixed is None else draft.term.fixed
            found.append(
                Parameter(
                    draft.left,
                    draft.operator,
                    draft.right,
                    kind,
                    draft.row,
                    draft.column,
                    draft.term.label,
                    index,
                    fixed,
                )
            )
        return tuple(found), tuple(names)

    def _key(self, operator: str, row: str, column: str) -> tuple[bool, int, int]:
        i, j = self.at[row], self.at[column]
        return (True, i, j) if operator != "~~" else (False, min(i, j), max(i, j))
