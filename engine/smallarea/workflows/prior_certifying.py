"""The certificate of a prior in a workflow: computing it, its report, its layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smallarea.errors import JobProblem
from smallarea.workflows.prior_result import PriorResult
from smallarea.workflows.record import Progress

FEWEST_DRAWS = 200


def check_drawing(draws: int, seed: int) -> None:
    """Check what a job's schema checks of a job.

    Raises
    ------
    JobProblem
        If there are too few draws, or the seed is no whole number of zero or more.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < FEWEST_DRAWS:
        raise JobProblem(f"draws must be a whole number of at least {FEWEST_DRAWS}; got {draws!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise JobProblem(f"seed must be a whole number of zero or more; got {seed!r}.")


def certified(result: PriorResult, draws: int, seed: int, tell: Progress) -> PriorResult:
    """Compute the certificate on the geography of a result.

    Parameters
    ----------
    result : PriorResult
        A prior and a geography.
    draws, seed : int
        See :func:`smallarea.priors.certificate.certify`.
    tell : callable
        Progress of this part, 0 to 100.

    Returns
    -------
    PriorResult
        With the certificate, also in the prior itself; one that transfers is then a prior of this geography.
    """
    from smallarea.priors.certificate import certify

    found = certify(result.prior, result.graph, result.areas, seed=seed, draws=draws, progress=tell)
    # The outputs of a network are in the order of its own areas, and only a prior that transfers has no such order.
    home = {"ids": result.graph.ids, "edges": result.graph.edges} if result.prior.transfers else {}
    prior = replace(result.prior, certificate=found.to_json(), **home)
    return replace(result, prior=prior, certificate=found)


def write_report(path: Path, result: PriorResult) -> None:
    """Write the report of the certificate; see :func:`smallarea.report.prior_page.write_prior_report`."""
    from smallarea.report.prior_page import write_prior_report

    write_prior_report(path, result.prior, result.certificate, result.areas)
