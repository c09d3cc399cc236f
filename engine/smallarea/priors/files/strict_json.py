"""JSON from files that may lie: each thing once, numbers and texts that exist, and not too deep."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

from smallarea.errors import PriorProblem

DEEPEST = 24
_LARGEST_INTEGER = 2**63
_END = object()


def damaged(name: str, why: str) -> PriorProblem:
    """Return the error for a file that cannot be trusted."""
    return PriorProblem(
        f"{name} is not a usable prior file: {why}. Nothing was loaded. Get a fresh copy or train again."
    )


def strict_json(text: str | bytes, name: str, what: str) -> Any:
    """Read JSON that says each thing once and in numbers and texts that exist.

    Parameters
    ----------
    text : str or bytes
        The JSON, UTF-8.
    name : str
        Of the file, for messages.
    what : str
        Which part of it, for messages.

    Returns
    -------
    object
        JSON types.

    Raises
    ------
    PriorProblem
        If it is not JSON, repeats a key, holds a number that is not finite or too large, half a character, or is
        nested too deep.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise damaged(name, f"its {what} is nested too deep") from error
    except ValueError as error:  # not UTF-8, not JSON, repeated keys, numbers of thousands of digits
        raise damaged(name, f"its {what} cannot be read ({str(error)[:120]})") from error
    _check_values(value, name, what)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _check_values(value: Any, name: str, what: str) -> None:
    """Walk without recursion, since the depth is in doubt, and without a copy, since the size is."""
    levels: list[Iterator[Any]] = [iter((value,))]
    while levels:
        one = next(levels[-1], _END)
        if one is _END:
            levels.pop()
        elif isinstance(one, dict | list):
            if len(levels) > DEEPEST:
                raise damaged(name, f"its {what} is nested too deep")
            levels.append(itertools.chain(one, one.values()) if isinstance(one, dict) else iter(one))
        elif isinstance(one, str):
            if not one.isascii() and any("\ud800" <= letter <= "\udfff" for letter in one):
                raise damaged(name, f"its {what} holds half a character")
        elif (isinstance(one, float) and not math.isfinite(one)) or (
            isinstance(one, int) and not -_LARGEST_INTEGER <= one < _LARGEST_INTEGER
        ):
            raise damaged(name, f"its {what} holds a number that is too large")
