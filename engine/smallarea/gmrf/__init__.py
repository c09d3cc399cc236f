"""Sparse precision matrices of Gaussian Markov random fields and their factors.

Models ask a :class:`Precision` for its entries on a fixed pattern, a :class:`BatchFactoriser` for factors of many such
matrices at once (a :class:`Factoriser` for one), and never see which backend does the work.
"""

from smallarea.gmrf.batch import BatchFactor, BatchFactoriser, batch_factoriser
from smallarea.gmrf.factor import Factor, Factoriser, factoriser
from smallarea.gmrf.pattern import SymmetricPattern
from smallarea.gmrf.precision import CarPrecision, IcarPrecision, LerouxPrecision, Precision
from smallarea.gmrf.sar import SarPrecision

__all__ = [
    "BatchFactor",
    "BatchFactoriser",
    "CarPrecision",
    "Factor",
    "Factoriser",
    "IcarPrecision",
    "LerouxPrecision",
    "Precision",
    "SarPrecision",
    "SymmetricPattern",
    "batch_factoriser",
    "factoriser",
]
