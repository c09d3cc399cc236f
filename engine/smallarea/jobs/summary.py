"""What a result event says of a result: a few numbers and texts, and the warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from smallarea.results import FitResult


def summarise(task: str, result: Any) -> dict[str, Any]:
    """Summarise the result of a task.

    Parameters
    ----------
    task : str
        A key of `TASKS`.
    result : object
        What the workflow returned.

    Returns
    -------
    dict
        Numbers and texts by name.
    """
    return _summarise_fit(result) if task in ("fit", "fit_counts", "fit_trees") else dict(result.summary)


def notes(result: Any) -> tuple[str, ...]:
    """Return what a result has to say that is no warning, for example what a repair has changed.

    Parameters
    ----------
    result : object
        What a workflow returned.

    Returns
    -------
    tuple of str
        May be empty.
    """
    return tuple(getattr(result, "notes", ()))


def warnings(result: Any) -> tuple[str, ...]:
    """Return the warnings that a result carries.

    Parameters
    ----------
    result : object
        What a workflow returned.

    Returns
    -------
    tuple of str
        May be empty.
    """
    return tuple(getattr(result, "warnings", ()))


def _summarise_fit(result: FitResult) -> dict[str, Any]:
    table, model = result.estimates, result.model
    responses = list(dict.fromkeys(table["response"]))
    several = len(responses) > 1
    described = (
        "method",
        *(name for name in ("likelihood", "form") if name in model),
        "random_effect",
        *(("link", "order") if several else ()),
        "iid_part",
        "formula",
    )
    estimated = table.loc[table["estimate"].notna(), "area"]
    by_response = {name: _summarise_table(table[table["response"] == name]) for name in responses}
    return {
        **{name: model.get(name) for name in described},
        "n_areas": int(table["area"].nunique()),
        "n_sampled": int(table.loc[table["sampled"], "area"].nunique()),
        "n_estimated": int(estimated.nunique()),
        "n_dropped": len(result.dropped),
        **_summarise_table(table),
        **({"responses": by_response} if several else {}),
        **{
            name: result.diagnostics[name]
            for name in ("ess_min", "r_hat_max", "pareto_k", "divergences", "orders_tried")
            if name in result.diagnostics
        },
        **{name: float(value) for name, value in result.fit_statistics.items()},
        "seconds": round(float(sum(result.timings.values())), 2),
    }


def _summarise_table(table: pd.DataFrame) -> dict[str, Any]:
    """Summarise the estimates of one response, or of all."""
    return {
        "median_cv_direct": _median((table["direct_se"] / table["direct"].abs()) if len(table) else None),
        "median_cv": _median(table["cv"]),
        "flags": {str(label): int(count) for label, count in table["flag"].value_counts().items()},
    }


def _median(values: pd.Series | None) -> float | None:
    if values is None or not values.notna().any():
        return None
    return float(values.median())
