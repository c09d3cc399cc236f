"""The hyperparameters of a specification: their names, and the ways from normal coordinates to numbers and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.hyperparameters import Hyperparameters
from smallarea.area_level.priors import DEFAULT_PRIORS, LKJ, Prior, parse_prior
from smallarea.errors import PriorProblem

if TYPE_CHECKING:
    from smallarea.area_level.specification import AreaLevelSpecification

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter.

    Attributes
    ----------
    name : str
        Its name: the kind, with the responses in brackets where there are several.
    kind : {'sd_phi', 'rho', 'range', 'rho_time', 'sd_delta', 'correlation', 'eta0', 'eta1'}
        What it is.
    responses : tuple of int
        Indices of the responses that it belongs to; all of them if empty.
    """

    name: str
    kind: str
    responses: tuple[int, ...] = ()

    @property
    def is_sd(self) -> bool:
        """Whether it is a standard deviation, on the scale of one response."""
        return self.kind in ("sd_phi", "sd_delta")

    @property
    def is_bounded(self) -> bool:
        """Whether it lies between -1 and 1."""
        return self.kind in ("rho", "rho_time", "correlation")


def dependence_kind(random_effect: str) -> str:
    """Name the hyperparameter of a spatial effect that says how far likeness reaches."""
    return "range" if random_effect == "gp" else "rho"


def hyperparameter_layout(model: AreaLevelSpecification) -> tuple[Parameter, ...]:
    """List the hyperparameters of a model, in the order that is used everywhere.

    Parameters
    ----------
    model : AreaLevelSpecification
        The model.

    Returns
    -------
    tuple of Parameter
        The hyperparameters.
    """
    names = model.responses
    k = len(names)

    def each(kind: str) -> list[Parameter]:
        return [Parameter(f"{kind}[{name}]" if k > 1 else kind, kind, (i,)) for i, name in enumerate(names)]

    out: list[Parameter] = []
    if model.spatial:
        out += each("sd_phi")
        if model.random_effect != "icar":
            kind = dependence_kind(model.random_effect)
            out += each(kind) if model.link != "separable" else [Parameter(kind, kind)]
    if model.iid_part and model.link == "ar1":
        out.append(Parameter("sd_delta", "sd_delta", tuple(range(k))))
    elif model.iid_part:
        out += each("sd_delta")
    if model.link in ("ar1", "har1"):
        out.append(Parameter("rho", "rho"))
    if k > 1 and model.link == "separable":
        out += [
            Parameter(f"correlation[{names[i]},{names[j]}]", "correlation", (i, j))
            for i in range(k)
            for j in range(i + 1, k)
        ]
    for a, b in zip(model.order, model.order[1:], strict=False):
        pair = (names.index(a), names.index(b))
        out += [Parameter(f"{kind}[{a},{b}]", kind, pair) for kind in ("eta0", "eta1")]
    return tuple(out)


def chosen_priors(bare: AreaLevelSpecification, given: Mapping[str, str | Prior]) -> dict[str, Prior]:
    """Prior of each hyperparameter: its own if given, that of its kind, or the default.

    Parameters
    ----------
    bare : AreaLevelSpecification
        The model.
    given : mapping
        Priors by name or kind of hyperparameter.

    Returns
    -------
    dict
        Name to prior, in the order of the layout.

    Raises
    ------
    PriorProblem
        If a prior does not fit the model.
    """
    layout = bare.layout
    known = {parameter.name for parameter in layout} | {parameter.kind for parameter in layout}
    read = {name: parse_prior(name, prior) for name, prior in given.items()}
    surplus = [name for name in read if name not in known]
    if surplus:
        raise PriorProblem(
            f"Priors were given for {', '.join(surplus)}, but this model has only {', '.join(bare.hyperparameters)}."
        )
    chosen = {
        parameter.name: read.get(parameter.name, read.get(parameter.kind, DEFAULT_PRIORS[parameter.kind]))
        for parameter in layout
    }
    for name, prior in chosen.items():
        if name.partition("[")[0] == "rho" and bare.random_effect in ("leroux", "bym2") and prior.support[0] < 0.0:
            raise PriorProblem(f"A {bare.random_effect} model needs rho between 0 and 1, got the prior {prior}.")
        if name.partition("[")[0] == "rho" and bare.random_effect == "bym2" and prior.support == (0.0, 0.0):
            raise PriorProblem(f"With the prior {prior} of {name} a bym2 model has no spatial part. Choose 'iid'.")
        if isinstance(prior, LKJ) and not name.startswith("correlation"):
            raise PriorProblem(f"LKJ is a prior of correlations, not of {name}.")
    correlations = [prior for name, prior in chosen.items() if name.startswith("correlation")]
    if len(correlations) > 1 and not (
        all(isinstance(prior, LKJ) for prior in correlations) and len({str(prior) for prior in correlations}) == 1
    ):
        raise PriorProblem(
            "The correlations of three responses or more form one matrix and share one LKJ prior: give it as "
            "'correlation'."
        )
    return chosen


def natural_values(layout: tuple[Parameter, ...], priors: Mapping[str, Prior], responses: int, x: Vector) -> Vector:
    """Hyperparameters at standard normal coordinates.

    Parameters
    ----------
    layout : tuple of Parameter, length q
        The hyperparameters.
    priors : mapping
        Their priors; a fixed one takes no coordinate.
    responses : int
        K.
    x : ndarray, shape (B, d)
        Coordinates.

    Returns
    -------
    ndarray, shape (B, q)
        Values, correlations as such and not as partial ones.
    """
    out = np.empty((len(x), len(layout)))
    column = 0
    for at, parameter in enumerate(layout):
        prior = priors[parameter.name]
        if isinstance(prior, LKJ):
            prior = prior.partial(parameter.responses[0], responses)
        if prior.fixed:
            out[:, at] = prior.from_normal(0.0)
        else:
            out[:, at] = [prior.from_normal(value) for value in x[:, column].tolist()]
            column += 1
    where = [at for at, parameter in enumerate(layout) if parameter.kind == "correlation"]
    if len(where) > 1:
        out[:, where] = _from_partial(out[:, where], responses)
    return out


def _from_partial(partial: Vector, responses: int) -> Vector:
    """Correlations (upper triangle by rows) from canonical partial correlations, both of shape (B, K (K - 1) / 2)."""
    upper = np.triu_indices(responses, 1)
    z = np.zeros((len(partial), responses, responses))
    z[:, upper[0], upper[1]] = partial
    root = np.zeros_like(z)
    root[:, 0, 0] = 1.0
    for j in range(1, responses):
        left = np.ones(len(partial))
        for i in range(j):
            root[:, j, i] = z[:, i, j] * np.sqrt(left)
            left = left * (1.0 - z[:, i, j] ** 2)
        root[:, j, j] = np.sqrt(left)
    return (root @ root.swapaxes(1, 2))[:, upper[0], upper[1]]


def as_arrays(layout: tuple[Parameter, ...], order: tuple[int, ...], responses: int, values: Vector) -> Hyperparameters:
    """Arrange values for the collapsed model.

    Parameters
    ----------
    layout : tuple of Parameter, length q
        The hyperparameters.
    order : tuple of int
        Responses of a chain, the most conditional one first; empty without a chain.
    responses : int
        K.
    values : ndarray, shape (B, q)
        Values.

    Returns
    -------
    Hyperparameters
        The arrays.
    """
    lanes = len(values)
    parts = {kind: np.zeros((responses, lanes)) for kind in ("sd_phi", "rho", "sd_delta")}
    links = {kind: np.zeros((max(responses - 1, 0), lanes)) for kind in ("eta0", "eta1")}
    correlation = np.repeat(np.eye(responses)[:, :, None], lanes, axis=2)
    for parameter, column in zip(layout, values.T, strict=True):
        if parameter.kind in parts:
            parts[parameter.kind][list(parameter.responses) or slice(None)] = column
        elif parameter.kind == "correlation":
            i, j = parameter.responses
            correlation[i, j] = correlation[j, i] = column
        elif parameter.kind == "rho_time":
            apart = np.abs(np.subtract.outer(np.arange(responses), np.arange(responses)))
            correlation = column ** apart[:, :, None]
        else:
            links[parameter.kind][order.index(parameter.responses[0])] = column
    return Hyperparameters(parts["sd_phi"], parts["rho"], correlation, links["eta0"], links["eta1"], parts["sd_delta"])


def inside(layout: tuple[Parameter, ...], values: Vector) -> NDArray[np.bool_]:
    """Whether values have not rounded to a boundary of their range, shape (B,).

    Parameters
    ----------
    layout : tuple of Parameter, length q
        The hyperparameters.
    values : ndarray, shape (B, q)
        Values.
    """
    good = np.all(np.isfinite(values), axis=1)
    for parameter, column in zip(layout, values.T, strict=True):
        if parameter.is_sd:
            good &= column > 0.0
        elif parameter.is_bounded:
            good &= np.abs(column) < 1.0
    return good
