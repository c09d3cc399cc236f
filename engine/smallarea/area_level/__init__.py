"""The Fay-Herriot family: specification, data, frequentist and exact Bayesian fits."""

from smallarea.area_level.collapsed import CollapsedModel, spatial_field
from smallarea.area_level.data import AreaLevelData, StandardisedData, area_level_data, standardise
from smallarea.area_level.eblup import Eblup, fit_eblup
from smallarea.area_level.posterior import Posterior, sample_posterior
from smallarea.area_level.priors import (
    PC,
    Beta,
    Exponential,
    Fixed,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Prior,
    Uniform,
    parse_prior,
)
from smallarea.area_level.specification import AreaLevelSpecification, specify

__all__ = [
    "PC",
    "AreaLevelData",
    "AreaLevelSpecification",
    "Beta",
    "CollapsedModel",
    "Eblup",
    "Exponential",
    "Fixed",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Posterior",
    "Prior",
    "StandardisedData",
    "Uniform",
    "area_level_data",
    "fit_eblup",
    "parse_prior",
    "sample_posterior",
    "spatial_field",
    "specify",
    "standardise",
]
