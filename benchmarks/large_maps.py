"""Several responses on a state's census tracts and on ten such states: seconds, memory, cost of one evaluation.

Every fit runs in a process of its own and is timed from data in memory to posterior draws and intervals (reading a
layer and writing a report are in `whole_fit.py`). The cost of one evaluation of the collapsed likelihood is measured on
copies of the map side by side (many components) and on random Delaunay graphs of the same sizes (one component,
harder), and drawn with the exponent of its growth in `cost_per_evaluation.png`.

usage: python benchmarks/large_maps.py [LAYER ID_FIELD DIRECT VARIANCE DIRECT VARIANCE COVARIATE...]

Exit code 1 if a fit misses its bar, or an evaluation on ten copies costs more than 12 times one.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cases import Case, from_layer, simulated
from smallarea.area_level import build_model, sample_posterior
from smallarea.area_level.parameters import as_arrays, natural_values

# Copies of the map, responses, link, seconds, GiB.
FITS = (
    (1, 2, "separable", 30.0, 1.0),
    (1, 2, "chain", 60.0, 1.0),
    (10, 1, "separable", 120.0, 4.0),
    (10, 2, "separable", 300.0, 4.0),
)
SIZES = (1, 2, 5, 10)
LANES = 8


def read(arguments: list[str]) -> Case:
    return from_layer(arguments, 2) if arguments else simulated(8_000)


def fit(case: Case, link: str) -> dict[str, float]:
    """Fit in this process."""
    specification = case.specify(link=link)
    start = time.perf_counter()
    posterior = sample_posterior(build_model(specification, case.stacked, case.graph), specification)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "gibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "ess": float(posterior.weighted.ess(posterior.weighted_values).min()),
        "evaluations": posterior.weighted.evaluations,
        "pareto_k": posterior.weighted.pareto_k,
    }


def cost(case: Case, link: str = "separable") -> float:
    """Seconds of processor time for one evaluation, from a batch near the prior's centre."""
    specification = case.specify(link=link)
    model = build_model(specification, case.stacked, case.graph)
    x = 0.3 * np.random.default_rng(1).standard_normal((LANES, len(specification.layout)))
    order = tuple(case.responses.index(name) for name in specification.order)
    k = len(case.responses)
    hyper = as_arrays(specification.layout, order, k, natural_values(specification.layout, specification.priors, k, x))
    model.log_likelihood(hyper)
    took = []
    for _ in range(3):
        start = time.thread_time()
        model.log_likelihood(hyper)
        took.append(time.thread_time() - start)
    return min(took) / LANES


def in_process(task: dict, arguments: list[str]) -> dict[str, float]:
    """Run one task in a fresh process."""
    command = [sys.executable, __file__, "--task", json.dumps(task), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_task(task: dict, arguments: list[str]) -> dict[str, float]:
    case = simulated(task["areas"]) if "areas" in task else read(arguments).copies(task["copies"])
    if task["responses"] == 1:
        case = case.one(0)
    if task["what"] == "fit":
        return fit(case, task["link"])
    return {"areas": len(case.graph.ids), "seconds": cost(case)}


def draw(curves: dict[str, tuple[list[float], list[float]]], path: Path) -> dict[str, float]:
    """Draw the curves; return the exponent of each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    exponents = {}
    for name, (areas, seconds) in curves.items():
        exponents[name] = float(np.polyfit(np.log(areas), np.log(seconds), 1)[0])
        axes.loglog(areas, 1e3 * np.array(seconds), "o-", label=f"{name}: areas$^{{{exponents[name]:.2f}}}$")
    axes.set(xlabel="areas", ylabel="milliseconds for one evaluation", title="Collapsed likelihood, two responses")
    axes.grid(which="both", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    return exponents


def main() -> int:
    if "--task" in sys.argv:
        at = sys.argv.index("--task")
        print(json.dumps(run_task(json.loads(sys.argv[at + 1]), sys.argv[at + 2 :])))
        return 0
    arguments = sys.argv[1:]
    missed = False
    heads = ("copies", "responses", "link", "seconds", "GiB", "ESS", "evaluations", "Pareto k")
    print("".join(f"{head:>12}" for head in heads))
    for copies, responses, link, seconds, gibibytes in FITS:
        task = {"what": "fit", "copies": copies, "responses": responses, "link": link}
        seen = in_process(task, arguments)
        missed |= seen["seconds"] > seconds or seen["gibibytes"] > gibibytes or seen["ess"] < 1000.0
        row = [f"{seen['seconds']:.1f}", f"{seen['gibibytes']:.2f}", f"{seen['ess']:.0f}", str(seen["evaluations"])]
        row = [str(copies), str(responses), link, *row, f"{seen['pareto_k']:.2f}"]
        print("".join(f"{word:>12}" for word in row), flush=True)
    base = len(read(arguments).graph.ids)
    copies = [in_process({"what": "cost", "copies": c, "responses": 2}, arguments) for c in SIZES]
    random = [in_process({"what": "cost", "areas": c * base, "responses": 2}, []) for c in SIZES]
    curves = {
        name: ([row["areas"] for row in rows], [row["seconds"] for row in rows])
        for name, rows in (("copies of the map", copies), ("random Delaunay graphs", random))
    }
    exponents = draw(curves, Path(__file__).with_name("cost_per_evaluation.png"))
    for name, (areas, seconds) in curves.items():
        points = ", ".join(f"{a:,} areas {1e3 * s:.1f} ms" for a, s in zip(areas, seconds, strict=True))
        print(f"{name}: {points}; exponent {exponents[name]:.2f}")
    growth = copies[-1]["seconds"] / copies[0]["seconds"]
    print(f"ten copies cost {growth:.1f} times one")
    return int(missed or growth > 12.0)


if __name__ == "__main__":
    sys.exit(main())
