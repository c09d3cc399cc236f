"""Writing what a fit was asked for: map, report, table, draws."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult

PathLike = str | os.PathLike[str]


def write_outputs(
    result: FitResult,
    output: PathLike | None,
    report: PathLike | None,
    csv: PathLike | None,
    excel: PathLike | None,
    posterior: PathLike | None,
    tell: Callable[[float, str], None],
) -> dict[str, str]:
    """Write what was asked for, all files or none.

    Parameters
    ----------
    result : FitResult
        The fit.
    output, report, csv, excel, posterior : path or None
        Where to write; None leaves it out.
    tell : callable
        ``tell(percent, text)``; it may raise to cancel, and then nothing has been written.

    Returns
    -------
    dict
        Fields of the map that had to be renamed, old name to new.

    Raises
    ------
    OutputProblem
        If a file cannot be written.
    """
    from smallarea.io import AtomicOutputs, add_layer
    from smallarea.io.styles import estimates_styles, store_styles

    renamed: dict[str, str] = {}
    with AtomicOutputs() as outputs:
        if output is not None:
            tell(5.0, "writing the map")
            path = outputs.path(output)
            layer = result.layer()
            renamed = add_layer(layer, path, "estimates")
            responses = result.model["direct"]
            styles = estimates_styles(
                layer.rename(columns=renamed),
                responses=responses,
                fields=renamed,
                title=", ".join(responses),
                reliability=result.reliability,
            )
            store_styles(path, "estimates", styles)
        if csv is not None:
            result.estimates.to_csv(outputs.path(csv), index=False)
        if excel is not None:
            from smallarea.results.excel import write_fit_workbook

            write_fit_workbook(result, outputs.path(excel))
        if posterior is not None and result.posterior is not None:
            tell(30.0, "writing the posterior draws")
            result.posterior.save(outputs.path(posterior))
        if report is not None:
            tell(50.0, "writing the report")
            from smallarea.report import write_report

            write_report(result.for_report(), str(outputs.path(report)))
        # The last chance to cancel is before the files are put in place: who cancels must find nothing written.
        tell(100.0, "done")
    return renamed
