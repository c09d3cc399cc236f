"""Missing answers: every comparison of a study of autoencoders and Bayesian models, remade with a known truth.

The study (Forde 2025, "Heuristics in Latent Space") fits singular value decompositions, three autoencoders, a Bayesian
multivariate normal model and a structural equation model to twelve normal variables, and compares residual
correlations. Here all of them get the same data, for each size and share of missing answers, and are measured alike:

- SRMR of the correlations that the fitted model implies, against the true ones (not of a simulated sample, whose noise
  would count as misfit), with the denominator p (p + 1) / 2. The study's own formula gives half of it;
- mean size of the correlations off the diagonal, as a share of the true one: below 1 is attenuation;
- error of imputed answers (the draws' mean against the hidden truth, in standard deviations) and coverage of intervals
  of 95 % from 39 draws;
- seconds, for fit and draws.

``--quick`` takes two sizes and one share. ``--large`` measures 100,000 rows of 30 columns instead.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from imputation_methods import METHODS, SPREAD, TRUTH, Outcome, by_table, simulate
from smallarea.errors import SmallareaError
from smallarea.survey.imputation.fit_quality import srmr
from smallarea.survey.imputation.overimputation import rank_interval

SIZES, SHARES = (500, 1_000, 5_000, 10_000, 25_000), (0.0, 0.05, 0.1, 0.2)
# Small tables are noisy: their numbers are means over several.
REPLICATES = {500: 10, 1_000: 5}
# Method, rows, share of missing answers, and what must hold.
BARS = {
    ("vae", 10_000, 0.0): ("at most", 0.03),
    ("vae-masked", 5_000, 0.2): ("at most", 0.08),
    ("vae-masked, bug", 5_000, 0.2): ("at least", 0.2),
    ("mvn", 500, 0.1): ("at most", 0.045),
}


@dataclass(frozen=True)
class Row:
    """Measures of a method, means over replicates."""

    method: str
    n: int
    share: float
    srmr: float
    size: float
    error: float
    coverage: float
    seconds: float


def measure(method: str, n: int, share: float, seed: int) -> Row | str:
    """Mean measures over replicates, or why there are none."""
    found = []
    for replicate in range(REPLICATES.get(n, 1)):
        complete, holes = simulate(n, share, seed + replicate)
        start = time.perf_counter()
        try:
            outcome = METHODS[method](holes, seed + replicate)
        except (SmallareaError, ImportError) as error:
            return str(error)
        seconds = time.perf_counter() - start
        off = np.tril_indices(12, -1)
        size = np.mean(np.abs(outcome.correlation[off])) / np.mean(np.abs(TRUTH[off]))
        found.append((srmr(outcome.correlation, TRUTH), size, *scores(outcome, complete, holes), seconds))
    return Row(method, n, share, *(float(x) for x in np.mean(found, axis=0)))


def scores(outcome: Outcome, complete: np.ndarray, holes: np.ndarray) -> tuple[float, float]:
    """Error of the imputed answers in standard deviations, and coverage."""
    if outcome.draws is None or not outcome.draws.shape[1]:
        return np.nan, np.nan
    missing = np.isnan(holes[outcome.rows])
    truth = complete[outcome.rows][missing]
    sd = np.broadcast_to(SPREAD, missing.shape)[missing]
    error = np.sqrt(np.mean(((outcome.draws.mean(axis=0) - truth) / sd) ** 2))
    if not outcome.is_distribution:
        return error, np.nan
    lower, upper = rank_interval(outcome.draws, 0.95)
    return error, float(np.mean((lower <= truth) & (truth <= upper)))


def show(row: Row) -> None:
    def number(x: float, form: str) -> str:
        return "–" if np.isnan(x) else format(x, form)

    print(
        f"| {row.method} | {row.n:,} | {row.share:.0%} | {row.srmr:.3f} | {row.srmr / 2:.3f} | {row.size:.2f} | "
        f"{number(row.error, '.3f')} | {number(100 * row.coverage, '.1f')} | {row.seconds:.1f} |",
        flush=True,
    )


def missed_bars(rows: list[Row]) -> list[str]:
    missed = []
    for row in rows:
        word, bar = BARS.get((row.method, row.n, row.share), ("at most", np.inf))
        if (row.srmr > bar) if word == "at most" else (row.srmr < bar):
            missed.append(f"{row.method}, {row.n:,} rows, {row.share:.0%}: SRMR {row.srmr:.3f}, must be {word} {bar}")
        if row.method == "mvn" and row.share > 0.0 and not 0.93 <= row.coverage <= 0.97:
            missed.append(f"mvn, {row.n:,} rows, {row.share:.0%}: coverage {row.coverage:.3f}")
    return missed


def conclusions(rows: list[Row]) -> None:
    """Say where the study's conclusions hold: every verdict follows from this run's numbers, or is left out."""
    of = {(row.method, row.n, row.share): row for row in rows}
    shares = sorted({row.share for row in rows})
    print("\nWhat the study concludes, and what these numbers say of it:")
    print("- Its SRMR divides by 312 where the usual one divides by 78: all its values are half of the usual ones.")
    for key, n, share, say in (
        ("vae", 10_000, 0.0, _improves),
        ("vae-masked, bug", max(SIZES), shares[-1], _breaks),
        ("vae-mean", max(SIZES), shares[-1], _attenuates),
        ("mvn", 500, 0.1, _recovers),
        ("svd, rank 2", 10_000, 0.0, _exaggerates),
    ):
        if (key, n, share) in of:
            print("- " + say(of, n, share))


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _improves(of: dict, n: int, share: float) -> str:
    last, first = of["vae", n, share].srmr, of.get(("vae", 500, share))
    start = f"{first.srmr:.3f} with 500 complete rows, " if first else ""
    good = last <= 0.03 and (first is None or last < first.srmr)
    return f'"The autoencoder improves with n and recovers R": {start}{last:.3f} with {n:,}. This {_verdict(good)}.'


def _breaks(of: dict, n: int, share: float) -> str:
    fault, cured = of["vae-masked, bug", n, share].srmr, of["vae-masked", n, share].srmr
    broken = cured > 0.5 * fault
    return (
        f'"The mask-aware network breaks by its architecture": SRMR {fault:.3f} at {n:,} rows with the loss '
        f"divided by the number of answers, {cured:.3f} with the same architecture and the loss as it should be. This "
        f"{_verdict(broken)}: {'the architecture' if broken else 'the scale of the loss'} did it."
    )


def _attenuates(of: dict, n: int, share: float) -> str:
    row = of["vae-mean", n, share]
    return (
        f'"After mean imputation the autoencoder recovers R accurately": SRMR {row.srmr:.3f} with {n:,} rows and '
        f"{share:.0%} missing, correlations at {row.size:.2f} of their true size. This {_verdict(row.size > 0.95)}."
    )


def _recovers(of: dict, n: int, share: float) -> str:
    row = of["mvn", n, share]
    good = row.srmr <= 0.05 and 0.93 <= row.coverage <= 0.97
    return (
        f'"The normal model recovers R from {n} rows, with missing answers too": SRMR {row.srmr:.3f} with {share:.0%} '
        f"missing, intervals of imputed answers cover {row.coverage:.1%}. This {_verdict(good)}."
    )


def _exaggerates(of: dict, n: int, share: float) -> str:
    sizes = ", ".join(f"{of[f'svd, rank {k}', n, share].size:.2f} with rank {k}" for k in (2, 5, 12))
    return f"Decompositions have correlations {sizes} times as large as the truth: pictures, no models."


def large(seed: int) -> bool:
    """Time 100,000 rows of 30 columns with a tenth of the answers missing, ten draws."""
    global DRAWS
    DRAWS = 10

    missed = False
    _, holes = simulate(100_000, 0.1, seed, p=30)
    for method in ("vae", "vae-masked"):
        start = time.perf_counter()
        by_table(method, draws=10)(holes, seed)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{method}: 100,000 rows, 30 columns, 10 draws: {seconds:.0f} s, {memory:.2f} GiB", flush=True)
        missed |= seconds > 600.0 or memory > 4.0
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+")
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.large:
        return int(large(asked.seed))
    sizes = asked.sizes or ((500, 1_000) if asked.quick else SIZES)
    shares = asked.shares or ((0.1,) if asked.quick else SHARES)
    print(
        "| method | rows | missing | SRMR | as in the study | size of r | error | coverage, % | s |\n"
        + "| --- " * 9
        + "|"
    )
    rows = []
    for n in sizes:
        for share in shares:
            for method in asked.methods or METHODS:
                row = measure(method, n, share, asked.seed)
                if isinstance(row, str):
                    print(f"| {method} | {n:,} | {share:.0%} | {row} |", flush=True)
                else:
                    rows.append(row)
                    show(row)
    conclusions(rows)
    missed = missed_bars(rows)
    print("\n".join(["", *(f"MISSED: {text}" for text in missed)]) if missed else "\nNo bar is missed.")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
