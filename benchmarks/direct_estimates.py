"""Direct estimates of many areas from many respondents: seconds, memory, growth with the number of rows.

Each size runs in a process of its own, from a CSV file to a CSV file through the task `direct_estimates`: three
indicators (a mean, a proportion, a ratio) with all sampling covariances in 5,000 areas, 200 strata, 10,000 primary
sampling units. Printed as well: the time of the estimation alone, from arrays in memory.

usage: python benchmarks/direct_estimates.py [ROWS...]

Exit code 1 if a million rows take more than 60 s or 4 GiB, or the time of four times the rows is more than five times.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

AREAS, STRATA, UNITS = 5_000, 200, 50
SIZES = (250_000, 1_000_000)


def survey(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    stratum = rng.integers(0, STRATA, rows)
    unit = stratum * UNITS + rng.integers(0, UNITS, rows)
    area = (unit // 2 + rng.integers(0, 40, rows)) % AREAS
    income = np.exp(10.0 + 0.3 * rng.standard_normal(rows) + 0.2 * rng.standard_normal(STRATA * UNITS)[unit])
    return pd.DataFrame(
        {
            "area": [f"a{i:05d}" for i in area.tolist()],
            "stratum": stratum,
            "psu": unit,
            "weight": rng.gamma(4.0, 25.0, rows).round(3),
            "income": income.round(2),
            "poor": (income < 16_000.0).astype(int),
            "rent": (income * rng.beta(3.0, 9.0, rows)).round(2),
        }
    )


def run(folder: Path) -> dict[str, float]:
    """Run the task in this process."""
    import smallarea

    start = time.perf_counter()
    marks = {}
    result = smallarea.direct_estimates(
        table=folder / "survey.csv",
        area_field="area",
        indicators=["mean(income)", "poor = proportion(poor = 1)", "share = ratio(rent, income)"],
        weight="weight",
        strata="stratum",
        psu="psu",
        csv=folder / "direct.csv",
        progress=lambda _percent, text: marks.setdefault(text, time.perf_counter() - start),
    )
    return {
        "areas": len(result.table),
        "seconds": time.perf_counter() - start,
        "estimation": marks["Writing the table"] - marks["Estimating"],
        "gibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> int:
    if sys.argv[1:2] == ["--folder"]:
        print(json.dumps(run(Path(sys.argv[2]))))
        return 0
    sizes = tuple(int(size) for size in sys.argv[1:]) or SIZES
    print("".join(f"{head:>12}" for head in ("rows", "areas", "seconds", "estimation", "GiB")))
    seen = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            survey(rows).to_csv(Path(folder) / "survey.csv", index=False)
            command = [sys.executable, __file__, "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        seen[rows] = one = json.loads(done.stdout.splitlines()[-1])
        row = [f"{rows:,}", str(one["areas"]), *(f"{one[k]:.2f}" for k in ("seconds", "estimation", "gibibytes"))]
        print("".join(f"{word:>12}" for word in row), flush=True)
    biggest = seen[max(seen)]
    growth = biggest["seconds"] / seen[min(seen)]["seconds"]
    print(f"{max(seen) / min(seen):.0f} times the rows take {growth:.1f} times as long")
    return int(biggest["seconds"] > 60.0 or biggest["gibibytes"] > 4.0 or growth > 1.25 * max(seen) / min(seen))


if __name__ == "__main__":
    sys.exit(main())
