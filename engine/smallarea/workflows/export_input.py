"""Reading what an export needs beside the draws: thresholds and pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from smallarea.errors import JobProblem, named
from smallarea.results.posterior import PosteriorDraws


def read_thresholds(given: Sequence[str | float], responses: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Sort thresholds by response.

    Parameters
    ----------
    given : sequence of str or float
        Numbers for every response, or texts ``response=number`` for one.
    responses : sequence of str
        What the draws hold.

    Returns
    -------
    dict
        Response to thresholds in the order given, each once; responses without any are left out.

    Raises
    ------
    JobProblem
        If one is no number, or its response is unknown.
    """
    found: dict[str, list[float]] = {response: [] for response in responses}
    for item in given:
        number = _number(item)
        if number is not None:
            for values in found.values():
                values.append(number)
            continue
        name, equals, text = str(item).rpartition("=")
        number = _number(text)
        if not equals or number is None:
            raise JobProblem(f"The threshold {item!r} is neither a number nor of the form {responses[0]}=3.5.")
        if name.strip() not in found:
            raise JobProblem(f"The threshold {item!r} is of no response of the draws; they hold {named(responses)}.")
        found[name.strip()].append(number)
    return {response: tuple(dict.fromkeys(values)) for response, values in found.items() if values}


def read_pairs(given: Sequence[str | Sequence[str]], areas: Sequence[str]) -> list[tuple[str, str]]:
    """Find the two areas of each pair.

    Parameters
    ----------
    given : sequence of str or of two ids
        Texts ``first=second``; ids may have equals signs themselves.
    areas : sequence of str
        Area ids of the draws.

    Returns
    -------
    list of (str, str)
        First and second area.

    Raises
    ------
    JobProblem
        If one is no pair of areas.
    """
    known = set(areas)
    found = []
    for item in given:
        if isinstance(item, str):
            pieces = item.split("=")
            splits = [("=".join(pieces[:k]), "=".join(pieces[k:])) for k in range(1, len(pieces))]
        else:
            splits = [(str(item[0]), str(item[1]))] if len(item) == 2 else []
        fitting = [split for split in splits if set(split) <= known]
        if len(fitting) != 1:
            strangers = [area for split in splits[:1] for area in split if area not in known]
            why = f"The draws have no area {named(strangers)}" if strangers else "It is not of the form FIRST=SECOND"
            raise JobProblem(f"The pair {item!r} does not name two areas. {why}.")
        found.append(fitting[0])
    return found


def check_reference(area: str, draws: PosteriorDraws) -> None:
    """Make sure that all areas can be compared with one of them.

    Parameters
    ----------
    area : str
        Its id.
    draws : PosteriorDraws
        The draws.

    Raises
    ------
    JobProblem
        If there is no such area, or it has no estimate.
    """
    if area not in draws.areas:
        raise JobProblem(f"The draws have no area {area!r} to compare with. Their first are {named(draws.areas)}.")
    if np.isnan(draws.theta[:, draws.areas.index(area)]).any():
        raise JobProblem(f"Area {area!r} has no estimate, so nothing can be compared with it. Choose another area.")


def _number(value: Any) -> float | None:
    """Return a finite number, None if it is something else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
