"""Help texts of the commands for survey clusters and surfaces."""

FIT = """Fit regression trees plus a field in space to survey clusters (BARTSIMP).

The expected outcome at a place is a sum of regression trees of the covariates plus a Matérn field, which takes up what
neighbouring clusters have in common beyond the covariates. Covariates are read from rasters of any reference system and
resolution, on the grid of the first one; predictions read the same cells.

The outcome is taken as normal unless --likelihood says otherwise: binomial for counts of those who have something, out
of --trials-field, and negative_binomial for counts at an --exposure-field. Predictions are then shares or rates.

\b
Clusters in a table, three rasters, and the posterior for predictions:
  smallarea bartsimp fit --table clusters.csv --longitude-field long --latitude-field lat \\
      --working-crs EPSG:32736 --outcome-field y --raster evi.tif --raster rain.tif \\
      --raster landcover.tif --categorical landcover --missing nearest \\
      --posterior posterior.npz --report fit.html

\b
How many of those examined have something:
  smallarea bartsimp fit --table clusters.gpkg --outcome-field y --trials-field n \\
      --likelihood binomial --raster evi.tif --posterior posterior.npz --report fit.html

\b
Clusters of DHS, whose places were displaced: the fit learns which candidate places are likely:
  smallarea bartsimp fit --table clusters.gpkg --outcome-field y --raster lights.tif \\
      --displaced --urban-field URBAN_RURA --stay-within districts.gpkg --population people.tif \\
      --positions places.gpkg --posterior posterior.npz

\b
Do flexible covariates pay? Cross-validation against trees alone and linear models with a field:
  smallarea bartsimp fit --table clusters.gpkg --outcome-field y --raster evi.tif \\
      --folds 10 --fold-kind blocks --report fit.html"""

PREDICT = """Predict a surface from a posterior of BARTSIMP, and average its draws over areas.

The rasters must have all bands that the model was fitted with, of the same names. The mean of an area is taken of each
draw, weighted by --population (or the cells' size), and only then summarised: so its interval knows how the errors of
cells go together.

\b
A surface, and the estimates of districts:
  smallarea bartsimp predict districts.gpkg --id-field CODE --posterior posterior.npz \\
      --raster evi.tif --raster rain.tif --raster landcover.tif --population people.tif \\
      --surface surface.tif --output districts_estimates.gpkg --report surface.html

\b
The surface alone, with the probability that a share exceeds 0.3:
  smallarea bartsimp predict --posterior posterior.npz --raster covariates.tif \\
      --threshold 0.3 --surface surface.tif"""

DEPENDENCE = """Show what trees of BARTSIMP say of each covariate, and which act together.

Partial dependence is the expected outcome if all clusters had a value of a covariate and kept their others. Accumulated
local effects compare clusters that are alike, and so are right where covariates go together. Both are of each draw, so
their intervals are those of the posterior. For pairs, H says how much of their joint effect is no sum of two.

\b
All covariates, with a report:
  smallarea bartsimp dependence --posterior posterior.npz --report effects.html

\b
Two covariates, averaged over where people live:
  smallarea bartsimp dependence --posterior posterior.npz --covariates evi --covariates rain \\
      --raster evi.tif --raster rain.tif --population people.tif --output effects.csv"""

AGGREGATE = """Average draws of a surface over areas of one or several levels.

The mean of an area is taken of each draw, weighted by --population (or the cells' size), and only then summarised. All
levels get the same draws, so districts and their regions agree. With --strata-raster and --totals, cells are weighted
so that the strata of each area of LAYER, such as urban and rural, have the people that a census counted.

\b
Districts and regions:
  smallarea bartsimp aggregate districts.gpkg --id-field CODE --more-areas regions.gpkg \\
      --more-id-fields REGION --posterior posterior.npz --raster evi.tif --raster rain.tif \\
      --population people.tif --output estimates.gpkg --area-draws draws.nc --report areas.html

\b
With the urban shares of a census, a table with the columns CODE, stratum and total:
  smallarea bartsimp aggregate districts.gpkg --id-field CODE --posterior posterior.npz \\
      --raster evi.tif --raster rain.tif --population people.tif --strata-raster urban.tif \\
      --totals census.csv --total-kind shares --output estimates.gpkg"""
