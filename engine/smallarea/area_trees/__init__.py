"""Fay-Herriot models whose covariates enter through a sum of regression trees (area-level BART)."""

from smallarea.area_trees.posterior import AreaTreesPosterior
from smallarea.area_trees.sampler import sample_area_trees
from smallarea.area_trees.settings import AreaTreesSettings

__all__ = ["AreaTreesPosterior", "AreaTreesSettings", "sample_area_trees"]
