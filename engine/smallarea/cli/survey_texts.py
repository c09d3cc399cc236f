"""What the commands of ``smallarea survey`` teach."""

from __future__ import annotations

from smallarea.cli.texts import LAYER

PREPARE = f"""Turn published estimates and their errors into the input of a fit.

{LAYER} It may be left out where only a table is wanted. The estimates and their errors are fields of LAYER, or of a
table that --table names.

The result has for each estimate NAME the fields NAME, variance_NAME, se_NAME, cv_NAME and flag_NAME, as 'smallarea fit'
takes them. Numbers that must not be used as they are (annotations, open ends, errors of zero) are left empty, and
flag_NAME says why.

\b
Two tables of the American Community Survey, with margins of error at 90 percent:
  smallarea survey prepare tracts.gpkg --id-field GEOID --table acs.csv \\
      --estimate B19013_001E --error B19013_001M --name income --output prepared.gpkg
  smallarea fit prepared.gpkg --id-field GEOID --direct income --variance variance_income ...

\b
Percentages with coefficients of variation, as proportions and on the arcsine scale:
  smallarea survey prepare --table health.csv --table-id-field code --estimate smokers --error smokers_cv \\
      --error-type cv_percent --scale 100 --transformation arcsin --csv prepared.csv

\b
Counts of events, as Freeman-Tukey transformed rates per thousand:
  smallarea survey prepare counties.gpkg --id-field FIPS --estimate SID74 --denominator BIR74 \\
      --transformation freeman_tukey --output rates.gpkg"""

SMOOTH = f"""Smooth sampling variances by a generalised variance function.

{LAYER} It may be left out where only a table is wanted. Direct estimates and raw variances are fields of LAYER, or of a
table that --table names.

The result has all fields of the table, and for each response NAME variance_smoothed_NAME and se_smoothed_NAME. Areas
with an estimate but without a usable variance (missing, zero, one observation) get the function's; flag_NAME says so.

\b
A gamma regression of variances on the sample size, with a report to look at:
  smallarea survey smooth --table direct.csv --table-id-field area --direct rate --variance variance_rate \\
      --n n_rate --df df_rate --csv smoothed.csv --report smoothing.html
  smallarea fit counties.gpkg --id-field FIPS --table smoothed.csv --table-id-field area \\
      --direct rate --variance variance_smoothed_rate ...

\b
Proportions by a pooled design effect, for town and country:
  smallarea survey smooth --table direct.csv --table-id-field area --direct diabetes \\
      --variance variance_diabetes --method n_eff --n n_diabetes --estimate-term binomial \\
      --group-field kind --csv smoothed.csv"""
