"""Parameters of the tasks over learned spatial priors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, OUT, SEED, Contiguity, IslandRule, ReadingPolygons, TaskParameters

Architecture = Literal["graph-filter", "decoder", "beta-vae"]
FamilyName = Literal["car", "leroux", "bym2", "icar", "gp"]
_PRIOR = "The prior: the path of a prior file, or a name in the library or how it begins, for example graph-filter."


class Library(TaskParameters):
    """Where the library is."""

    library: str | None = Field(
        None, description="Folder of the library of priors; that of this user if not given.", json_schema_extra=IN
    )


class Geography(ReadingPolygons):
    """Areas and their neighbours, from polygons or from a saved graph."""

    areas: str | None = Field(
        None, description="Polygon layer: the path of any vector file that GDAL reads.", json_schema_extra=IN
    )
    graph: str | None = Field(
        None,
        description="Adjacency graph that 'build_adjacency' saved; built from the polygons if not given.",
        json_schema_extra=IN,
    )
    contiguity: Contiguity = Field(
        "queen",
        description="Queen: areas that share a point are neighbours. Rook: a boundary of some length.",
    )
    islands: IslandRule = Field(
        "own_component",
        description="Areas without a neighbour: keep each as its own component, link it to the nearest area, or stop.",
    )


class Certifying(Geography, Library):
    """How a fidelity certificate is computed."""

    draws: int = Field(
        4096, ge=200, le=1_000_000, description="Draws of the prior that the certificate compares with exact ones."
    )
    seed: int = SEED
    report: str | None = Field(
        None, description="HTML report to write: the certificate with its pictures.", json_schema_extra=OUT
    )


class TrainPrior(Certifying):
    """Train a spatial prior for a geography and certify it."""

    architecture: Architecture = Field(
        "graph-filter",
        description="graph-filter: a polynomial of the graph beside its smoothest modes; no training to speak of, "
        "serves any geography. decoder: a network that turns white noise into fields given rho. beta-vae: a "
        "variational autoencoder with rho integrated out.",
    )
    family: FamilyName = Field(
        "car",
        description="The prior to imitate: proper CAR, Leroux, BYM2, intrinsic CAR, or a Gaussian process averaged "
        "over the polygons (gp).",
    )
    lower: float | None = Field(
        None,
        description="Lower end of the hyperparameter's range: of rho 0 if not given, of the range of a Gaussian "
        "process 0.05 of the map's diameter.",
    )
    upper: float | None = Field(
        None,
        description="Upper end of the hyperparameter's range: of rho 0.99 if not given (graph-filter: 0.9999), of the "
        "range of a Gaussian process 0.5 of the map's diameter.",
    )
    distribution: Literal["uniform", "closeness"] | None = Field(
        None,
        description="How training draws the hyperparameter: uniform, or closeness (uniform in -log(1 - rho), for "
        "ranges that reach beyond 0.99). Uniform if not given.",
    )
    degree: int | None = Field(
        None, ge=1, le=512, description="graph-filter: degree of the polynomial; that of the family if not given."
    )
    cut: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="graph-filter: eigenvalues above this belong to modes that are taken exactly; that of the family "
        "if not given.",
    )
    terms: int | None = Field(None, ge=1, le=100, description="decoder: number of matrices that rho mixes.")
    latent: int | None = Field(
        None, ge=1, description="beta-vae: number of latent variables; the number of areas if not given."
    )
    width: int | None = Field(
        None, ge=1, description="beta-vae: width of the hidden layers; the number of areas if not given."
    )
    beta: float | None = Field(
        None,
        gt=0.0,
        description="beta-vae: weight of the divergence in the loss; one over the number of latent variables if not "
        "given.",
    )
    cure: Literal["close", "aggregate", "none"] | None = Field(
        None,
        description="beta-vae: what is done about latent variables that are not standard normal. none: nothing, as "
        "published; aggregate: decode from the distribution fitted to them; close: the same, and make the covariance "
        "that of the exact prior. close if not given.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="decoder and beta-vae: steps of training at most; those of the architecture if not given.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="decoder and beta-vae: where training runs; auto takes a GPU if there is one."
    )
    checkpoint: str | None = Field(
        None,
        description="decoder and beta-vae: file to keep the state of the training in; a run that finds it there goes "
        "on from it and ends as if it had not been interrupted. It is removed at the end.",
        json_schema_extra=OUT,
    )
    certify: bool = Field(
        True, description="Compute the fidelity certificate. A prior without one is not to be trusted."
    )
    output: str | None = Field(None, description="Prior file (.safetensors) to write.", json_schema_extra=OUT)
    keep: bool = Field(False, description="Keep the prior in the library.")


class VerifyPrior(Certifying):
    """Compute the fidelity certificate of a prior on a geography."""

    prior: str = Field(description=_PRIOR, json_schema_extra={"path": "input_or_name"})
    output: str | None = Field(
        None,
        description="GeoPackage to write: the polygons with the fidelity of the prior in each.",
        json_schema_extra=OUT,
    )
    certified: str | None = Field(
        None,
        description="Prior file (.safetensors) to write: a copy for this geography with the new certificate.",
        json_schema_extra=OUT,
    )


class ShowPrior(Library):
    """Say what a prior file holds, and whether its certificate passed."""

    prior: str = Field(description=_PRIOR, json_schema_extra={"path": "input_or_name"})
    report: str | None = Field(
        None, description="HTML report to write of the certificate in the file.", json_schema_extra=OUT
    )


class ListPriors(Geography, Library):
    """List the priors in the library; with a geography, those that serve it."""

    csv: str | None = Field(None, description="CSV file to write the list to.", json_schema_extra=OUT)


class ExportPrior(Library):
    """Copy a prior out of the library, checked byte by byte."""

    prior: str = Field(description=_PRIOR, json_schema_extra={"path": "input_or_name"})
    output: str = Field(description="Prior file (.safetensors) to write.", json_schema_extra=OUT)
