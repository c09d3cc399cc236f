"""Names of hyperparameters taken apart: what they are, and which responses they belong to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smallarea.report.formatting import as_number, count, scale_for
from smallarea.report.words import prior_in_words, responses_of

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult


@dataclass(frozen=True)
class ParameterName:
    """The name of a hyperparameter.

    Attributes
    ----------
    kind : str
        What it is, for example ``sd_phi``.
    of : tuple of str
        The responses in its brackets.
    """

    kind: str
    of: tuple[str, ...]

    @property
    def responses(self) -> str:
        """The responses as a text: ``income``, ``income and rent``, ``rent given income``."""
        return (" given " if self.kind.startswith("eta") else " and ").join(self.of)


@dataclass(frozen=True)
class ParameterGroup:
    """Hyperparameters of one kind.

    Attributes
    ----------
    kind, description : str
        What they are.
    prior, prior_words : str
        Their prior, where it is the same for all of them.
    rows : list of dict
        Finished texts: ``name``, ``responses``, ``estimate``, ``se``, ``interval``, ``ess``, ``prior``,
        ``prior_words``.
    """

    kind: str
    description: str
    prior: str
    prior_words: str
    rows: list[dict[str, str]]


def split_name(name: str, responses: Sequence[str]) -> ParameterName:
    """Take a name such as ``correlation[income,rent]`` apart.

    Parameters
    ----------
    name : str
        The name.
    responses : sequence of str
        Those of the model; their names may hold commas and brackets.
    """
    kind, bracket, rest = name.partition("[")
    inside = rest.removesuffix("]")
    if not bracket:
        return ParameterName(name, ())
    pair = next(((a, b) for a in responses for b in responses if f"{a},{b}" == inside), None)
    return ParameterName(kind, (inside,) if inside in responses or pair is None else pair)


def hyperparameter_groups(result: FitResult) -> list[ParameterGroup]:
    """Rows of the hyperparameter table by kind; a column that is empty throughout has empty texts."""
    responses = responses_of(result.model)
    groups: dict[str, list[dict[str, str]]] = {}
    descriptions: dict[str, str] = {}
    for _, row in result.hyperparameters.iterrows():
        name = split_name(str(row["name"]), responses)
        descriptions.setdefault(name.kind, str(row["description"]))
        groups.setdefault(name.kind, []).append(_row(row, name))
    found = []
    for kind, rows in groups.items():
        priors = {row["prior"] for row in rows}
        prior = priors.pop() if len(priors) == 1 else ""
        found.append(ParameterGroup(kind, descriptions[kind], prior, prior_in_words(prior), rows))
    return found


def _row(row: Any, name: ParameterName) -> dict[str, str]:
    scale = scale_for([as_number(row["se"])], [as_number(row["estimate"])])
    prior = str(row["prior"]) if isinstance(row.get("prior"), str) else ""
    ess = as_number(row.get("ess"))
    known = math.isfinite(as_number(row["lower"])) and math.isfinite(as_number(row["upper"]))
    return {
        "name": str(row["name"]),
        "responses": name.responses,
        "estimate": scale(row["estimate"]),
        "se": scale(row["se"]) if math.isfinite(as_number(row["se"])) else "",
        "interval": f"{scale(row['lower'])} to {scale(row['upper'])}" if known else "",
        "ess": count(ess) if math.isfinite(ess) else "",
        "prior": prior,
        "prior_words": prior_in_words(prior),
    }
