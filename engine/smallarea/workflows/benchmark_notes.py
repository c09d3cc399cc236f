"""What a user should know of a benchmarking before using its numbers."""

from __future__ import annotations

import pandas as pd

from smallarea.errors import named
from smallarea.results.benchmark import FACTORS

# A ratio this far from one says that targets and estimates are not of the same thing.
_PLAUSIBLE_RATIO = (0.5, 2.0)
# A gap of so many standard errors is no chance.
_FAR = 4.0


def benchmark_warnings(table: pd.DataFrame, method: str, weight_field: str | None) -> list[str]:
    """Say what is odd about adjustments.

    Parameters
    ----------
    table : pandas.DataFrame
        The table of adjustments, see :func:`smallarea.results.benchmark_tables.adjustments`; maybe empty.
    method : str
        Of benchmarking.
    weight_field : str or None
        Where the weights came from.

    Returns
    -------
    list of str
        May be empty.
    """
    found: list[str] = []
    if not len(table):
        return found
    if weight_field is None:
        found.append(
            "All areas count alike in the benchmarks, whatever their size. Name the field with the areas' populations "
            "(weight_field) unless that is meant."
        )
    low, high = _PLAUSIBLE_RATIO
    odd = table[~table["adjustment"].between(low, high)] if method in FACTORS else table.iloc[:0]
    if len(odd):
        groups = [f"{group} ({ratio:.3g})" for group, ratio in zip(odd["group"], odd["adjustment"], strict=True)]
        found.append(
            f"The estimates of {len(odd)} groups are multiplied by less than {low:g} or more than {high:g}: "
            f"{named(groups)}. Check that targets and estimates have the same units, and whether the targets are means "
            "or totals."
        )
    far = table[(table["gap_in_se"].abs() > _FAR) & ~table.index.isin(odd.index)]
    if len(far):
        groups = [f"{group} ({gap:+.1f})" for group, gap in zip(far["group"], far["gap_in_se"], strict=True)]
        found.append(
            f"The targets of {len(far)} groups are more than {_FAR:g} standard errors away from the estimates: "
            f"{named(groups)}. That is hardly chance: the model misses something, or the targets are of something else."
        )
    return found
