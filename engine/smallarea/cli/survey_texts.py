"""What the commands of ``smallarea survey`` teach."""

from __future__ import annotations

from smallarea.cli.texts import LAYER

DIRECT = f"""Estimate every area directly from survey microdata.

{LAYER} Without one the areas are those of the survey.

Means, proportions, totals, ratios and quantiles with variances of the whole sampling design, and the sampling
covariances of several indicators. What is written is the input of 'smallarea fit', without renaming.

\b
A proportion by district, from a stratified sample:
  smallarea survey direct districts.gpkg --id-field CODE --table survey.dta --area-field district \\
      --indicator "smoker = proportion(smokes = 1)" --weight wt --stratum region --csv direct.csv

\b
Two indicators of a cluster sample, with their covariance, as a map:
  smallarea survey direct districts.gpkg --id-field CODE --table survey.csv --area-field district \\
      --indicator "mean(income)" --indicator "poor = proportion(income < 12000)" \\
      --weight wt --stratum region --psu village --lonely-psu adjust --output direct.gpkg

\b
Then:
  smallarea fit direct.gpkg --id-field CODE --direct smoker --variance variance_smoker --output estimates.gpkg"""

CALIBRATE = """Calibrate survey weights to known totals of the population.

The table of totals has columns of the survey's names with categories, and a column with numbers of people. A number
belongs to the categories that its row fills in: rows with region and sex are cells, rows with one of the two margins.

\b
Post-stratification: one set of categories (region, total):
  smallarea survey calibrate --table survey.csv --weight pw --totals regions.csv \\
      --method poststratify --csv calibrated.csv

\b
Raking to regions and to age groups (region, age, total; in each row one of the two filled in):
  smallarea survey calibrate --table survey.csv --weight pw --totals margins.csv --csv calibrated.csv

\b
GREG with the total of a number as well (region, total, income; a row with the region empty has that of income):
  smallarea survey calibrate --table survey.csv --weight pw --totals totals.csv \\
      --method greg --auxiliary income --csv calibrated.csv --excel totals.xlsx"""

LATENT = """Score respondents on what several survey items have in common.

A factor is measured by items (=~) and may depend on other variables (~, the causes stand right). The model is fitted to
all answers, also of respondents who left some out; every respondent gets a score with its standard error, and plausible
values that carry the uncertainty into the direct estimates of areas.

\b
One factor of four items, its mean by district, and a model of it:
  smallarea survey latent --table survey.csv --area-field district --weight wt \\
      --model "hardship =~ heating + meals + arrears + holiday" --output hardship.parquet --excel model.xlsx
  smallarea survey direct districts.gpkg --id-field CODE --table hardship.parquet --imputation-field imputation \\
      --area-field district --weight wt --indicator "mean(hardship)" --output direct.gpkg
  smallarea fit direct.gpkg --id-field CODE --direct hardship --variance variance_hardship \\
      --output estimates.gpkg

\b
Two factors, a direct and an indirect effect, as draws from the posterior:
  smallarea survey latent --table survey.dta --model-file model.txt --method bayes --excel model.xlsx"""

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
MATCH = f"""Join the rows of a survey table to areas and report how well they fit.

{LAYER} The table's rows find their area by a code, or by the point where they lie. Nothing is joined by guessing: codes
that are not on the map, near misses and stray points stop the command until they are mended or accepted. The report
and the list of codes are written in any case.

\b
By code, with a report:
  smallarea survey match districts.gpkg --id-field name --table survey.dta \\
      --table-id-field district --output survey_areas.csv --report matching.html

\b
By the labels of a coded column, accepting other spellings:
  smallarea survey match districts.gpkg --id-field name --table survey.sav \\
      --table-id-field dist --code-labels --near-misses accept --output survey_areas.csv

\b
By coordinates; clusters outside the map are kept without an area and listed:
  smallarea survey match regions.gpkg --id-field region --table clusters.csv \\
      --longitude-field long --latitude-field lat --unmatched keep --output clusters_areas.csv"""

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

IMPUTE = """Impute the missing answers of a survey several times.

What is written has all completed tables, one below the other, numbered in the column 'imputation'. 'smallarea survey
direct' estimates each and adds to the variances what the missing answers cost (--imputation-field imputation).

\b
Income and two other answers, with areas and the design in the model:
  smallarea survey impute --table survey.csv --variable income --variable health --variable smokes \\
      --range income=0.. --kind health=ordinal --refused income=77,99 \\
      --area-field district --covariates age --weight wt --stratum region --output imputed.csv

\b
Who was asked: others stay empty, and imputed answers obey:
  smallarea survey impute --table survey.sav --variable works --variable hours \\
      --skip "hours asked if works = 1" --not-asked hours=-8 --imputations 20 --output imputed.csv

\b
Then:
  smallarea survey direct districts.gpkg --id-field CODE --table imputed.csv --imputation-field imputation \\
      --area-field district --indicator "mean(income)" --weight wt --stratum region --output direct.gpkg"""
