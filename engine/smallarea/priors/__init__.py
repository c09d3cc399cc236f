"""Learned spatial priors: what they imitate, how they are trained, proved, kept and decoded.

A :class:`Family` says which Gaussian field is imitated, an :class:`ExactPrior` draws it exactly on one geography, a
:class:`SpatialPrior` is what training made of it, and :func:`bind` turns that into a pure JAX function on a graph.
"""

from smallarea.priors.decoders import Decoder, bind
from smallarea.priors.exact import ExactPrior, exact_prior
from smallarea.priors.families import Family, Hyperparameter, family
from smallarea.priors.prior import SpatialPrior

__all__ = ["Decoder", "ExactPrior", "Family", "Hyperparameter", "SpatialPrior", "bind", "exact_prior", "family"]
