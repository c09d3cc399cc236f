"""Direct estimates of every area from several completed tables, combined by Rubin's rules.

The variance within each table is that of the whole sampling design, as if nothing had been missing; the variance
between tables is what missing answers add. Both have covariances between indicators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.survey.design import Codes, SurveyDesign, Vector
from smallarea.survey.direct import IMPUTED_MEASURES, MEASURES, DirectEstimates, area_estimates
from smallarea.survey.direct_table import NOT_ALWAYS, finish
from smallarea.survey.estimators import Variable
from smallarea.survey.imputation.rubin import Combined, combine

Progress = Callable[[float, str], None]


def imputed_area_estimates(
    completed: Sequence[Sequence[Variable]],
    domain: Codes,
    areas: Sequence[str],
    design: SurveyDesign,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> DirectEstimates:
    """Estimate indicators in every area from M completed tables.

    Parameters
    ----------
    completed : sequence of sequences of Variable
        The indicators of each table, the same ones in the same order; rows are the same respondents in all.
    domain : ndarray of int, shape (n,)
        Area of each row, -1 for none.
    areas : sequence of str, length D
        Area ids.
    design : SurveyDesign
        Of all rows; the same for all tables.
    progress : callable, optional
        Called with per cent and text.
    **options
        Further arguments of `smallarea.survey.direct.area_estimates`.

    Returns
    -------
    DirectEstimates
        Variances and covariances are total ones, degrees of freedom those of Barnard and Rubin (of the design where
        nothing differs between the tables). Two more columns: ``variance_within`` (the variance if nothing were
        missing) and ``fmi`` (fraction of missing information). Numbers of respondents are means over the tables,
        which differ only where a group or a skip pattern was imputed. Intervals of quantiles are t intervals.

    Raises
    ------
    TableProblem
        If there are fewer than two tables.
    VarianceProblem
        If a stratum has a single sampling unit and the design's policy is to fail.
    """
    tell = progress or (lambda _percent, _text: None)
    count = len(completed)
    tables = []
    for at, variables in enumerate(completed):
        tell(100.0 * at / count, f"Completed table {at + 1} of {count}")
        tables.append(area_estimates(variables, domain, areas, design, **options))
    by_replicates = options.get("variance_method", "auto") in ("auto", "replicates") and design.replicates is not None
    names, shape = tables[0].responses, (len(areas), len(tables[0].responses))
    found = np.stack([_column(one, "direct", shape) for one in tables])
    complete = np.mean([_column(one, "df", shape) for one in tables], axis=0)
    combined = combine(found, np.stack([one.covariances for one in tables]), complete)
    combined = _nothing_missing(combined, (found == found[0]).all(axis=0), complete)
    total, df = _usable(combined, complete)
    finished = []
    for k, variable in enumerate(completed[0]):
        numbers = _numbers(tables, names[k], combined, total, df, k)
        table = finish(
            numbers, variable, options.get("interval", "auto"), options.get("level", 0.95), options.get("min_df", 8),
            by_replicates, None,
        )  # fmt: skip
        partly = np.isfinite(found[:, :, k]).any(axis=0) & np.isnan(combined.estimate[:, k])
        table[list(IMPUTED_MEASURES)] = table[list(IMPUTED_MEASURES)].where(table["variance"].notna())
        finished.append(table.assign(flag=np.where(partly, NOT_ALWAYS, table["flag"])))
    return DirectEstimates(
        tuple(areas), names, pd.concat(finished, ignore_index=True), total, (*MEASURES, *IMPUTED_MEASURES)
    )


def _column(estimates: DirectEstimates, measure: str, shape: tuple[int, int]) -> Vector:
    """Return a measure of every area and response, shape (D, K)."""
    return estimates.table[measure].to_numpy(dtype=np.float64).reshape(shape[::-1]).T


def _nothing_missing(combined: Combined, same: NDArray[np.bool_], complete: Vector) -> Combined:
    """Say where all tables agree what one of them says.

    The formulas' limits differ from it a little: they allow for a finite number of tables.
    """
    fraction = np.where(same, 0.0, combined.fraction_missing)
    return replace(combined, fraction_missing=fraction, df=np.where(same, complete, combined.df))


def _usable(combined: Combined, complete: Vector) -> tuple[Vector, Vector]:
    """Return total covariances and degrees of freedom.

    A variance of zero within (one sampling unit, respondents who are all alike) says nothing of sampling. What lies
    between tables does not make up for it, so these stay without a variance that a model could use.
    """
    unknown = ~(np.einsum("dkk->dk", combined.within) > 0.0)
    total = np.where(unknown[:, :, None] | unknown[:, None, :], combined.within, combined.variance)
    return total, np.where(unknown, complete, combined.df)


def _numbers(
    tables: Sequence[DirectEstimates], name: str, combined: Combined, total: Vector, df: Vector, k: int
) -> pd.DataFrame:
    """Return the numbers of one response, before intervals and flags."""
    rows = [one.table[one.table["response"] == name].reset_index(drop=True) for one in tables]
    first = rows[0]
    variance = total[:, k, k]
    with np.errstate(invalid="ignore", divide="ignore"):
        simple = np.array([(one["variance"] / one["deff"]).to_numpy(dtype=np.float64) for one in rows])
        known = np.isfinite(simple)
        deff = variance / (np.where(known, simple, 0.0).sum(axis=0) / known.sum(axis=0))
    n = _mean(rows, "n")
    return pd.DataFrame(
        {
            "area": first["area"],
            "response": name,
            "direct": combined.estimate[:, k],
            "variance": variance,
            "n": n,
            "n_psu": _mean(rows, "n_psu"),
            "population": _mean(rows, "population"),
            "n_eff": n / deff,
            "deff": deff,
            "df": df[:, k],
            "variance_within": combined.within[:, k, k],
            "fmi": combined.fraction_missing[:, k],
        }
    )


def _mean(rows: Sequence[pd.DataFrame], measure: str) -> Vector | Codes:
    """Return the mean of a measure over the tables; the number itself, of its own type, where all agree."""
    values = np.array([one[measure].to_numpy() for one in rows])
    return values[0] if (values == values[0]).all() else values.mean(axis=0)
