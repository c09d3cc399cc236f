"""From a model's text to matrices: which effects and covariances are free, fixed or equal.

All variables v, observed and latent, are in one linear system (the reticular action model, McArdle and McDonald 1984),

    v = A v + u,    cov(u) = S,    cov(v) = (I - A)^{-1} S (I - A)^{-T},

in which A[i, j] is the effect **of j on i**: ``y ~ x`` and ``x =~ y`` both put the parameter into row y, column x. The
items' means are free, so the model speaks of their covariances.

Rules, those of lavaan's ``sem()``: a factor's first loading is 1 unless a loading or the factor's variance is fixed
(and so are all with its label, if it has one); what is left of every variable has a free variance; exogenous factors
covary, and so do exogenous observed variables, and the disturbances of outcomes that explain nothing else.

References
----------
McArdle, J. J. and McDonald, R. P. (1984). Some algebraic properties of the reticular action model for moment
structures. British Journal of Mathematical and Statistical Psychology 37, 234-251.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, named
from smallarea.survey.latent.arrows import Arrows, Parameter
from smallarea.survey.latent.syntax import Definition, ModelText, Statement, parse_model

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class LatentModel:
    """A model ready for data.

    Attributes
    ----------
    text : str
        As written.
    observed, latent : tuple of str
        Items and other columns, p of them; factors, k of them. Variables are in this order, observed first.
    parameters : tuple of Parameter
        Every arrow.
    names : tuple of str, length q
        Names of the free parameters: labels, or the arrow as ``left operator right``.
    definitions : tuple of Definition
        Quantities made of labelled parameters.
    """

    text: str
    observed: tuple[str, ...]
    latent: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    names: tuple[str, ...]
    definitions: tuple[Definition, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables, observed first."""
        return self.observed + self.latent

    @property
    def df(self) -> int:
        """Variances and covariances of the items less free parameters."""
        p = len(self.observed)
        return p * (p + 1) // 2 - len(self.names)

    def matrices(self, theta: Vector) -> tuple[Vector, Vector]:
        """Return A and S.

        Parameters
        ----------
        theta : ndarray, shape (q,)
            Free parameters.

        Returns
        -------
        A, S : ndarray, shape (p + k, p + k)
            Effects and covariances.
        """
        size = len(self.variables)
        effects, covariances = np.zeros((size, size)), np.zeros((size, size))
        for one in self.parameters:
            value = one.fixed if one.index < 0 else theta[one.index]
            if one.in_effects:
                effects[one.row, one.column] = value
            else:
                covariances[one.row, one.column] = covariances[one.column, one.row] = value
        return effects, covariances

    def covariance(self, theta: Vector) -> Vector:
        """Return the covariance of all variables, shape (p + k, p + k).

        Raises
        ------
        numpy.linalg.LinAlgError
            If effects go round in a circle and never come to rest.
        """
        effects, covariances = self.matrices(theta)
        total = np.linalg.inv(np.eye(len(effects)) - effects)
        return total @ covariances @ total.T

    def derivatives(self, theta: Vector) -> Vector:
        """Return the derivatives of the items' covariance matrix, shape (q, p, p)."""
        effects, covariances = self.matrices(theta)
        p = len(self.observed)
        total = np.linalg.inv(np.eye(len(effects)) - effects)
        onto = total[:p]
        with_items = total @ covariances @ onto.T  # cov(v, items), shape (p + k, p)
        found = np.zeros((len(self.names), p, p))
        for one in self.parameters:
            if one.index < 0:
                continue
            if one.in_effects:
                part = np.outer(onto[:, one.row], with_items[one.column])
            else:
                part = np.outer(onto[:, one.row], onto[:, one.column])
                if one.row == one.column:
                    part = 0.5 * part
            found[one.index] += part + part.T
        return found


def build_model(text: str) -> LatentModel:
    """Make a model of its text.

    Parameters
    ----------
    text : str
        See :mod:`smallarea.survey.latent.syntax`.

    Returns
    -------
    LatentModel
        With lavaan's rules applied.

    Raises
    ------
    JobProblem
        If the text cannot be read, an arrow comes twice, a factor has no items or itself as one, a definition names an
        unknown label, or there are more free parameters than variances and covariances.
    """
    parsed = parse_model(text)
    latent = tuple(dict.fromkeys(s.left for s in parsed.statements if s.operator == "=~"))
    if not latent:
        raise JobProblem("The model has no factor. Write a line such as 'health =~ item1 + item2 + item3'.")
    observed = _observed(parsed.statements, latent)
    arrows = Arrows(observed + latent)
    for statement in parsed.statements:
        for term in statement.terms:
            arrows.add(statement, term)
    arrows.equate(parsed.equalities)
    _fix_scales(arrows, parsed.statements, latent)
    arrows.equate(())
    _add_variances(arrows)
    _add_covariances(arrows, latent)
    parameters, names = arrows.numbered()
    _check_definitions(parsed, parameters, names)
    model = LatentModel(text, observed, latent, parameters, names, parsed.definitions)
    if model.df < 0:
        p = len(observed)
        raise JobProblem(
            f"The model has {len(names)} free parameters, but {p} items have only {p * (p + 1) // 2} variances and "
            "covariances. Fix some, for example with three items or more for each factor, or leave arrows out."
        )
    return model


def _observed(statements: Iterable[Statement], latent: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of the table that the model names: items first, in their order."""
    listed = list(statements)
    items = [t.name for s in listed if s.operator == "=~" for t in s.terms]
    others = [name for s in listed if s.operator != "=~" for name in (s.left, *(t.name for t in s.terms))]
    return tuple(name for name in dict.fromkeys([*items, *others]) if name not in latent)


def _fix_scales(arrows: Arrows, statements: Iterable[Statement], latent: tuple[str, ...]) -> None:
    """Fix the first loading of each factor whose scale the text leaves open."""
    listed = list(statements)
    for factor in latent:
        at = arrows.at[factor]
        items = [t.name for s in listed if s.operator == "=~" and s.left == factor for t in s.terms]
        loadings = [arrows.drafts[(True, arrows.at[name], at)].term for name in items]
        scaled = any(t.fixed for t in loadings)  # a loading of zero gives no scale
        variance = arrows.drafts.get((False, at, at))
        if scaled or (variance is not None and variance.term.fixed is not None):
            continue
        first = loadings[0]
        if first.freed:
            raise JobProblem(
                f"The factor {factor!r} has no scale: its first loading is free and nothing else is fixed. Fix its "
                f"variance ('{factor} ~~ 1*{factor}') or a loading ('{factor} =~ 1*{first.name} + ...')."
            )
        arrows.drafts[(True, arrows.at[first.name], at)].term = replace(first, fixed=1.0)


def _add_variances(arrows: Arrows) -> None:
    for name in arrows.variables:
        arrows.add_free(name, name)


def _add_covariances(arrows: Arrows, latent: tuple[str, ...]) -> None:
    """Let exogenous variables covary, and the disturbances of final outcomes."""
    targets, sources, items = arrows.targets(), arrows.sources(), arrows.items()
    exogenous = [name for name in arrows.variables if name not in targets]
    final = [name for name in arrows.variables if name in arrows.outcomes() and name not in sources | items]
    groups = (
        [name for name in exogenous if name in latent],
        [name for name in exogenous if name not in latent],
        final,
    )
    for group in groups:
        for one, other in combinations(group, 2):
            arrows.add_free(one, other)


def _check_definitions(parsed: ModelText, parameters: Sequence[Parameter], names: Sequence[str]) -> None:
    labels = {one.label for one in parameters if one.label}
    known = set(labels)
    for definition in parsed.definitions:
        if definition.name in known or definition.name in names:
            raise JobProblem(f"Line {definition.line} of the model: {definition.name!r} is there already. Rename it.")
        unknown = [name for name in definition.expression.names if name not in known]
        if unknown:
            raise JobProblem(
                f"Line {definition.line} of the model: no parameter is labelled {named(unknown)}. Label it where it "
                f"stands, as in 'y ~ {unknown[0]}*x'."
            )
        known.add(definition.name)
