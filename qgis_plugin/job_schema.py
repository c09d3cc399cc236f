"""The parameters of the engine's tasks, read from the JSON schema that the engine writes.

``resources/job_schema.json`` is made by ``scripts/update_job_schema.py`` from ``smallarea.jobs.schema``, the one place
where a parameter's name, default, limits and help are written; a test fails when the file is out of date.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from .paths import RESOURCES

SCHEMA_FILE = RESOURCES / "job_schema.json"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a task.

    Attributes
    ----------
    name : str
        As in the job.
    help : str
        What it means.
    default : object
        None if there is none, or if it is null.
    choices : tuple of str
        Empty if any value will do; for a list those of its parts.
    minimum, maximum : float or None
        Limits, both inclusive or exclusive.
    required : bool
        Whether a job must name it.
    """

    name: str
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False


@dataclass(frozen=True)
class Task:
    """A task of the engine."""

    name: str
    help: str
    parameters: dict[str, Parameter]


@cache
def _document() -> dict[str, Any]:
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


def job_version() -> int:
    """Return the version of the job format."""
    return int(_document()["job_version"])


@cache
def task(name: str) -> Task:
    """Return a task.

    Parameters
    ----------
    name : str
        As in the job, for example ``fit``.

    Returns
    -------
    Task
    """
    schema = _document()["tasks"][name]
    required = set(schema.get("required", ()))
    parameters = {key: _parameter(key, entry, key in required) for key, entry in schema["properties"].items()}
    return Task(name, schema.get("description", ""), parameters)


def _parameter(name: str, entry: dict[str, Any], required: bool) -> Parameter:
    kinds = [kind for kind in entry.get("anyOf", [entry]) if kind.get("type") != "null"]
    kind = kinds[0] if kinds else entry
    return Parameter(
        name=name,
        help=entry.get("description", ""),
        default=entry.get("default"),
        choices=tuple(kind.get("enum", kind.get("items", {}).get("enum", ()))),
        minimum=kind.get("minimum", kind.get("exclusiveMinimum")),
        maximum=kind.get("maximum", kind.get("exclusiveMaximum")),
        required=required,
    )
