"""Small area estimation for every polygon of a map.

>>> import smallarea
>>> result = smallarea.fit("counties.gpkg", id_field="GEOID", direct="y", variance="v")  # doctest: +SKIP

The tasks, such as ``fit``, ``fit_counts`` or ``check_areas``, have the names and defaults of their jobs
(``smallarea schema``).
Rooms of the engine (``smallarea.areas``, ``smallarea.area_level``, ...) are imported by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smallarea._version import __version__

if TYPE_CHECKING:
    from smallarea.workflows import (
        aggregate_surface,
        benchmark,
        build_adjacency,
        calibrate_weights,
        check_areas,
        compare,
        direct_estimates,
        export,
        export_prior,
        fit,
        fit_bartsimp,
        fit_counts,
        fit_space_time,
        fit_trees,
        impute,
        latent_indicator,
        list_priors,
        match_areas,
        partial_dependence,
        predict_surface,
        prepare_published,
        show_prior,
        smooth_variances,
        status,
        train_prior,
        verify_prior,
    )

__all__ = [
    "__version__",
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
    "train_prior",
    "verify_prior",
]


def __getattr__(name: str) -> Any:
    """Import a task when it is first asked for: the command line's help must not pay for the numerical libraries."""
    if name in __all__:
        from smallarea.workflows import task_function

        return task_function(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
