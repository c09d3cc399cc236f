"""Sparse precision matrices of Gaussian Markov random fields and their factors.

Models ask a :class:`Precision` for its entries on a fixed pattern, a :class:`Factoriser` for factors of such matrices,
and never see which backend does the work.
"""

from smallarea.gmrf.factor import Factor, Factoriser, factoriser
from smallarea.gmrf.pattern import SymmetricPattern
from smallarea.gmrf.precision import CarPrecision, LerouxPrecision, Precision
from smallarea.gmrf.sar import SarPrecision

__all__ = [
    "CarPrecision",
    "Factor",
    "Factoriser",
    "LerouxPrecision",
    "Precision",
    "SarPrecision",
    "SymmetricPattern",
    "factoriser",
]
