"""How long the engine lives after it was cancelled, and after its parent was killed; what it leaves behind.

A fit of a map of 8,000 polygons is stopped at several moments, once by closing its standard input (what the plugin does
on cancel), once by killing the process that started it. Exit code 1 if it takes more than 2 s (cancel) or 5 s
(kill), if an existing output changed, or if a file is left.

usage: python benchmarks/cancel.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from whole_fit import make_map

MOMENTS = (0.5, 2.0, 4.0, 8.0)
CANCEL_SECONDS, KILL_SECONDS = 2.0, 5.0
# Starts the engine as the plugin does and says its process id; then waits to be killed.
PARENT = (
    "import subprocess, sys, time; "
    "p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, "
    "start_new_session=True); print(p.pid, flush=True); time.sleep(600)"
)


def job(folder: Path) -> list[str]:
    """Write the job with an output that exists already, and return the engine's command."""
    layer, id_field, direct, variance, *covariates = make_map(folder / "map.gpkg", 8_000)
    (folder / "o.gpkg").write_bytes(b"before")
    parameters = {"areas": layer, "id_field": id_field, "direct": direct, "variance": variance}
    parameters |= {"covariates": covariates, "output": str(folder / "o.gpkg"), "min_ess": 20_000}
    (folder / "job.json").write_text(json.dumps({"version": 1, "task": "fit", "parameters": parameters}))
    return [sys.executable, "-m", "smallarea", "run", str(folder / "job.json"), "--watch-stdin"]


def cancelled(command: list[str], after: float) -> float:
    """Seconds from closing the engine's standard input to its end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    start = time.perf_counter()
    process.stdin.close()
    process.wait()
    return time.perf_counter() - start


def orphaned(command: list[str], after: float) -> float:
    """Seconds from killing the engine's parent to the engine's end."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], stdout=subprocess.PIPE, text=True)
    engine = int(parent.stdout.readline())
    time.sleep(after)
    start = time.perf_counter()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while alive(engine) and time.perf_counter() - start < 60.0:
        time.sleep(0.02)
    return time.perf_counter() - start


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def main() -> int:
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = job(folder)
        before = sorted(file.name for file in folder.iterdir())
        print(f"{'stopped after':>14}{'cancel':>10}{'parent killed':>15}")
        for after in MOMENTS:
            times = cancelled(command, after), orphaned(command, after)
            clean = sorted(file.name for file in folder.iterdir()) == before
            clean &= (folder / "o.gpkg").read_bytes() == b"before"
            print(f"{after:>12.1f} s{times[0]:>8.2f} s{times[1]:>13.2f} s{'' if clean else '   left something behind'}")
            missed |= times[0] > CANCEL_SECONDS or times[1] > KILL_SECONDS or not clean
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
