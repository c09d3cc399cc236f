"""From a sample to small area estimates when the whole population is known: coverage and errors of every step.

Stratified samples are drawn again and again from a population whose area means are known. Each goes the whole way
through the public functions: direct estimates with their sampling variances, smoothed variances, a Fay-Herriot model of
the logarithm with the population's area means as covariates. Reported: coverage of 95 % intervals of the direct
estimates over areas with at least 30 respondents, average coverage of the model's, and the share of areas in which the
model's root mean squared error is below the direct estimate's.

usage: python benchmarks/survey_chain.py [--replicates R] [--workers W] [POPULATION.csv SAMPLE.csv AREA OUTCOME X...]

Sample sizes by area are those of SAMPLE. Without files a population is made. Exit code 1 if direct intervals cover less
than 93 % or more than 97 %, the model's likewise, or the model is better in less than 90 % of the areas.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

MANY = 30


@dataclass(frozen=True)
class Population:
    """A population, and how many are drawn from each area."""

    frame: pd.DataFrame
    sizes: dict[str, int]
    covariates: tuple[str, ...]

    @property
    def truth(self) -> pd.Series:
        return self.frame.groupby("area")["y"].mean()

    @property
    def auxiliary(self) -> pd.DataFrame:
        return self.frame.groupby("area")[list(self.covariates)].mean().reset_index()


def from_files(arguments: list[str]) -> Population:
    population, sample, area, outcome, *covariates = arguments
    frame = pd.read_csv(population).rename(columns={area: "area", outcome: "y"})
    drawn = pd.read_csv(sample)[area].value_counts()
    count = frame["area"].value_counts()
    sizes = {name: int(min(drawn.get(name, 0), count[name])) for name in count.index}
    return Population(frame[["area", "y", *covariates]], sizes, tuple(covariates))


def simulated() -> Population:
    rng = np.random.default_rng(1)
    count = rng.integers(60, 600, 80)
    area = np.repeat([f"a{i:02d}" for i in range(80)], count)
    level = np.repeat(rng.normal(0.0, 0.12, 80), count)
    x = rng.normal(size=len(area)) + np.repeat(rng.normal(0.0, 0.5, 80), count)
    y = np.exp(9.8 + 0.25 * x + level + 0.4 * rng.standard_normal(len(area)))
    frame = pd.DataFrame({"area": area, "y": y, "x": x})
    sizes = {name: int(n) for name, n in zip(pd.unique(area), np.maximum(count // 14, 8), strict=True)}
    return Population(frame, sizes, ("x",))


def draw(population: Population, replicate: int) -> pd.DataFrame:
    """Draw a sample without replacement from each area, with weights and finite populations."""
    rng = np.random.default_rng([11, replicate])
    parts = []
    for name, rows in population.frame.groupby("area"):
        n = population.sizes[str(name)]
        if n:
            chosen = rows.iloc[rng.choice(len(rows), n, replace=False)]
            parts.append(chosen.assign(weight=len(rows) / n, N=len(rows)))
    return pd.concat(parts)[["area", "y", "weight", "N"]]


def one(population: Population, replicate: int) -> pd.DataFrame:
    """Go the whole way with one sample; return estimates and intervals by area."""
    import smallarea

    direct = smallarea.direct_estimates(
        table=draw(population, replicate), area_field="area", indicators="mean(y)", weight="weight", strata="area",
        fpc="N",
    )  # fmt: skip
    smoothed = smallarea.smooth_variances(
        table=direct.table, table_id_field="area", direct="y", variance="variance_y", n="n_y", df="df_y",
        estimate_term="log",
    )  # fmt: skip
    table = population.auxiliary.merge(smoothed.table, on="area", how="left")
    fit = smallarea.fit(
        table=table, table_id_field="area", direct=["y"], variance=["variance_smoothed_y"],
        covariates=list(population.covariates), random_effect="iid", method="reml", transformation="log",
    )  # fmt: skip
    model = fit.estimates.set_index("area")[["estimate", "lower", "upper"]].add_prefix("model_")
    survey = direct.table.set_index("area")[["y", "lower_y", "upper_y", "n_y"]]
    return model.join(survey).assign(replicate=replicate)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("files", nargs="*")
    given = parser.parse_args()
    population = from_files(given.files) if given.files else simulated()
    with ProcessPoolExecutor(given.workers) as pool:
        runs = list(pool.map(one, [population] * given.replicates, range(given.replicates), chunksize=5))
    rows = pd.concat(runs).reset_index()
    rows["truth"] = rows["area"].map(population.truth)
    sampled = rows[rows["y"].notna()].copy()
    many = sampled[sampled["n_y"] >= MANY]
    direct_cover = ((many["lower_y"] <= many["truth"]) & (many["truth"] <= many["upper_y"])).mean()
    all_cover = ((sampled["lower_y"] <= sampled["truth"]) & (sampled["truth"] <= sampled["upper_y"])).mean()
    inside = (sampled["model_lower"] <= sampled["truth"]) & (sampled["truth"] <= sampled["model_upper"])
    sampled["direct_square"] = (sampled["y"] - sampled["truth"]) ** 2
    sampled["model_square"] = (sampled["model_estimate"] - sampled["truth"]) ** 2
    by_area = sampled.groupby("area")[["direct_square", "model_square"]].mean() ** 0.5
    better = (by_area["model_square"] < by_area["direct_square"]).mean()
    outside = rows[rows["y"].isna()]
    print(f"{given.replicates} samples, {len(by_area)} areas with respondents, {many['area'].nunique()} with {MANY}")
    print(f"direct estimates: coverage {direct_cover:.3f} with {MANY} respondents or more, {all_cover:.3f} over all")
    print(f"model: coverage {inside.mean():.3f}, better than direct in {better:.1%} of the areas, "
          f"median ratio of errors {(by_area['model_square'] / by_area['direct_square']).median():.2f}")  # fmt: skip
    if len(outside):
        cover = ((outside["model_lower"] <= outside["truth"]) & (outside["truth"] <= outside["model_upper"])).mean()
        print(f"areas without respondents: coverage {cover:.3f}")
    return int(not (0.93 <= direct_cover <= 0.97 and 0.93 <= inside.mean() <= 0.97 and better >= 0.9))


if __name__ == "__main__":
    sys.exit(main())
