"""Sums of regression trees whose errors may be correlated: cuts, the prior, moves, the compiled kernel, the trace.

The kernel knows a covariance of the errors only as ``Lambda = c N + V diag(w) V'`` (a diagonal and a product of tall
matrices), so the same code serves a Gaussian field that is integrated out, one that is not, and no field at all.
"""

from smallarea.trees.cuts import Cuts
from smallarea.trees.specification import TreePrior
from smallarea.trees.trace import ForestTrace

__all__ = ["Cuts", "ForestTrace", "TreePrior"]
