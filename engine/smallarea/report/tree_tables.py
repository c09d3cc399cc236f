"""What the report of a fit with regression trees says of the trees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from smallarea.report.formatting import as_number, fixed, percent, significant
from smallarea.results.trees_result import TreesResult

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult

_CRITERIA = {"loo": "left out one by one", "cv": "left out in folds"}
_MOST = 30


def tree_tables(result: FitResult) -> dict[str, Any] | None:
    """Rows of the tables of covariates and of scores; None for a fit without trees.

    Parameters
    ----------
    result : FitResult
        The fit.

    Returns
    -------
    dict or None
        ``covariates``, ``more`` (how many are not shown), ``scores``, ``verdicts``.
    """
    if not isinstance(result, TreesResult):
        return None
    shown = result.inclusion.head(_MOST)
    return {
        "covariates": [
            {
                "name": str(row["covariate"]),
                "share": percent(row["share"]),
                "interval": f"{percent(row['lower'])} to {percent(row['upper'])}",
                "used": percent(row["used"]),
            }
            for row in shown.to_dict("records")
        ],
        "more": len(result.inclusion) - len(shown),
        "scores": [
            {
                "criterion": _CRITERIA[row["criterion"]],
                "model": str(row["model"]),
                "elpd": fixed(row["elpd"], 1),
                "difference": _difference(row),
                "crps": significant(row["crps"]),
                "rmse": significant(row["rmse"]),
                "coverage": percent(row["coverage"]),
                "width": significant(row["width"]),
            }
            for row in result.comparison.to_dict("records")
        ],
        "verdicts": list(result.verdicts),
    }


def _difference(row: Any) -> str:
    error = as_number(row["difference_se"])
    if not math.isfinite(error) or error == 0.0:
        return "–"
    return f"{fixed(row['difference'], 1)} ± {fixed(error, 1)}"
