"""What each command teaches."""

from __future__ import annotations

LAYER = "LAYER is the polygon layer: the path of any vector file that GDAL reads."

FIT = f"""Fit a Fay-Herriot model and map its estimates.

{LAYER} The direct estimates and their sampling variances are fields of LAYER, or of a table that --table
names.

The default is the exact posterior of a model whose area effects are alike among neighbours (car), with an
independent part beside it.

\b
Estimates and a report from what the polygons carry:
  smallarea fit counties.gpkg --direct rate --variance rate_var \\
      --covariates poverty --output estimates.gpkg --report report.html

\b
A survey table with standard errors, joined by id:
  smallarea fit counties.gpkg --id-field FIPS --table survey.csv \\
      --direct rate --variance rate_se --variance-type standard_error --csv estimates.csv

\b
The classic model without neighbours, by REML:
  smallarea fit counties.gpkg --direct rate --variance rate_var \\
      --random-effect iid --method reml --csv estimates.csv

\b
Two responses that inform each other, each with its variance in the same order, and their sampling covariance:
  smallarea fit counties.gpkg --direct income --direct rent --variance income_var --variance rent_var \\
      --covariance income_rent_cov --covariates poverty --output estimates.gpkg"""

FIT_COUNTS = f"""Fit a model of counts or shares and map its estimates.

{LAYER} The counts are fields of LAYER, or of a table that --table names. Binomial counts are out of trials and give
a probability; Poisson counts have an exposure and give a rate for each unit of it.

The posterior is sampled by Hamiltonian Monte Carlo (install the extra 'hmc'). Area effects are alike among
neighbours (car), with an independent part beside them that takes up overdispersion.

\b
Deaths by county, as a rate for each inhabitant:
  smallarea fit-counts counties.gpkg --likelihood poisson --count deaths --exposure population \\
      --covariates smoking --output rates.gpkg --report report.html

\b
A survey's yes answers out of all answers, joined by id:
  smallarea fit-counts counties.gpkg --id-field FIPS --table survey.csv \\
      --count insured --trials answers --csv estimates.csv

\b
With a learned spatial prior:
  smallarea prior train counties.gpkg --id-field FIPS --output counties.safetensors
  smallarea fit-counts counties.gpkg --id-field FIPS --count insured --trials answers \\
      --spatial-prior counties.safetensors --output estimates.gpkg"""

FIT_SPACE_TIME = f"""Fit a space-time Fay-Herriot model and map its estimates in time.

{LAYER} The direct estimates and their sampling variances are in a long table, one row for each area and period.
Areas, periods and single cells without a row are predicted.

The default is the exact posterior of a model whose effects are alike among neighbours and from one period to the next
(car_ar1), with an independent part beside it.

\b
Six years of survey estimates, joined by id:
  smallarea fit-space-time counties.gpkg --id-field FIPS --table survey.csv --time year \\
      --direct rate --variance rate_var --covariates poverty --output estimates.gpkg

\b
The model of Marhuenda, Molina and Morales (2013), with bootstrap errors:
  smallarea fit-space-time counties.gpkg --id-field FIPS --table survey.csv --time year \\
      --direct rate --variance rate_var --model stfh --csv estimates.csv"""

FIT_TREES = f"""Fit a Fay-Herriot model with regression trees and map its estimates (area-level BART).

{LAYER} The data are described as for 'smallarea fit'. Covariates enter through a sum of regression trees, which find
steps, curves and interactions by themselves; area effects, sampling variances and priors are those of 'smallarea fit'.

Trees do not always pay. The linear model is fitted too, and both are scored on direct estimates that they have not
seen: read the verdict before you choose.

\b
Trees of three covariates beside a spatial effect:
  smallarea fit-trees counties.gpkg --id-field FIPS --direct rate --variance rate_var \\
      --covariates poverty --covariates age --covariates density --output estimates.gpkg --report report.html

\b
Do they pay? Both models fitted again without each of ten folds:
  smallarea fit-trees counties.gpkg --direct rate --variance rate_var \\
      --covariates poverty --covariates age --folds 10 --report report.html"""

COMPARE = f"""Compare Fay-Herriot models by how well they predict.

{LAYER} The data are described as for 'smallarea fit'; they are read once, and every model sees the same direct
estimates and the same folds.

A model is a short text: a random effect, a link or a method by its word, everything else as key=value. Without any
--model a ladder from independent to spatial effects is compared.

\b
Is there anything in the neighbours?
  smallarea compare counties.gpkg --direct rate --variance rate_var \\
      --covariates poverty --csv scores.csv --report comparison.html

\b
Three models of one's own, by leaving out areas and whole regions:
  smallarea compare counties.gpkg --direct rate --variance rate_var \\
      --model "iid covariates=poverty,age" --model "car covariates=poverty" --model "leroux name=smooth" \\
      --criterion cv_area --criterion cv_block --folds 10 --excel comparison.xlsx

\b
Two responses: how do they hang together?
  smallarea compare counties.gpkg --direct rate --variance rate_var --direct income --variance income_var \\
      --model "car independent" --model "car separable" --model "car chain order=rate,income" --csv scores.csv"""

EXPORT = f"""Make exceedance maps, ranks, comparisons and benchmarked estimates from posterior draws.

{LAYER} It may be left out where no map is asked for. The draws come from a fit:
'smallarea fit ... --posterior draws.nc'.

\b
How probable is it that a county lies above 3.5, and what is its place:
  smallarea export counties.gpkg --id-field FIPS --posterior draws.nc \\
      --threshold 3.5 --output exceedance.gpkg --excel exceedance.xlsx

\b
Differences from the mean of the neighbours, and between two counties:
  smallarea export counties.gpkg --id-field FIPS --posterior draws.nc \\
      --compare neighbours --pair 37001=37003 --csv differences.csv

\b
Estimates that meet the states' published means, weighted by population:
  smallarea export counties.gpkg --id-field FIPS --posterior draws.nc \\
      --benchmark states.csv --group-field STATE --weight-field POP --output benchmarked.gpkg"""

BENCHMARK = f"""Make estimates, or posterior draws, meet targets that are known better.

{LAYER} It is needed for a map only, and not if the estimates are a polygon layer themselves. The original columns
stay; the benchmarked estimates, their intervals and the adjustment of each area come beside them.

\b
States' published means, weighted by population (states.csv: group, target):
  smallarea benchmark --estimates estimates.csv --targets states.csv \\
      --table counties.csv --table-id-field FIPS --group-field STATE --weight-field POP --csv benchmarked.csv

\b
Raking to totals of regions and of urban and rural areas (targets.csv: margin, group, target):
  smallarea benchmark --estimates estimates.gpkg --estimates-id-field FIPS --targets targets.csv --kind total \\
      --method raking --group-field region --group-field urban --weight-field POP --output benchmarked.gpkg

\b
Every posterior draw, for ranks and exceedance probabilities that follow the targets:
  smallarea benchmark counties.gpkg --id-field FIPS --posterior draws.nc --targets states.csv \\
      --group-field STATE --weight-field POP --benchmarked-posterior benchmarked.nc --csv benchmarked.csv"""

CHECK = f"""Validate polygons and report what would break an adjacency graph.

{LAYER} Reported, with the areas' names: repeated ids, missing, empty and invalid shapes, slivers, gaps and
overlaps, a missing coordinate reference system. Nothing is changed unless --repair and --repaired are given.

\b
Examples:
  smallarea areas check counties.gpkg --id-field FIPS
  smallarea areas check counties.shp --crs EPSG:4267 --output findings.gpkg
  smallarea areas check counties.gpkg --repair --repaired counties_mended.gpkg"""

ADJACENCY = f"""Build the adjacency graph of the areas.

{LAYER}

\b
Examples:
  smallarea areas adjacency counties.gpkg --id-field FIPS --graph graph.json
  smallarea areas adjacency counties.gpkg --contiguity rook --islands nearest --edges edges.gpkg"""

STATUS = """Say which engine this is, what it found, and what is missing.

\b
Examples:
  smallarea status
  smallarea status --json"""

RUN = """Run a job file; events as JSON lines.

JOB is a JSON file: {"version": 1, "task": "fit", "parameters": {...}}. Any command writes one with
--save-job; 'smallarea schema' lists the tasks and their parameters. Relative paths in it start from its own
folder.

On a terminal the progress is shown as for the other commands; otherwise standard output has one JSON object a
line: progress, info, warning, and last either result or error.

\b
Examples:
  smallarea run job.json
  smallarea run job.json | jq -r 'select(.type == "result").outputs.output'"""

SCHEMA = """Print the JSON schema of the job files: every task, parameter, default and choice.

\b
Example:
  smallarea schema > job_schema.json"""

DEMO = """Run the main job on real polygons, here and now.

Fits the rate of sudden infant death in the 100 counties of North Carolina, 1974 to 1978, and writes the map,
the report, the table and the job file to a folder.

\b
Example:
  smallarea demo --folder demo"""
