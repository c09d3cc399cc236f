"""What is estimated: means, proportions, totals, ratios and quantiles, written as a short text.

``mean(income)``, ``proportion(smoker = 1)``, ``proportion(income < 12000)``, ``total(cars)``, ``total()`` (the number
of units), ``ratio(rent, income)``, ``quantile(income, 0.5)``, ``median(income)``; with a name of one's own in front:
``poor = proportion(income < 12000)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from smallarea.errors import JobProblem, named

Statistic = Literal["mean", "proportion", "total", "ratio", "quantile"]

_CALL = re.compile(r"^(?:(?P<name>[^=()]+?)\s*=\s*)?(?P<statistic>[a-z_]+)\s*\((?P<inside>.*)\)\s*$", re.DOTALL)
_CONDITION = re.compile(r"^(?P<field>.+?)\s*(?P<operator>==|!=|<=|>=|=|<|>)\s*(?P<value>.+)$", re.DOTALL)
_WORDS = ("mean", "proportion", "total", "ratio", "quantile", "median")
_USAGE = (
    "Write mean(FIELD), proportion(FIELD = VALUE), total(FIELD), ratio(FIELD, FIELD), quantile(FIELD, 0.25) or "
    "median(FIELD), if you like with a name: poor = proportion(income < 12000)."
)
_UNSAFE = re.compile(r"[^\w]+")


@dataclass(frozen=True)
class Indicator:
    """One thing to estimate in every area.

    Attributes
    ----------
    name : str
        Name of the estimates.
    statistic : {'mean', 'proportion', 'total', 'ratio', 'quantile'}
        What of the fields.
    fields : tuple of str
        One field; none for the number of units; numerator and denominator for a ratio.
    operator : str
        Of a proportion's condition: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``; empty where the field itself is 0
        or 1.
    value : str
        What the field is compared with.
    probability : float
        Of a quantile.
    """

    name: str
    statistic: Statistic
    fields: tuple[str, ...]
    operator: str = ""
    value: str = ""
    probability: float = 0.5

    def __str__(self) -> str:
        if self.statistic == "quantile":
            inside = f"{self.fields[0]}, {self.probability:g}"
        else:
            inside = ", ".join(self.fields) + (f" {self.operator} {self.value}" if self.operator else "")
        return f"{self.name} = {self.statistic}({inside})"


def parse_indicators(texts: list[str] | tuple[str, ...]) -> tuple[Indicator, ...]:
    """Read indicators.

    Parameters
    ----------
    texts : sequence of str
        As in the module's description. A bare field name is its mean.

    Returns
    -------
    tuple of Indicator
        In the order given.

    Raises
    ------
    JobProblem
        If there is none, a text cannot be understood, or two indicators have the same name.
    """
    if not texts:
        raise JobProblem(f"Name what to estimate. {_USAGE}")
    found = tuple(parse_indicator(text) for text in texts)
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise JobProblem(f"Several indicators are called {named(twice)}. Give each a name: NAME = mean(FIELD).")
    return found


def parse_indicator(text: str) -> Indicator:
    """Read one indicator.

    Parameters
    ----------
    text : str
        As in the module's description.

    Returns
    -------
    Indicator
        With a name made of its parts if none is given.

    Raises
    ------
    JobProblem
        If it cannot be understood.
    """
    match = _CALL.match(text.strip())
    if match is None:
        if text.strip() and not re.search(r"[()=<>,]", text):
            return Indicator(_identifier(text.strip()), "mean", (text.strip(),))
        raise JobProblem(f"The indicator {text!r} cannot be understood. {_USAGE}")
    name, word, inside = match["name"], match["statistic"], match["inside"].strip()
    if word not in _WORDS:
        raise JobProblem(f"The indicator {text!r} asks for {word!r}, which is not known. {_USAGE}")
    if word == "proportion":
        return _proportion(text, name, inside)
    parts = [part.strip() for part in inside.split(",")] if inside else []
    if word in ("quantile", "median"):
        return _quantile(text, name, word, parts)
    wanted = {"mean": (1,), "total": (0, 1), "ratio": (2,)}[word]
    if len(parts) not in wanted or not all(parts):
        raise JobProblem(f"The indicator {text!r} has {len(parts)} fields. {_USAGE}")
    own = {"mean": parts[0] if parts else "", "total": "_".join(["total", *parts]), "ratio": "_per_".join(parts)}[word]
    statistic: Statistic = "mean" if word == "mean" else "total" if word == "total" else "ratio"
    return Indicator(_identifier(name or own), statistic, tuple(parts))


def _proportion(text: str, name: str | None, inside: str) -> Indicator:
    match = _CONDITION.match(inside)
    if match is None:
        if not inside or "," in inside:
            raise JobProblem(f"The indicator {text!r} has no condition. {_USAGE}")
        return Indicator(_identifier(name or inside), "proportion", (inside,))
    operator = "==" if match["operator"] == "=" else match["operator"]
    value = match["value"].strip().strip("'\"")
    field = match["field"].strip()
    return Indicator(_identifier(name or f"{field}_{value}"), "proportion", (field,), operator, value)


def _quantile(text: str, name: str | None, word: str, parts: list[str]) -> Indicator:
    wanted = 1 if word == "median" else 2
    if len(parts) != wanted or not all(parts):
        raise JobProblem(f"The indicator {text!r} needs {wanted} values in its brackets. {_USAGE}")
    try:
        probability = 0.5 if word == "median" else float(parts[1])
    except ValueError:
        probability = -1.0
    if not 0.0 < probability < 1.0:
        raise JobProblem(f"The indicator {text!r}: the probability of a quantile lies between 0 and 1.")
    own = f"median_{parts[0]}" if probability == 0.5 else f"quantile_{parts[0]}_{100 * probability:g}"
    return Indicator(_identifier(name or own), "quantile", (parts[0],), probability=probability)


def _identifier(name: str) -> str:
    """Make a name that every file format takes as a column."""
    return _UNSAFE.sub("_", name.strip()).strip("_") or "estimate"
