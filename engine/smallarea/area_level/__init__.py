"""The Fay-Herriot family: specification, data, frequentist and exact Bayesian fits."""

from smallarea.area_level.build import build_model
from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.data import AreaLevelData, StandardisedData, area_level_data, standardise
from smallarea.area_level.eblup import Eblup, fit_eblup
from smallarea.area_level.posterior import Posterior, sample_posterior
from smallarea.area_level.priors import (
    LKJ,
    PC,
    Beta,
    Exponential,
    Fixed,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Normal,
    Prior,
    Uniform,
    parse_prior,
)
from smallarea.area_level.sar import SarEblup, fit_sar, fit_sar_eblup
from smallarea.area_level.sar_bootstrap import SarBootstrap, bootstrap_sar
from smallarea.area_level.space_time import (
    SpaceTimeBootstrap,
    SpaceTimeEblup,
    bootstrap_space_time,
    fit_space_time,
)
from smallarea.area_level.space_time_specification import SpaceTimeSpecification, specify_space_time
from smallarea.area_level.specification import AreaLevelSpecification, specify
from smallarea.area_level.stacked import StackedData, stack, stack_periods

__all__ = [
    "LKJ",
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
    "Normal",
    "Posterior",
    "Prior",
    "SarBootstrap",
    "SarEblup",
    "SpaceTimeBootstrap",
    "SpaceTimeEblup",
    "SpaceTimeSpecification",
    "StackedData",
    "StandardisedData",
    "Uniform",
    "area_level_data",
    "bootstrap_sar",
    "bootstrap_space_time",
    "build_model",
    "fit_eblup",
    "fit_sar",
    "fit_sar_eblup",
    "fit_space_time",
    "parse_prior",
    "sample_posterior",
    "specify",
    "specify_space_time",
    "stack",
    "stack_periods",
    "standardise",
]
