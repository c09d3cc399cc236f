"""The scale that a model is fitted on, the errors of its covariates, and options that belong to one method only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData
from smallarea.area_level.transformations import transformation
from smallarea.errors import JobProblem, VarianceProblem, named
from smallarea.results.back_to_input import WayBack
from smallarea.workflows.call_checks import check_choices

if TYPE_CHECKING:
    from smallarea.workflows.fit_input import FitInput

Vector = NDArray[np.float64]

# Stands for the field with the sampling variances of a covariate that is known exactly.
EXACT = "0"
_CHOICES = {
    "transformation": ("none", "log", "logit", "arcsin"),
    "back_transformation": ("bias_corrected", "naive"),
    "mse": ("auto", "analytic", "bootstrap"),
}


def check_scale(call: Mapping[str, Any]) -> None:
    """Refuse options of transformations and methods that are wrong, or would do nothing.

    Parameters
    ----------
    call : mapping
        Parameters of `fit` by name, as they would stand in a job.

    Raises
    ------
    JobProblem
        If a value is none of the choices, has the wrong type, or belongs to another transformation or method.
    """
    check_choices(call, _CHOICES)
    if not isinstance(call["replicates"], int) or isinstance(call["replicates"], bool) or call["replicates"] < 1:
        raise JobProblem(f"replicates must be a whole number of at least 1; got {call['replicates']!r}.")
    tuning = call["tuning"]
    if not isinstance(tuning, int | float) or isinstance(tuning, bool) or not tuning > 0.0:
        raise JobProblem(f"tuning must be a positive number, for example 1.345; got {tuning!r}.")
    if call["back_transformation"] == "naive" and call["transformation"] == "none":
        raise JobProblem("back_transformation 'naive' needs a transformation to undo. Name one, or leave it out.")
    if call["n_eff"] and call["transformation"] != "arcsin":
        raise JobProblem(
            f"Effective sample sizes (n_eff) say nothing to the transformation {call['transformation']!r}. Leave them "
            "out, or choose 'arcsin'."
        )
    _check_errors(call)


def _check_errors(call: Mapping[str, Any]) -> None:
    method, robust = call["method"], call["method"] == "robust"
    if bool(call["covariate_variance"]) != (method == "ybarra_lohr"):
        raise JobProblem(
            "Sampling variances of covariates (covariate_variance) and method 'ybarra_lohr' belong together; got "
            f"{'some' if call['covariate_variance'] else 'none'} with method {method!r}. Give both or neither."
        )
    if call["mse"] == "analytic" and robust:
        raise JobProblem("A robust fit has bootstrap mean squared errors only. Leave 'mse' out, or set 'bootstrap'.")
    if call["mse"] == "bootstrap" and not robust and call["random_effect"] != "sar":
        raise JobProblem(
            "The bootstrap (mse) is there for method 'robust' and for random_effect 'sar'. Leave 'mse' out, or choose "
            "one of them."
        )


def to_model_scale(found: FitInput, name: str) -> FitInput:
    """Transform direct estimates and their sampling variances.

    Correlations between responses stay as they are: to the order of the delta method both errors are multiplied by a
    number.

    Parameters
    ----------
    found : FitInput
        In the units of the input.
    name : {'none', 'log', 'logit', 'arcsin'}
        The transformation, of every response.

    Returns
    -------
    FitInput
        On the scale of the model.

    Raises
    ------
    TableProblem
        If a direct estimate cannot be transformed.
    VarianceProblem
        If an effective sample size is missing or not positive.
    """
    if name == "none":
        return found
    form = transformation(name)
    columns = []
    for k in range(found.direct.shape[1]):
        sizes = None if found.n_eff is None else found.n_eff[:, k]
        columns.append(form.forward(found.direct[:, k], found.variance[:, k], sizes, found.ids))
    direct, variance = (np.column_stack(parts) for parts in zip(*columns, strict=True))
    return replace(found, direct=direct, variance=variance)


def way_back(found: FitInput, data: Sequence[AreaLevelData], name: str, correction: str) -> WayBack | None:
    """Return how the transformation is undone; None without one.

    Parameters
    ----------
    found : FitInput
        In the units of the input.
    data : sequence of AreaLevelData, length K
        What the model is fitted to, which says which direct estimates are used.
    name, correction : str
        As in the job: ``transformation`` and ``back_transformation``.
    """
    if name == "none":
        return None
    used = np.column_stack([response.sampled for response in data])
    direct, variance = (np.where(used, values, np.nan) for values in (found.direct, found.variance))
    return WayBack(transformation(name), correction, direct, variance)


def known_errors(variance: Vector, covariates: Vector, fields: Sequence[str], ids: Sequence[str]) -> Vector:
    """Check sampling variances of covariates.

    Parameters
    ----------
    variance : ndarray, shape (N, p)
        Sampling variances, NaN where missing; zero for what is known exactly.
    covariates : ndarray, shape (N, p)
        Covariate values, NaN where missing.
    fields : sequence of str, length p
        Their fields, for messages.
    ids : sequence of str, length N
        Area ids, for messages.

    Returns
    -------
    ndarray, shape (N, p)
        The same, zero where the covariate is missing too.

    Raises
    ------
    VarianceProblem
        If a covariate has a value but no sampling variance.
    """
    given = np.isfinite(covariates)
    for j, field in enumerate(fields):
        lacking = np.flatnonzero(given[:, j] & ~np.isfinite(variance[:, j])).tolist()
        if lacking:
            raise VarianceProblem(
                f"Field {field!r} has no sampling variance of the covariate in {len(lacking)} areas: "
                f"{named([ids[i] for i in lacking])}. Give it, and 0 where the covariate is known exactly."
            )
    return np.where(given, variance, 0.0)
