"""Expressions of labelled parameters: numbers, labels, ``+ - * / ^``, brackets, and a few functions.

They are taken apart by Python's own parser and computed node by node; nothing is executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
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
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes
    ----------
    text : str
        As written.
    tree : ast.expr
        Taken apart.
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
            return _value(self.tree, of)


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
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise JobProblem(f"'{text}' cannot be read. Write for example a*b + c.") from None
    names: list[str] = []
    _check(tree, text, names)
    return Expression(text, tree, tuple(dict.fromkeys(names)))


def _check(node: ast.expr, text: str, names: list[str]) -> None:
    if isinstance(node, ast.Name):
        names.append(node.id)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, text, names)
        _check(node.right, text, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        _check(node.operand, text, names)
    elif isinstance(node, ast.Call) and _is_function(node):
        _check(node.args[0], text, names)
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
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
