"""Parameters of the tasks `fit_bartsimp` and `predict_surface`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, LEVEL, OUT, SEED, FieldNames, Probability, ReadingPolygons
from smallarea.jobs.schema_survey_table import ReadingTable

MissingCovariates = Literal["error", "drop", "nearest"]
_RASTERS: dict[str, Any] = {"path": "input", "metavar": "FILE"}


class FitBartsimp(ReadingTable):
    """Fit regression trees plus a Matérn field to survey clusters (BARTSIMP), and keep the posterior."""

    table: str = Field(
        description="Observations with their places, one row each: a point layer, or a table with coordinates.",
        json_schema_extra=IN,
    )
    longitude_field: str | None = Field(
        None, description="Field of the table with longitudes (or eastings); a point layer needs none."
    )
    latitude_field: str | None = Field(
        None, description="Field of the table with latitudes (or northings); a point layer needs none."
    )
    point_crs: str = Field(
        "EPSG:4326",
        description="Reference system of longitude_field and latitude_field, or of a point layer that has none.",
    )
    working_crs: str | None = Field(
        None,
        description="Projected reference system in which distances are measured, for example EPSG:32736. If not given, "
        "that of the points; degrees are refused, and the message names a projection that fits.",
    )
    outcome_field: str = Field(description="Field with the outcome. With trials_field, how many of them count.")
    trials_field: str | None = Field(
        None,
        description="Field with how many were examined, where outcome_field counts those who have something; "
        "predictions are then shares. With the likelihood binomial these are its trials; with normal, empirical logits "
        "are fitted.",
    )
    likelihood: Literal["normal", "binomial", "negative_binomial"] = Field(
        "normal",
        description="Of the outcome: normal; binomial, for successes of trials_field (0 or 1 in each row without it); "
        "or negative_binomial, for counts at an exposure. Of the latter two, predictions are shares and rates.",
    )
    exposure_field: str | None = Field(
        None, description="Field with the exposure of negative_binomial counts, such as person-years; 1 if not given."
    )
    cluster_field: str | None = Field(
        None, description="Field with the cluster of each row; rows at the same place are a cluster if not given."
    )
    stratum_field: str | None = Field(
        None, description="Field with the stratum of each cluster, over which folds are spread evenly."
    )
    rasters: FieldNames = Field(
        default_factory=list,
        description="Covariate raster of any reference system, resolution and extent. The first one's cells are the "
        "grid on which all are read, here and for predictions.",
        json_schema_extra=_RASTERS,
    )
    bands: FieldNames = Field(
        default_factory=list,
        description="Names of the bands to use: their descriptions, or the raster's name (with _1, _2, ... if it has "
        "several without descriptions); all if none is named.",
        json_schema_extra={"metavar": "BAND"},
    )
    categorical: FieldNames = Field(
        default_factory=list,
        description="Bands whose numbers are codes, such as land cover; each code becomes a covariate of its own.",
        json_schema_extra={"metavar": "BAND"},
    )
    covariates: FieldNames = Field(
        default_factory=list,
        description="Fields of the table with more covariates, equal within a cluster. A surface can be predicted only "
        "with rasters whose bands have the same names.",
    )
    cell: float | None = Field(
        None,
        gt=0.0,
        description="Side of the grid's cells, in the unit of the first raster; its own cells if not given.",
    )
    missing: MissingCovariates = Field(
        "error",
        description="Points whose cell lacks a covariate: stop, leave them out, or take the nearest cell within two "
        "cells that has all. Rows without an outcome or a place are left out too unless this is error.",
    )
    displaced: bool = Field(
        False,
        description="The places of clusters were displaced before they were published, as those of DHS are. Covariates "
        "of rasters are then read at candidate places of each cluster, and the fit learns which are likely.",
    )
    urban_field: str | None = Field(
        None,
        description="Displaced clusters: field that says which are urban (U, urban, 1) and which rural (R, rural, 0 or "
        "2). All are rural if not given.",
    )
    urban_distance: float = Field(
        2000.0, gt=0.0, description="Displaced clusters: farthest displacement of an urban one, in metres."
    )
    rural_distance: float = Field(
        5000.0, gt=0.0, description="Displaced clusters: farthest displacement of a rural one, in metres."
    )
    far_share: float = Field(
        0.01, ge=0.0, le=1.0, description="Displaced clusters: share of the rural ones that go up to far_distance."
    )
    far_distance: float = Field(
        10_000.0,
        gt=0.0,
        description="Displaced clusters: farthest displacement of the share far_share of the rural ones, in metres.",
    )
    stay_within: str | None = Field(
        None,
        description="Displaced clusters: polygon layer whose polygons no cluster left when it was displaced, such as "
        "districts.",
        json_schema_extra=IN,
    )
    population: str | None = Field(
        None,
        description="Displaced clusters: raster of people; places are as likely as it has people there. Without it "
        "all cells are alike.",
        json_schema_extra=IN,
    )
    population_band: str | None = Field(
        None, description="Displaced clusters: name of the population's band, where its raster has several."
    )
    candidates: int = Field(
        20, ge=1, le=1000, description="Displaced clusters: most candidate places of each, at most one a cell."
    )
    model: Literal["bartsimp", "bart"] = Field(
        "bartsimp", description="Trees plus a field in space (bartsimp), or trees alone (bart)."
    )
    preset: Literal["default", "paper"] = Field(
        "default",
        description="Prior of the field and cuts of covariates: weakly informative, from the size of the region and "
        "the spread of the outcome, with up to 1,000 cuts (default), or with medians from a first fit without "
        "covariates, and 100 cuts (paper).",
    )
    trees: int = Field(20, ge=1, le=500, description="Number of trees.")
    leaf_spread: Literal["observations", "clusters"] = Field(
        "observations",
        description="Scale of the trees' prior: the range of single observations, or of cluster means, which is "
        "narrower where clusters hold many observations.",
    )
    rank: int | None = Field(
        None,
        ge=1,
        description="Eigenvectors of a reduced field, for many clusters; the exact field if not given.",
    )
    mesh_nodes: int | None = Field(
        None,
        ge=50,
        le=4000,
        description="Nodes of a mesh on which the field lives, for thousands of clusters; 1000 is a good start. The "
        "exact field if not given.",
    )
    chains: int = Field(4, ge=2, le=64, description="Chains; at least two, so that they can be compared.")
    warmup: int = Field(2000, ge=10, description="Sweeps of each chain that are thrown away.")
    draws: int = Field(2000, ge=10, le=100_000, description="Sweeps of each chain that are kept.")
    seed: int = SEED
    level: Probability = LEVEL
    folds: int = Field(
        0,
        ge=0,
        le=100,
        description="Folds of a cross-validation against trees alone and linear models with a field; 0 for none. Each "
        "fold takes about as long as the fit.",
    )
    fold_kind: Literal["clusters", "blocks"] = Field(
        "clusters", description="What a fold leaves out: clusters here and there, or whole regions."
    )
    posterior: str | None = Field(
        None,
        description="Posterior to write (.npz), from which surfaces are predicted.",
        json_schema_extra=OUT,
    )
    csv: str | None = Field(
        None, description="CSV file to write the hyperparameters and their diagnostics to.", json_schema_extra=OUT
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: hyperparameters, covariates, clusters, cross-validation, settings.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(None, description="HTML report to write.", json_schema_extra=OUT)
    positions: str | None = Field(
        None,
        description="Candidate places of displaced clusters to write, with prior and posterior probabilities: points "
        "(.gpkg) or a table (.csv, .parquet).",
        json_schema_extra=OUT,
    )
    checkpoint: str | None = Field(
        None,
        description="File in which the chains are saved on the way. If it is there from a run that was stopped, the "
        "run goes on from it.",
        json_schema_extra=OUT,
    )


class PredictSurface(ReadingPolygons):
    """Predict a surface from a posterior of BARTSIMP, and average its draws over areas."""

    areas: str | None = Field(
        None,
        description="Polygon layer to average over: the path of any vector file that GDAL reads. The surface is then "
        "predicted in the polygons only.",
        json_schema_extra=IN,
    )
    posterior: str = Field(description="Posterior that fit_bartsimp has written (.npz).", json_schema_extra=IN)
    rasters: FieldNames = Field(
        min_length=1,
        description="Covariate raster; together they must have all bands that the model was fitted with.",
        json_schema_extra=_RASTERS,
    )
    population: str | None = Field(
        None,
        description="Raster of people, whose cells weight the mean of an area; cells count by their size if not given.",
        json_schema_extra=IN,
    )
    population_band: str | None = Field(
        None, description="Name of the population's band, where its raster has several."
    )
    cell: float | None = Field(
        None,
        gt=0.0,
        description="Side of the cells, in the unit of the first raster, for a model fitted without rasters; else the "
        "grid is that of the fit.",
    )
    split: Literal["coverage", "centre"] = Field(
        "coverage", description="Cells on a border: shared by the covered part, or given to the area of their centre."
    )
    draws: int = Field(500, ge=10, description="Draws to use at most, evenly chosen.")
    seed: int = SEED
    level: Probability = LEVEL
    thresholds: list[float] = Field(
        default_factory=list,
        description="Values whose probability of being exceeded is mapped.",
        json_schema_extra={"metavar": "NUMBER"},
    )
    surface: str | None = Field(
        None,
        description="GeoTIFF to write: mean, standard deviation, quantiles and probabilities of exceedance.",
        json_schema_extra=OUT,
    )
    output: str | None = Field(
        None, description="GeoPackage to write: the areas with their estimates, and styles.", json_schema_extra=OUT
    )
    csv: str | None = Field(None, description="CSV file to write the estimates table to.", json_schema_extra=OUT)
    area_draws: str | None = Field(
        None,
        description="Draws of the areas to write, for exceedance probabilities, ranks and benchmarking.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None,
        description="HTML report to write: maps of the surface, how far cells are from clusters, and the areas.",
        json_schema_extra=OUT,
    )
