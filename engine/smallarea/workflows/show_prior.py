"""The task `show_prior`: what a prior file holds, and whether its certificate passed."""

from __future__ import annotations

import os

from smallarea.io import AtomicOutputs, check_suffix
from smallarea.priors import SpatialPrior
from smallarea.priors.files.library import resolve
from smallarea.workflows.prior_certifying import write_report
from smallarea.workflows.prior_result import PriorResult, stored_certificate
from smallarea.workflows.record import Progress, silent

PathLike = str | os.PathLike[str]


def show_prior(
    prior: PathLike | SpatialPrior,
    *,
    library: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> PriorResult:
    """Say what a prior file holds, and whether its certificate passed.

    Parameters
    ----------
    prior : path, str or SpatialPrior
        A prior file, a name in the library, or a prior; see :func:`smallarea.priors.files.library.resolve`.
    library : path, optional
        Folder of the library; that of this user by default.
    report : path, optional
        HTML report to write of the certificate in the file.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PriorResult
        The prior, the geography that it was trained for, and the certificate in its file.

    Raises
    ------
    PriorProblem
        If the prior cannot be loaded, or a report is asked for and there is no certificate.
    OutputProblem
        If the report cannot be written.
    """
    tell = progress or silent
    if report is not None:
        check_suffix(report, (".html", ".htm"), "an HTML page")
    tell(0.0, "reading the prior")
    loaded = resolve(prior, None, library)
    found = stored_certificate(loaded)
    result = PriorResult(loaded, loaded.graph, None, found)
    if report is not None:
        with AtomicOutputs() as outputs:
            tell(50.0, "writing the report")
            write_report(outputs.path(report), result)
    tell(100.0, "done")
    return result
