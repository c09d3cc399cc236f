"""The multivariate normal imputation: twelve correlated answers again and again, then a large table.

python benchmarks/mvn_imputation.py [--tables 100] [--rows 100000] [--items 30]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import pandas as pd
from imputation_methods import NAMES, TRUTH, simulate
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.fit_quality import srmr
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.mvn import MultivariateNormal
from smallarea.survey.imputation.variables import describe_variables

LOWER = np.tril_indices(len(NAMES), -1)
MOST_SRMR, COVERAGE = 0.045, (0.93, 0.97)
MOST_SECONDS, MOST_GIB = 180.0, 4.0


def repeated(tables: int, n: int = 500, share: float = 0.1) -> bool:
    """Fit tables of n rows; score the correlations and their 95 % intervals, and those of the missing cells."""
    scores, covered, cells = [], [], []
    start = time.perf_counter()
    for seed in range(tables):
        complete, holes = simulate(n, share, seed)
        frame = pd.DataFrame(holes, columns=list(NAMES))
        variables = describe_variables(frame, NAMES, kinds=dict.fromkeys(NAMES, "continuous"))
        fitted = MultivariateNormal(draws=1000).fit(encode_table(frame, variables), seed=seed)
        draws = fitted.correlation_draws()
        scores.append(srmr(draws.mean(axis=0), TRUTH))
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        covered.append(((low <= TRUTH) & (high >= TRUTH))[LOWER])
        imputed = impute_table(frame, variables, imputations=199, seed=seed)
        low, high = np.sort(imputed.draws, axis=0)[[4, 194]]  # a 200th draw lies between them with probability 0.95
        truth = complete[imputed.cells]
        cells.append(np.mean((low <= truth) & (truth <= high)))
    seconds = (time.perf_counter() - start) / tables
    per_pair = np.mean(covered, axis=0)
    print(f"{tables} tables of {n} rows, {share:.0%} missing, {seconds:.2f} s each")
    print(f"  SRMR mean {np.mean(scores):.4f}, median {np.median(scores):.4f}, largest {np.max(scores):.4f}")
    print(f"  intervals of correlations cover {np.mean(covered):.4f}")
    print(f"  the same pair by pair: {per_pair.min():.2f} to {per_pair.max():.2f}")
    print(f"  intervals of missing cells cover {np.mean(cells):.4f}")
    return (
        bool(np.mean(scores) <= MOST_SRMR)
        and COVERAGE[0] <= np.mean(covered) <= COVERAGE[1]
        and COVERAGE[0] <= np.mean(cells) <= COVERAGE[1]
    )


def large(rows: int, items: int, share: float = 0.2) -> bool:
    """Impute ten times a table in which nearly every row has its own pattern of gaps."""
    rng = np.random.default_rng(1)
    loadings = rng.normal(size=(4, items))
    values = rng.standard_normal((rows, 4)) @ loadings + rng.standard_normal((rows, items))
    values[rng.random(values.shape) < share] = np.nan
    frame = pd.DataFrame(values, columns=[f"item {k}" for k in range(items)])
    start = time.perf_counter()
    imputed = impute_table(frame, describe_variables(frame, list(frame.columns)), imputations=10)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{rows:,} rows x {items} items, {share:.0%} missing, {imputed.record['fit']['patterns']:,} patterns")
    print(f"  {seconds:.0f} s, {peak:.2f} GiB for ten completed tables")
    return seconds <= MOST_SECONDS and peak <= MOST_GIB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=30)
    arguments = parser.parse_args()
    passed = [repeated(arguments.tables), large(arguments.rows, arguments.items)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
