"""The model as text, in the notation of R's ``lavaan`` (Rosseel 2012), read line by line.

================  =====================================================================================
``F =~ x1 + x2``  the factor F is measured by the items x1 and x2
``y ~ x + F``     regression: **x and F are causes, y is the outcome**
``x1 ~~ x2``      covariance (of what the model leaves unexplained); ``x1 ~~ x1`` is a variance
``1*x``, ``a*x``  a fixed value, a label; ``NA*x`` frees what a rule would fix; ``NA*x + a*x`` says both
``a == b``        two labels are one parameter; ``a == 0.5`` fixes one
``ab := a*b``     a quantity made of labelled parameters
================  =====================================================================================

A line may be continued after ``+`` or an operator, ``;`` stands for the end of a line, ``#`` and ``!`` begin a comment.

References
----------
Rosseel, Y. (2012). lavaan: an R package for structural equation modeling. Journal of Statistical Software 48(2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from smallarea.errors import JobProblem
from smallarea.survey.latent.expressions import Expression, parse_expression

OPERATORS = ("=~", "~~", "~")
_NAME = re.compile(r"[^\W\d][\w.]*")
_OPERATOR = re.compile(r":=|=~|~~|==|<~|[<>|~]")
_CONTINUED = re.compile(r"(\+|\*|=~|~~|~|:=|==)$")
_NOT_READ = {
    "<~": "Composites of items are not supported. A factor is measured by items: write =~",
    "<": "Inequalities are not supported; leave the line out",
    ">": "Inequalities are not supported; leave the line out",
    "|": "Thresholds are not supported: items are taken as numbers; leave the line out",
}


@dataclass(frozen=True)
class Term:
    """One variable on the right side of a line, with what stands before it.

    Attributes
    ----------
    name : str
        The variable.
    fixed : float or None
        Value that the parameter is fixed at.
    label : str or None
        Label of the parameter.
    freed : bool
        Whether ``NA*`` frees it.
    """

    name: str
    fixed: float | None = None
    label: str | None = None
    freed: bool = False


@dataclass(frozen=True)
class Statement:
    """One line: an operator between a variable and terms.

    Attributes
    ----------
    line : int
        Number of the line in the text, from 1.
    left, operator : str
        What stands left, and ``=~``, ``~`` or ``~~``.
    terms : tuple of Term
        What stands right.
    """

    line: int
    left: str
    operator: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Definition:
    """A quantity made of labelled parameters.

    Attributes
    ----------
    line : int
        Number of its line.
    name : str
        What it is called.
    expression : Expression
        How it is computed.
    """

    line: int
    name: str
    expression: Expression


@dataclass(frozen=True)
class Equality:
    """Two labels that are one parameter, or a label that is fixed.

    Attributes
    ----------
    line : int
        Number of its line.
    label : str
        What stands left.
    other : str or float
        What stands right: another label, or a value.
    """

    line: int
    label: str
    other: str | float


@dataclass(frozen=True)
class ModelText:
    """What a model's text says, in its order."""

    statements: tuple[Statement, ...]
    definitions: tuple[Definition, ...]
    equalities: tuple[Equality, ...]


def parse_model(text: str) -> ModelText:
    """Read a model.

    Parameters
    ----------
    text : str
        Lines of the notation above.

    Returns
    -------
    ModelText
        Statements and definitions; what is estimated is settled by `build_model`.

    Raises
    ------
    JobProblem
        Naming the line, what is wrong with it, and how to write it.
    """
    statements: list[Statement] = []
    definitions: list[Definition] = []
    equalities: list[Equality] = []
    for line, content in _logical_lines(text):
        operator = _operator(line, content)
        left, right = (part.strip() for part in content.split(operator, 1))
        if operator == ":=":
            definitions.append(Definition(line, _name(line, left, content), _expression(line, right)))
            continue
        if operator == "==":
            equalities.append(_equality(line, left, right, content))
            continue
        terms = _merged(line, [_term(line, part, content) for part in right.split("+")])
        names = [_name(line, one.strip(), content) for one in left.split("+")]
        statements += [Statement(line, name, operator, terms) for name in names]
    if not statements:
        raise JobProblem("The model is empty. Write a line such as 'health =~ item1 + item2 + item3'.")
    return ModelText(tuple(statements), tuple(definitions), tuple(equalities))


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return number and content of each line; continued lines are one, comments and empty lines are gone."""
    found: list[tuple[int, str]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        for content in (part.strip() for part in re.split(r"[#!]", raw)[0].split(";")):
            if not content:
                continue
            if found and (_CONTINUED.search(found[-1][1]) or content.startswith(("+", "*"))):
                found[-1] = (found[-1][0], f"{found[-1][1]} {content}")
            else:
                found.append((number, content))
    return found


def _operator(line: int, content: str) -> str:
    operators = _OPERATOR.findall(content)
    if not operators:
        raise JobProblem(
            f"Line {line} of the model, '{content}', has no operator. Write =~ (is measured by), ~ (depends on), "
            "~~ (covaries with) or := (is defined as)."
        )
    if len(operators) > 1:
        raise JobProblem(f"Line {line} of the model, '{content}', has several operators. Write one line for each.")
    if operators[0] in _NOT_READ:
        raise JobProblem(f"Line {line} of the model, '{content}': {_NOT_READ[operators[0]]}.")
    return operators[0]


def _name(line: int, text: str, content: str) -> str:
    if not _NAME.fullmatch(text):
        what = f"'{text}' is not the name of a variable" if text else "a variable is missing"
        raise JobProblem(
            f"Line {line} of the model, '{content}': {what}. Names have letters, digits, '_' and '.', and begin with a "
            "letter; rename fields that are called otherwise."
        )
    return text


def _term(line: int, text: str, content: str) -> Term:
    *modifiers, name = (part.strip() for part in text.split("*"))
    if name in ("0", "1") and not modifiers:
        raise JobProblem(
            f"Line {line} of the model, '{content}', speaks of an intercept. Means are always estimated, one for each "
            "item; leave the line out."
        )
    fixed: float | None = None
    label: str | None = None
    freed = False
    for modifier in modifiers:
        number = _number(modifier)
        if modifier == "NA":
            freed = True
        elif number is not None:
            fixed = number
        elif _NAME.fullmatch(modifier):
            label = modifier
        else:
            raise JobProblem(
                f"Line {line} of the model, '{content}': '{modifier}*' is no number, label or NA. Write for example "
                "1*x, a*x or NA*x; starting values and other functions are not supported."
            )
    _check_fixed(line, name, fixed, freed)
    return Term(_name(line, name, content), fixed, label, freed)


def _check_fixed(line: int, name: str, fixed: float | None, freed: bool) -> None:
    if fixed is not None and freed:
        raise JobProblem(f"Line {line} of the model: '{name}' is fixed and has NA, which frees it. Leave one out.")


def _merged(line: int, terms: Sequence[Term]) -> tuple[Term, ...]:
    """Put together what a line says of a variable in several terms, as ``NA*x + a*x``."""
    found: dict[str, Term] = {}
    for term in terms:
        one = found.setdefault(term.name, term)
        if one is term:
            continue
        said = [(one.fixed, term.fixed), (one.label, term.label), (one.freed or None, term.freed or None)]
        if any(a is not None and b is not None for a, b in said) or all(b is None for _, b in said):
            raise JobProblem(f"Line {line} of the model: '{term.name}' is there twice. Leave one out.")
        fixed = term.fixed if one.fixed is None else one.fixed
        freed = one.freed or term.freed
        _check_fixed(line, term.name, fixed, freed)
        found[term.name] = Term(term.name, fixed, one.label or term.label, freed)
    return tuple(found.values())


def _equality(line: int, left: str, right: str, content: str) -> Equality:
    value = _number(right)
    if not _NAME.fullmatch(left) or (value is None and not _NAME.fullmatch(right)):
        raise JobProblem(
            f"Line {line} of the model, '{content}': only 'a == b' of two labels and 'a == 0.5' of a label and a "
            "number are supported. Leave the line out, or work with labels."
        )
    return Equality(line, left, right if value is None else value)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _expression(line: int, text: str) -> Expression:
    try:
        return parse_expression(text)
    except JobProblem as problem:
        raise JobProblem(f"Line {line} of the model: {problem}") from None
