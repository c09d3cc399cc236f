"""Errors, one class per remedy: catch by what has to be mended.

Every message says what is wrong, where (the first few area ids, rows or fields, and how many in all) and what to do.
Each class has its own process exit code, so that a script can tell a bad map from a bad table.
"""

from __future__ import annotations

from collections.abc import Iterable


class SmallareaError(Exception):
    """Base of every error that smallarea raises on purpose.

    Attributes
    ----------
    family : str
        The class name, as it appears in the JSON error event.
    exit_code : int
        What the command line exits with.
    """

    exit_code = 1

    @property
    def family(self) -> str:
        """Name of the error family."""
        return type(self).__name__


class JobProblem(SmallareaError):
    """The job description or the command line is wrong (unknown name, wrong type, missing value)."""

    exit_code = 2


class GeometryProblem(SmallareaError):
    """Polygons cannot be used as they are: mend the map, or ask for a repair."""

    exit_code = 10


class TableProblem(SmallareaError):
    """A table does not fit: missing fields, unmatched or repeated ids, values that are not numbers."""

    exit_code = 11


class VarianceProblem(SmallareaError):
    """Sampling variances are missing, zero or negative where the model needs them."""

    exit_code = 12


class GraphProblem(SmallareaError):
    """The adjacency graph does not fit the areas or the model (islands, other ids, damaged file)."""

    exit_code = 13


class PriorProblem(SmallareaError):
    """A prior is unknown, malformed or does not fit the model."""

    exit_code = 14


class ModelProblem(SmallareaError):
    """The model cannot be fitted as specified (collinear covariates, too few areas, no convergence)."""

    exit_code = 15


class EngineUnavailable(SmallareaError):
    """Something that the engine needs is not installed or not usable on this machine."""

    exit_code = 16


class OutputProblem(SmallareaError):
    """A result cannot be written where it was asked for."""

    exit_code = 17


class RasterProblem(SmallareaError):
    """A raster cannot be used as it is: unreadable, without a reference system, no data where they are needed."""

    exit_code = 18


class Cancelled(SmallareaError):
    """The user cancelled the run; nothing was written."""

    exit_code = 130


def named(values: Iterable[object], limit: int = 5) -> str:
    """List the first few values and say how many more there are.

    Parameters
    ----------
    values : iterable
        Area ids, row numbers or field names.
    limit : int
        How many to write out.

    Returns
    -------
    str
        For example ``'A', 'B', 'C' and 12 more``.
    """
    items = list(values)
    shown = ", ".join(repr(str(v)) if isinstance(v, str) else str(v) for v in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown
