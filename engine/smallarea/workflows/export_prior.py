"""The task `export_prior`: a prior out of the library."""

from __future__ import annotations

import os

from smallarea.io import AtomicOutputs, check_suffix
from smallarea.priors import SpatialPrior
from smallarea.priors.files.library import resolve
from smallarea.priors.files.prior_file import SUFFIX, write_prior
from smallarea.workflows.prior_result import PriorResult, stored_certificate
from smallarea.workflows.record import Progress, silent

PathLike = str | os.PathLike[str]


def export_prior(
    prior: PathLike | SpatialPrior,
    output: PathLike,
    *,
    library: PathLike | None = None,
    progress: Progress | None = None,
) -> PriorResult:
    """Copy a prior out of the library, checked byte by byte.

    Parameters
    ----------
    prior : path, str or SpatialPrior
        A name in the library, a prior file, or a prior; see :func:`smallarea.priors.files.library.resolve`.
    output : path
        Prior file to write.
    library : path, optional
        Folder of the library; that of this user by default.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PriorResult
        The prior.

    Raises
    ------
    PriorProblem
        If the prior cannot be loaded.
    OutputProblem
        If the file cannot be written.
    """
    tell = progress or silent
    check_suffix(output, (SUFFIX,), "a spatial prior")
    with AtomicOutputs() as outputs:
        path = outputs.path(output)
        tell(0.0, "reading the prior")
        loaded = resolve(prior, None, library)
        tell(50.0, "writing the prior")
        write_prior(path, loaded)
    tell(100.0, "done")
    return PriorResult(loaded, loaded.graph, None, stored_certificate(loaded))
