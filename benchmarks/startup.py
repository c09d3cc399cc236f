"""How long a user waits before anything happens: help, imports, and the engine's first line.

Each command runs in a fresh process, several times; the median is reported. Exit code 1 if a bar is missed.

usage: python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON = sys.executable
HEAVY = ("torch", "jax", "numpyro")


def cases(job: Path) -> list[tuple[str, list[str], float | None]]:
    """Name, command, and the seconds that it may take (None: measured only)."""
    return [
        ("python, nothing else", [PYTHON, "-c", "pass"], None),
        ("smallarea --help", [PYTHON, "-m", "smallarea", "--help"], 0.5),
        ("smallarea fit --help", [PYTHON, "-m", "smallarea", "fit", "--help"], None),
        ("smallarea run (status job)", [PYTHON, "-m", "smallarea", "run", str(job)], None),
        ("import smallarea", [PYTHON, "-c", "import smallarea"], None),
        (
            "import of what a fit needs",
            [PYTHON, "-c", "from smallarea.workflows import task_function; task_function('fit')"],
            None,
        ),
    ]


def seconds(command: list[str], runs: int) -> list[float]:
    """Wall-clock seconds of each run, after one that warms the caches."""
    found = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found.append(time.perf_counter() - start)
    return found[1:]


def imported_by_a_fit() -> list[str]:
    """Which of the heavy libraries the modules of a fit import."""
    code = (
        "import sys, json; from smallarea.workflows import task_function; task_function('fit');"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout))


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text('{"version": 1, "task": "status"}')
        print(f"{'':<30}{'median s':>10}{'slowest s':>11}{'bar s':>8}")
        for name, command, bar in cases(job):
            times = seconds(command, runs)
            median = statistics.median(times)
            missed |= bar is not None and median > bar
            print(f"{name:<30}{median:>10.3f}{max(times):>11.3f}{'' if bar is None else bar:>8}")
    heavy = imported_by_a_fit()
    print(f"heavy libraries that a fit imports: {', '.join(heavy) or 'none'}")
    return int(missed or bool(heavy))


if __name__ == "__main__":
    sys.exit(main())
