"""Checks of a call from Python that a job's schema makes of a job: a misspelt word must not pass for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smallarea.errors import JobProblem, named
from smallarea.io import check_suffix

# Endings of output files by parameter, and what they are called.
FORMATS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "output": ((".gpkg",), "a GeoPackage"),
    "report": ((".html", ".htm"), "HTML"),
    "csv": ((".csv", ".txt"), "comma-separated text"),
    "cells": ((".csv", ".txt"), "comma-separated text"),
    "excel": ((".xlsx",), "an Excel workbook"),
    "posterior": ((".nc",), "NetCDF"),
    "benchmarked_posterior": ((".nc",), "NetCDF"),
    "checkpoint": ((".npz",), "a NumPy archive"),
}
# Words of parameters that several tasks have.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "variance_type": ("variance", "standard_error", "margin_of_error"),
    "form": ("auto", "density", "filter", "prior"),
    "contiguity": ("queen", "rook"),
    "islands": ("own_component", "nearest", "error"),
    "solver": ("auto", "compiled", "qdldl", "splu", "dense"),
    "unmatched": ("error", "drop"),
    "missing_variance": ("out_of_sample", "error"),
    "missing_covariates": ("error", "drop"),
}


def check_choices(call: Mapping[str, Any], choices: Mapping[str, Sequence[object]] | None = None) -> None:
    """Refuse words that a parameter does not know.

    Parameters
    ----------
    call : mapping
        Parameters by name.
    choices : mapping, optional
        Words of the parameters that only this task has, or knows other words for; those of ``CHOICES`` are checked too
        where the call has them.

    Raises
    ------
    JobProblem
        With the words that there are.
    """
    wanted = {name: known for name, known in CHOICES.items() if name in call} | dict(choices or {})
    for name, known in wanted.items():
        if call[name] not in known:
            raise JobProblem(f"There is no {name} {call[name]!r}. Choose one of {named(known, 10)}.")


def check_outputs(call: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse outputs whose names do not end as their formats do.

    Parameters
    ----------
    call : mapping
        Parameters by name.
    names : sequence of str
        Those that are outputs, keys of ``FORMATS``.

    Raises
    ------
    OutputProblem
        With the ending that is expected.
    """
    for name in names:
        suffixes, what = FORMATS[name]
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)


def check_flags(call: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse what is neither True nor False.

    Raises
    ------
    JobProblem
        With the parameter's name.
    """
    for name in names:
        if not isinstance(call[name], bool):
            raise JobProblem(f"{name} must be True or False; got {call[name]!r}.")
    if "iid_part" in call and not isinstance(call["iid_part"], bool | None):
        raise JobProblem(f"iid_part must be True, False or None; got {call['iid_part']!r}.")


def check_counts(call: Mapping[str, Any], least: Mapping[str, int]) -> None:
    """Refuse what is not a whole number, or too small.

    Raises
    ------
    JobProblem
        With the parameter's name and its smallest value.
    """
    for name, low in least.items():
        if not isinstance(call[name], int) or isinstance(call[name], bool) or call[name] < low:
            raise JobProblem(f"{name} must be a whole number of at least {low}; got {call[name]!r}.")


def check_levels(call: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse what is not a probability between 0 and 1.

    Raises
    ------
    JobProblem
        With the parameter's name.
    """
    for name in names:
        if not isinstance(call[name], int | float) or not 0.0 < call[name] < 1.0:
            raise JobProblem(f"{name} is a probability between 0 and 1, for example 0.95; got {call[name]!r}.")


def check_map(call: Mapping[str, Any]) -> None:
    """Refuse a map without polygons.

    Raises
    ------
    JobProblem
        If there is an output but no areas.
    """
    if call["output"] is not None and call["areas"] is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv).")
