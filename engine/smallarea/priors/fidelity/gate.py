"""The bars that a learned prior has to clear, and what is said of one that does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smallarea.priors.fidelity.grid_point import GridPoint

# A class of areas with fewer than this has a noisy mean ratio.
SMALLEST_CLASS = 5
# Failures that a warning spells out.
_SPELLED_OUT = 3


@dataclass(frozen=True)
class Gate:
    """Bars of the fidelity gate, held against estimates plus one Monte Carlo standard error.

    Attributes
    ----------
    frobenius : float
        Relative Frobenius error of the covariance.
    neighbour : float
        Relative error of the mean correlation of neighbours.
    variance : float
        How far the mean variance ratio of all areas, or of those with a given number of neighbours, may be from 1.
    srmr : float
        Standardised root mean square residual of the correlations.
    offset : float
        Mean of the prior in typical SDs.
    p : float
        Smallest p-value of a two-sample test, divided by the number of values on the grid.
    posterior_mean : float
        Largest difference of posterior means in posterior SDs.
    posterior_sd : float
        How far the ratio of posterior SDs may be from 1.
    """

    frobenius: float = 0.10
    neighbour: float = 0.05
    variance: float = 0.10
    srmr: float = 0.05
    offset: float = 0.05
    p: float = 0.01
    posterior_mean: float = 0.20
    posterior_sd: float = 0.10

    def to_json(self) -> dict[str, float]:
        """Return the bars by name."""
        return asdict(self)


GATE = Gate()


def failures_at(point: GridPoint, where: str, values: int) -> list[str]:
    """Say which bars are missed at one set of hyperparameters.

    Parameters
    ----------
    point : GridPoint
        What was measured.
    where : str
        For example ``rho = 0.9``; empty if there is nothing to name.
    values : int
        How many values the grid has.

    Returns
    -------
    list of str
        A sentence for each bar that is missed; empty if all are cleared.
    """
    at = f"At {where}, the" if where else "The"
    found = []

    def hold(size: float, bar: float, text: Callable[[str, str], str]) -> None:
        # What is not a number clears no bar.
        if not size <= bar:
            found.append(text(_number(size), f"{bar:g}"))

    hold(
        point.frobenius + point.frobenius_se,
        GATE.frobenius,
        lambda size, bar: f"{at} covariance is off by {size} in relative Frobenius norm (bar {bar}).",
    )
    hold(
        point.neighbour_error,
        GATE.neighbour,
        lambda size, bar: (
            f"{at} mean correlation of neighbours is {_number(point.neighbour_learned)} and should be "
            f"{_number(point.neighbour_exact)}, an error of {size} (bar {bar})."
        ),
    )
    hold(
        point.srmr + point.srmr_se,
        GATE.srmr,
        lambda size, bar: f"{at} residual correlations have a root mean square of {size} (bar {bar}).",
    )
    worst, areas = _worst_ratio(point)
    hold(
        abs(worst - 1.0),
        GATE.variance,
        lambda _, bar: f"{at} variance {areas} is {_number(worst)} times what it should be (bar 1 ± {bar}).",
    )
    hold(
        point.offset,
        GATE.offset,
        lambda size, bar: f"{at} prior is not centred: its mean is {size} SDs from 0 (bar {bar}).",
    )
    for p, name in ((point.mmd_p, "joint distribution"), (point.contrast_p, "distribution of neighbours' differences")):
        if not p >= GATE.p / values:
            found.append(f"{at} {name} differs from the exact one (p = {_number(p)}, bar {GATE.p / values:.2g}).")
    return [*found, *_posterior_failures(point, at)]


def _posterior_failures(point: GridPoint, at: str) -> list[str]:
    check = point.posterior
    if check is None:
        return []
    found = []
    if not check.mean_max <= GATE.posterior_mean:
        found.append(
            f"{at} posterior mean of an area differs by {_number(check.mean_max)} posterior SDs from the exact one "
            f"(bar {GATE.posterior_mean:g})."
        )
    worst = max(check.sd_low, check.sd_high, key=lambda ratio: abs(math.log(ratio)) if ratio > 0.0 else math.inf)
    if not abs(worst - 1.0) <= GATE.posterior_sd:
        found.append(
            f"{at} posterior SD of an area is {_number(worst)} times the exact one (bar 1 ± {GATE.posterior_sd:g})."
        )
    return found


def _worst_ratio(point: GridPoint) -> tuple[float, str]:
    """Return the mean variance ratio furthest from 1, and whose it is."""
    found = [(point.variance_mean, "of the areas")]
    found += [
        (one.ratio, f"of areas with {one.degree} neighbour{'' if one.degree == 1 else 's'}")
        for one in point.by_degree
        if one.areas >= SMALLEST_CLASS
    ]
    return max(found, key=lambda one: abs(one[0] - 1.0))


def _number(x: float) -> str:
    return f"{x:.3g}"


def remedy(architecture: str) -> str:
    """Say what helps a prior that does not pass.

    Parameters
    ----------
    architecture : str
        A key of ``ARCHITECTURES``.
    """
    if architecture == "graph-filter":
        return "Raise its degree, or lower its cut so that more of the smooth modes are exact; or fit the exact prior."
    return "Train it longer, take the architecture graph-filter, or fit the exact prior."


def gate_warning(
    certificate: Mapping[str, Any] | None, values: Sequence[float] | None = None, fingerprint: str | None = None
) -> str | None:
    """Return the warning that a fit with this prior must show.

    Parameters
    ----------
    certificate : mapping or None
        What :meth:`Certificate.to_json` returned, as it is stored in a prior.
    values : sequence of float, optional
        Values of the hyperparameter that the fit found plausible, for example the ends of an interval.
    fingerprint : str, optional
        Of the geography of the fit.

    Returns
    -------
    str or None
        None if the prior was certified here, clears every bar, and was certified over the values.

    Raises
    ------
    PriorProblem
        If the certificate is malformed.
    """
    from smallarea.priors.fidelity.certificate_record import Certificate

    if certificate is None:
        return (
            "The learned prior has no fidelity certificate: nothing says that it is the prior it stands for. Verify it."
        )
    read = Certificate.from_json(certificate)
    said = []
    if read.failures:
        more = len(read.failures) - _SPELLED_OUT
        said.append(
            "The learned prior does not pass its fidelity gate; results may differ from those under the exact prior. "
            + " ".join(read.failures[:_SPELLED_OUT])
            + (f" There are {more} more failures in its certificate." if more > 0 else "")
            + f" {remedy(read.architecture)}"
        )
    if fingerprint is not None and fingerprint != read.fingerprint:
        said.append("The learned prior was certified on another geography. Verify it on this one.")
    span = [point.value for point in read.points if point.value is not None]
    outside = [v for v in values or () if span and not min(span) <= v <= max(span)]
    if outside:
        said.append(
            f"The fit uses {read.parameter} = {_number(outside[0])}, and the learned prior is certified from "
            f"{_number(min(span))} to {_number(max(span))} only."
        )
    return " ".join(said) or None
