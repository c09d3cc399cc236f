"""The model as text, in the notation of R's ``lavaan`` (Rosseel 2012), read line by line.

================  =====================================================================================
``F =~ x1 + x2``  the factor F is measured by the items x1 and x2
``y ~ x + F``     regression: **x and F are causes, y is the outcome**
``x1 ~~ x2``      covariance (of what the model leaves unexplained); ``x1 ~~ x1`` is a variance
``1*x``, ``a*x``  a fixed value, a label; ``NA*x`` frees what a rule would fix
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
from dataclasses import dataclass

from smallarea.errors import JobProblem
from smallarea.survey.latent.expressions import Expression, parse_expression

OPERATORS = ("=~", "~~", "~")
_NAME = re.compile(r"[^\W\d][\w.]*")
_OPERATOR = re.compile(r":=|=~|~~|==|[<>|~]")
_CONTINUED = re.compile(r"(\+|\*|=~|~~|~|:=)$")
_NOT_READ = {
    "==": "Equal parameters have the same label: write a*x1 + a*x2",
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
class ModelText:
    """What a model's text says, in its order."""

    statements: tuple[Statement, ...]
    definitions: tuple[Definition, ...]


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
    for line, content in _logical_lines(text):
        operator = _operator(line, content)
        left, right = (part.strip() for part in content.split(operator, 1))
        if operator == ":=":
            definitions.append(Definition(line, _name(line, left, content), _expression(line, right)))
            continue
        terms = tuple(_term(line, part, content) for part in right.split("+"))
        names = [_name(line, one.strip(), content) for one in left.split("+")]
        statements += [Statement(line, name, operator, terms) for name in names]
    if not statements:
        raise JobProblem("The model is empty. Write a line such as 'health =~ item1 + item2 + item3'.")
    return ModelText(tuple(statements), tuple(definitions))


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
                "1*x, a*x or NA*x."
            )
    if fixed is not None and (label or freed):
        raise JobProblem(f"Line {line} of the model, '{content}': '{name}' is fixed, so it has no label and no NA.")
    return Term(_name(line, name, content), fixed, label, freed)


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
