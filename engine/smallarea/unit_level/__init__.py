"""Models of survey clusters with a field in space: their data, fields, baselines, predictions and areas."""

from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.posterior import BartsimpPosterior, Prediction
from smallarea.unit_level.sampler import sample_bartsimp
from smallarea.unit_level.settings import BartsimpSettings, paper_settings

__all__ = ["BartsimpPosterior", "BartsimpSettings", "Clusters", "Prediction", "paper_settings", "sample_bartsimp"]
