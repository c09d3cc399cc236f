"""Estimates, reliability and posterior draws: what comes out of a fit."""

from smallarea.results.fit_result import FitResult

__all__ = ["FitResult"]
