"""What a call of `fit` says: checked as a job would be, and kept as it would stand in one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, ModelProblem, PriorProblem, VarianceProblem, named
from smallarea.workflows.call_checks import check_choices, check_counts, check_flags, check_levels, check_outputs

# The word for trying every order of a chain.
AUTO = ("auto",)

# A job is checked against its schema; a call from Python comes as it is, and a misspelt word must not pass for another.
_CHOICES = {
    "link": ("separable", "independent", "chain", "ar1", "har1"),
    "likelihood": ("normal", "beta"),
}
_LEAST = {"draws": 1, "min_ess": 1, "seed": 0, "workers": 0, "chains": 1, "warmup": 1}


def check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either; the command line has checked all this before.

    Parameters
    ----------
    call : mapping
        Parameters of `fit` by name, as `plain` returns them.

    Raises
    ------
    JobProblem
        If a value has the wrong type, is out of range or is not one of the choices.
    PriorProblem
        If a prior is for one link of a chain whose order is to be found.
    OutputProblem
        If an output's name does not end as its format does.
    """
    check_flags(call, ("repair", "intercept"))
    check_counts(call, _LEAST)
    check_levels(call, ("level", "moe_level"))
    _check_fields(call)
    check_outputs(call, ("output", "report", "csv", "excel", "posterior", "checkpoint"))
    check_choices(call, _CHOICES)


def check_sampling(call: Mapping[str, Any], any_order: bool = False) -> None:
    """Refuse what only Hamiltonian Monte Carlo knows where it is not asked for, and what it does not know.

    Parameters
    ----------
    call : mapping
        Parameters of a fit by name.
    any_order : bool
        Whether all orders of a chain are to be tried.

    Raises
    ------
    JobProblem
        With the parameter to leave out.
    """
    if call["method"] == "hmc":
        if any_order:
            raise JobProblem("Method 'hmc' fits a chain in one order. Name it, or find it with method 'bayes'.")
        return
    given = [name for name, usual in (("spatial_prior", None), ("form", "auto")) if call[name] != usual]
    if given:
        raise JobProblem(
            f"{named(given)} belongs to method 'hmc'; got method {call['method']!r}, which has the exact effect. "
            "Choose method 'hmc', or leave it out."
        )


def _check_fields(call: Mapping[str, Any]) -> None:
    if isinstance(call["covariates"], str):
        raise JobProblem(f"covariates must be a list of field names; write [{call['covariates']!r}].")
    for name in ("direct", "variance", "covariance", "n_eff", "covariates", "covariate_variance", "order"):
        value = call[name]
        if not isinstance(value, str | list) or not all(isinstance(one, str) for one in value):
            raise JobProblem(f"{name} must be a field name or a list of field names; got {value!r}.")
    correlation = call["sampling_correlation"]
    if correlation is not None and (not isinstance(correlation, int | float) or isinstance(correlation, bool)):
        raise JobProblem(f"sampling_correlation must be a number; got {correlation!r}.")
    links = [name for name in call["priors"] or () if str(name).startswith("eta") and "[" in str(name)]
    if links and names_of(call["order"]) == AUTO:
        raise PriorProblem(
            f"Priors were given for {named(links)}, but with order 'auto' it is not known which responses are linked. "
            "Give priors of eta0 and eta1, which hold for all links, or name the order."
        )


def names_of(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return a list of names; one name stands for a list of one."""
    return (value,) if isinstance(value, str) else tuple(value)


@contextmanager
def speaking_of(response: str, several: bool) -> Iterator[None]:
    """Name the response in what is wrong with it, where there are several.

    Problems with covariates, which all responses share, are left as they are.

    Parameters
    ----------
    response : str
        Its name.
    several : bool
        Whether there are others.
    """
    try:
        yield
    except (ModelProblem, VarianceProblem) as error:
        if not several:
            raise
        raise type(error)(f"Response {response!r}: {error}") from error


def plain(value: Any) -> Any:
    """Return a parameter as it would stand in a job.

    Parameters
    ----------
    value : object
        As it was passed to `fit`.

    Returns
    -------
    str, int, float, bool, list, dict or None
        What has no place in a job becomes a text that says what it was.
    """
    if isinstance(value, pd.DataFrame):
        return f"<{type(value).__name__} with {len(value)} rows>"
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): str(item) for name, item in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Sequence | np.ndarray | pd.Index):
        return list(value)
    return f"<{type(value).__name__}>"
