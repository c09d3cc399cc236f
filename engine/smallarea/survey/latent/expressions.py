"""Expressions of labelled parameters: numbers, labels, ``+ - * / ^``, brackets, and a few functions.

They are taken apart by Python's own parser and computed node by node; nothing is executed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, named

Value = NDArray[np.float64] | float

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
# Labels, which may have dots; what begins after a digit or a dot is part of a number.
_LABEL = re.compile(r"(?<![\w.])[^\W\d][\w.]*")
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes
    ----------
    text : str
        As written.
    tree : ast.expr
        Taken apart, with the places of labels in `names` for the labels.
    names : tuple of str
        Labels in it, in order of appearance.
    """

    text: str
    tree: ast.expr
    names: tuple[str, ...]

    def value(self, of: Mapping[str, Value]) -> Value:
        """Compute it.

        Parameters
        ----------
        of : mapping
            Label to number, or to an array of draws.

        Returns
        -------
        float or ndarray
            Not finite where it has no value.
        """
        with np.errstate(all="ignore"):
            return _value(self.tree, {_stand_in(k): of[name] for k, name in enumerate(self.names)})


def parse_expression(text: str) -> Expression:
    """Read and check an expression.

    Parameters
    ----------
    text : str
        For example ``a*b + c``.

    Returns
    -------
    Expression
        Ready to compute.

    Raises
    ------
    JobProblem
        If it is not one of the above.
    """
    names = tuple(dict.fromkeys(name for name in _LABEL.findall(text) if name not in _FUNCTIONS))
    # Labels may be words of Python, have dots, or letters that it takes for others: their places stand for them.
    places = {name: _stand_in(k) for k, name in enumerate(names)}
    plain = _LABEL.sub(lambda found: places.get(found[0], found[0]), text)
    try:
        tree = ast.parse(plain.replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise JobProblem(f"'{text}' cannot be read. Write for example a*b + c.") from None
    _check(tree, text, set(places.values()))
    return Expression(text, tree, names)


def _stand_in(place: int) -> str:
    return f"_{place}"


def _check(node: ast.expr, text: str, labels: Collection[str]) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, text, labels)
        _check(node.right, text, labels)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        _check(node.operand, text, labels)
    elif isinstance(node, ast.Call) and _is_function(node):
        _check(node.args[0], text, labels)
    elif not (isinstance(node, ast.Name) and node.id in labels) and not (
        isinstance(node, ast.Constant) and type(node.value) in (int, float)
    ):
        raise JobProblem(
            f"'{text}' has something other than labels, numbers, + - * / ^, brackets and the functions "
            f"{named(_FUNCTIONS)}."
        )


def _is_function(node: ast.Call) -> bool:
    known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    return known and len(node.args) == 1 and not node.keywords


def _value(node: ast.expr, of: Mapping[str, Value]) -> Value:
    if isinstance(node, ast.Name):
        return of[node.id]
    if isinstance(node, ast.BinOp):
        left, right = (np.asarray(_value(part, of), dtype=np.float64) for part in (node.left, node.right))
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, of)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _FUNCTIONS[node.func.id](_value(node.args[0], of))
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    raise JobProblem("The expression was not checked by parse_expression.")
