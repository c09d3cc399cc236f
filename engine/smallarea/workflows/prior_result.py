"""What the tasks over spatial priors return and say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smallarea.areas import AreaGraph, Areas
from smallarea.errors import PriorProblem
from smallarea.priors import SpatialPrior
from smallarea.priors.families import DISTRIBUTIONS, FAMILY_NAMES, Family

if TYPE_CHECKING:
    from smallarea.priors.fidelity.certificate_record import Certificate


# What a summary says of the record of a training.
_OF_TRAINING = ("steps", "seconds", "device", "seed", "largest_error")


@dataclass(frozen=True)
class PriorResult:
    """A spatial prior, and how far it can be trusted on a geography.

    Attributes
    ----------
    prior : SpatialPrior
        The prior.
    graph : AreaGraph
        The geography.
    areas : Areas or None
        Its polygons.
    certificate : Certificate or None
        The fidelity certificate on this geography.
    """

    prior: SpatialPrior
    graph: AreaGraph
    areas: Areas | None
    certificate: Certificate | None

    @property
    def summary(self) -> dict[str, Any]:
        """What the prior is, for how many areas, and whether it passed."""
        certified = None if self.certificate is None else self.certificate.to_json()
        return {
            **described(
                self.prior.architecture,
                self.prior.family,
                len(self.prior.ids),
                sum(weight.size for weight in self.prior.weights.values()),
                self.prior.fingerprint,
            ),
            "n_islands": len(self.graph.islands),
            "settings": {name: value for name, value in self.prior.settings.items() if value is not None},
            "training": {name: self.prior.training[name] for name in _OF_TRAINING if name in self.prior.training},
            **verdict(certified),
            **({} if self.certificate is None else _worst(self.certificate)),
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """That the gate is missed, and where; or that there is no certificate."""
        return prior_warnings(self.certificate)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the prior imitates, and what was mended on the polygons."""
        repairs = () if self.areas is None else tuple(self.areas.repairs)
        return (f"Imitates: {in_words(self.prior.family)}.", *repairs)


def described(architecture: str, family: Family, n_areas: int, n_weights: int, fingerprint: str) -> dict[str, Any]:
    """Return the lines of a summary that say what a prior is."""
    return {
        "architecture": architecture,
        "family": family.name,
        **{h.name: f"{h.lower:g} to {h.upper:g}, {h.distribution}" for h in family.hyperparameters},
        "n_areas": n_areas,
        "n_weights": n_weights,
        "serves": "any geography" if architecture == "graph-filter" else "this geography only",
        "fingerprint": fingerprint,
    }


def stored_certificate(prior: SpatialPrior) -> Certificate | None:
    """Read the certificate in a prior; None if there is none.

    Raises
    ------
    PriorProblem
        If it is malformed, or of another prior or geography.
    """
    if prior.certificate is None:
        return None
    from smallarea.priors.fidelity.certificate_record import Certificate

    found = Certificate.from_json(prior.certificate)
    of = (prior.architecture, prior.family, prior.fingerprint)
    if (found.architecture, found.family, found.fingerprint) != of:
        raise PriorProblem("The certificate in the file is that of another prior or geography. Verify the prior again.")
    return found


def verdict(certificate: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the lines of a summary that say whether a prior passed its certificate."""
    if certificate is None:
        return {"certificate": "none"}
    failures = list(certificate.get("failures", ()))
    passed = bool(certificate.get("passed", False))
    return {"certificate": "passed" if passed else "not passed", "passed": passed, "n_failures": len(failures)}


def _worst(certificate: Certificate) -> dict[str, Any]:
    """Return the largest errors over the values of the hyperparameter that the certificate looked at."""
    checks = [point.posterior.mean_max for point in certificate.points if point.posterior is not None]
    return {
        "covariance_error": max((point.frobenius for point in certificate.points), default=None),
        "posterior_difference": max(checks, default=None),
    }


def prior_warnings(certificate: Certificate | None) -> tuple[str, ...]:
    """Say loudly that a prior misses the gate of its certificate, or has none."""
    if certificate is None:
        from smallarea.priors.fidelity.gate import gate_warning

        return (str(gate_warning(None)),)
    if certificate.passed:
        return ()
    return (
        f"THIS PRIOR DOES NOT PASS ITS CERTIFICATE ({len(certificate.failures)} of its bars are missed). A fit with it "
        "is not a fit with the prior that it imitates.",
        *certificate.failures,
    )


def in_words(family: Family) -> str:
    """Return what is imitated, in words."""
    ranges = [
        f"{h.name} from {h.lower:g} to {h.upper:g}, {DISTRIBUTIONS[h.distribution]}" for h in family.hyperparameters
    ]
    return "; ".join([FAMILY_NAMES[family.name], *ranges])
