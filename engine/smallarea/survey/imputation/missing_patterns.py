"""Which answers are missing together, and where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def pattern_table(missing: Mask, names: Sequence[str], *, most: int = 12) -> pd.DataFrame:
    """Count the patterns of missing answers, the most frequent first.

    Parameters
    ----------
    missing : ndarray of bool, shape (n, p)
        Missing cells.
    names : sequence of str
        Columns.
    most : int
        Patterns to list.

    Returns
    -------
    DataFrame
        A column of booleans for each name (missing in this pattern), ``rows`` and ``share``. Its attribute
        ``attrs['patterns']`` is how many patterns there are in all.
    """
    patterns, count = _patterns(missing)
    order = np.argsort(-count, kind="stable")[:most]
    table = pd.DataFrame(patterns[order], columns=list(names))
    table["rows"] = count[order]
    table["share"] = count[order] / max(len(missing), 1)
    table.attrs["patterns"] = len(count)
    return table


def _patterns(missing: Mask) -> tuple[Mask, NDArray[np.int64]]:
    """Return distinct rows and how often each occurs; packed to bits, for long tables."""
    packed = np.packbits(missing, axis=1)
    distinct, first, count = np.unique(
        np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel(),
        return_index=True,
        return_counts=True,
    )
    del distinct
    return missing[first], count.astype(np.int64)


def missing_by_area(missing: Mask, names: Sequence[str], area: Sequence[object]) -> pd.DataFrame:
    """Shares of missing answers in each area.

    Parameters
    ----------
    missing : ndarray of bool, shape (n, p)
        Missing cells.
    names : sequence of str
        Columns.
    area : sequence
        Area of each row; rows without one (None) are left out.

    Returns
    -------
    DataFrame
        One row an area, in the order of their ids: ``area``, ``rows``, a share from 0 to 1 for each name, and ``any``,
        the share of rows with a missing answer.
    """
    code, ids = pd.factorize(pd.Series(list(area), dtype=object), sort=True)
    kept = code >= 0
    rows = np.bincount(code[kept], minlength=len(ids))
    table = pd.DataFrame({"area": ids, "rows": rows})
    for k, name in enumerate(names):
        table[name] = np.bincount(code[kept], weights=missing[kept, k], minlength=len(ids)) / rows
    table["any"] = np.bincount(code[kept], weights=missing[kept].any(axis=1), minlength=len(ids)) / rows
    return table
