"""The tasks as Python functions: read, compute, write.

Each takes the names and defaults of its job (``smallarea schema``). They are imported when they are first
asked for, because they need the numerical libraries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smallarea.workflows.aggregate_surface import aggregate_surface
    from smallarea.workflows.areas import build_adjacency, check_areas
    from smallarea.workflows.benchmark import benchmark
    from smallarea.workflows.calibrate_weights import calibrate_weights
    from smallarea.workflows.compare import compare
    from smallarea.workflows.direct_estimates import direct_estimates
    from smallarea.workflows.engine import status
    from smallarea.workflows.export import export
    from smallarea.workflows.export_prior import export_prior
    from smallarea.workflows.fit import fit
    from smallarea.workflows.fit_bartsimp import fit_bartsimp
    from smallarea.workflows.fit_counts import fit_counts
    from smallarea.workflows.fit_space_time import fit_space_time
    from smallarea.workflows.fit_trees import fit_trees
    from smallarea.workflows.impute import impute
    from smallarea.workflows.latent_indicator import latent_indicator
    from smallarea.workflows.list_priors import list_priors
    from smallarea.workflows.match_areas import match_areas
    from smallarea.workflows.partial_dependence import partial_dependence
    from smallarea.workflows.predict_surface import predict_surface
    from smallarea.workflows.prepare_published import prepare_published
    from smallarea.workflows.show_prior import show_prior
    from smallarea.workflows.smooth_variances import smooth_variances
    from smallarea.workflows.train_prior import train_prior
    from smallarea.workflows.verify_prior import verify_prior

__all__ = [
    "aggregate_surface",
    "benchmark",
    "build_adjacency",
    "calibrate_weights",
    "check_areas",
    "compare",
    "direct_estimates",
    "export",
    "export_prior",
    "fit",
    "fit_bartsimp",
    "fit_counts",
    "fit_space_time",
    "fit_trees",
    "impute",
    "latent_indicator",
    "list_priors",
    "match_areas",
    "partial_dependence",
    "predict_surface",
    "prepare_published",
    "show_prior",
    "smooth_variances",
    "status",
    "task_function",
    "train_prior",
    "verify_prior",
]

_HOMES = {
    "aggregate_surface": "smallarea.workflows.aggregate_surface",
    "benchmark": "smallarea.workflows.benchmark",
    "build_adjacency": "smallarea.workflows.areas",
    "calibrate_weights": "smallarea.workflows.calibrate_weights",
    "check_areas": "smallarea.workflows.areas",
    "compare": "smallarea.workflows.compare",
    "direct_estimates": "smallarea.workflows.direct_estimates",
    "export": "smallarea.workflows.export",
    "fit": "smallarea.workflows.fit",
    "fit_bartsimp": "smallarea.workflows.fit_bartsimp",
    "fit_counts": "smallarea.workflows.fit_counts",
    "fit_space_time": "smallarea.workflows.fit_space_time",
    "fit_trees": "smallarea.workflows.fit_trees",
    "impute": "smallarea.workflows.impute",
    "partial_dependence": "smallarea.workflows.partial_dependence",
    "predict_surface": "smallarea.workflows.predict_surface",
    "prepare_published": "smallarea.workflows.prepare_published",
    "latent_indicator": "smallarea.workflows.latent_indicator",
    "match_areas": "smallarea.workflows.match_areas",
    "smooth_variances": "smallarea.workflows.smooth_variances",
    "status": "smallarea.workflows.engine",
    "train_prior": "smallarea.workflows.train_prior",
    "verify_prior": "smallarea.workflows.verify_prior",
    "show_prior": "smallarea.workflows.show_prior",
    "list_priors": "smallarea.workflows.list_priors",
    "export_prior": "smallarea.workflows.export_prior",
}


def task_function(task: str) -> Callable[..., Any]:
    """Return the function of a task.

    Parameters
    ----------
    task : str
        As in a job, for example ``fit``; the names are those of ``__all__``.

    Returns
    -------
    callable
        It takes the job's parameters and ``progress``.
    """
    function: Callable[..., Any] = getattr(importlib.import_module(_HOMES[task]), task)
    return function


def __getattr__(name: str) -> Any:
    """Import a task when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = task_function(name)
    globals()[name] = function  # not the module of the same name, which importing it has put there
    return function
