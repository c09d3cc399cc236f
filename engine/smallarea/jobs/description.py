"""Read, check and write job descriptions.

Whatever is wrong with one is said in a single `JobProblem` that names every wrong parameter.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smallarea.errors import JobProblem, OutputProblem
from smallarea.jobs.schema import JOB_VERSION, TASKS, Job, TaskParameters

Namer = Callable[[str], str]


def load_job(path: str | os.PathLike[str]) -> tuple[str, TaskParameters]:
    """Read a job file and check it.

    Parameters
    ----------
    path : path-like
        JSON file. Relative paths in it are relative to its folder.

    Returns
    -------
    task : str
        Name of the task.
    parameters : TaskParameters
        Checked, with absolute paths.

    Raises
    ------
    JobProblem
        If the file cannot be read or says something that no task knows.
    """
    file = Path(path)
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise JobProblem(f"Cannot read the job file {file}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise JobProblem(f"The job file {file} is not valid JSON: {error}.") from error
    return check_job(data, folder=file.absolute().parent)


def check_job(data: Any, folder: Path | None = None) -> tuple[str, TaskParameters]:
    """Check a job description.

    Parameters
    ----------
    data : object
        What the JSON file holds.
    folder : pathlib.Path, optional
        Folder that relative paths start from; they stay as they are if not given.

    Returns
    -------
    task : str
        Name of the task.
    parameters : TaskParameters
        Checked.

    Raises
    ------
    JobProblem
        Naming each wrong entry.
    """
    if not isinstance(data, dict):
        raise JobProblem('A job is a JSON object: {"version": 1, "task": ..., "parameters": {...}}.')
    version = data.get("version")
    if isinstance(version, int) and version > JOB_VERSION:
        raise JobProblem(f"The job has version {version}; this engine reads version {JOB_VERSION}. Update smallarea.")
    try:
        job = Job.model_validate(data)
    except ValidationError as error:
        raise JobProblem(_explain("The job description", Job, error, data, repr)) from error
    parameters = check_parameters(job.task, job.parameters)
    return job.task, parameters if folder is None else with_absolute_paths(parameters, folder)


def check_parameters(task: str, parameters: Mapping[str, Any], namer: Namer = repr) -> TaskParameters:
    """Check the parameters of a task.

    Parameters
    ----------
    task : str
        A key of `TASKS`.
    parameters : mapping
        By name.
    namer : callable
        How a message writes a parameter's name, for example as a command-line option.

    Returns
    -------
    TaskParameters
        With the defaults filled in.

    Raises
    ------
    JobProblem
        Naming each wrong parameter.
    """
    model = TASKS[task]
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise JobProblem(_explain(f"The job '{task}'", model, error, parameters, namer)) from error


def path_kind(model: type[TaskParameters], name: str) -> str | None:
    """Say what kind of path a parameter holds.

    Parameters
    ----------
    model : type
        Parameters of a task.
    name : str
        Parameter.

    Returns
    -------
    str or None
        ``input``, ``output``, ``input_or_name``, or None if it is not a path.
    """
    extra = model.model_fields[name].json_schema_extra
    return str(extra["path"]) if isinstance(extra, dict) and "path" in extra else None


def output_paths(parameters: TaskParameters) -> dict[str, str]:
    """Return the outputs that a job asks for.

    Parameters
    ----------
    parameters : TaskParameters
        Of a task.

    Returns
    -------
    dict
        Parameter name to path.
    """
    return dict(_paths(parameters, "output"))


def with_absolute_paths(parameters: TaskParameters, folder: Path) -> TaskParameters:
    """Resolve relative paths against a folder.

    Parameters
    ----------
    parameters : TaskParameters
        Of a task.
    folder : pathlib.Path
        Absolute.

    Returns
    -------
    TaskParameters
        A copy. Data sources that are not files (``/vsizip/...``, ``PG:...``, ``https://...``) stay as they
        are.
    """

    def from_name(path: str) -> str:
        return str(folder / path) if (folder / path).is_file() else path

    resolved = _changed_paths(parameters, lambda path: _resolve(path, folder), "input", "output")
    return parameters.model_copy(update=resolved | _changed_paths(parameters, from_name, "input_or_name"))


def paths_for_folder(parameters: TaskParameters, job_file: Path) -> TaskParameters:
    """Write paths as a job file in another folder has to write them.

    Parameters
    ----------
    parameters : TaskParameters
        Of a task, with paths relative to the working folder.
    job_file : pathlib.Path
        Where the job will be written.

    Returns
    -------
    TaskParameters
        A copy: paths under the job's folder are relative to it, others absolute.
    """
    home = job_file.absolute().parent
    absolute = with_absolute_paths(parameters, Path.cwd())

    def near(path: str) -> str:
        inside = os.path.isabs(path) and Path(path).is_relative_to(home)
        return Path(path).relative_to(home).as_posix() if inside else path

    return absolute.model_copy(update=_changed_paths(absolute, near, "input", "output", "input_or_name"))


def check_outputs(parameters: TaskParameters) -> None:
    """Find out before the work, not after it, that an output cannot be written.

    Parameters
    ----------
    parameters : TaskParameters
        Of a task.

    Raises
    ------
    JobProblem
        If two outputs are the same file, or an output would overwrite an input.
    OutputProblem
        If a folder does not exist or cannot be written to.
    """
    taken = {_real(path): name for name, path in _paths(parameters, "input", "input_or_name")}
    for name, path in output_paths(parameters).items():
        other = taken.setdefault(_real(path), name)
        if other != name:
            raise JobProblem(f"'{name}' and '{other}' are the same file, {path}. Give '{name}' another name.")
        target = Path(path)
        if target.is_dir():
            raise OutputProblem(f"Cannot write '{name}': {path} is a folder. Give the name of a file.")
        if not target.absolute().parent.is_dir():
            raise OutputProblem(f"Cannot write '{name}': the folder {target.parent} does not exist. Create it.")
        if not os.access(target.absolute().parent, os.W_OK):
            raise OutputProblem(f"Cannot write '{name}': no permission to write to {target.parent}.")


def job_document(task: str, parameters: TaskParameters) -> str:
    """Write a job description, leaving out what equals the defaults.

    Parameters
    ----------
    task : str
        A key of `TASKS`.
    parameters : TaskParameters
        Of that task.

    Returns
    -------
    str
        JSON text.
    """
    given = parameters.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"version": JOB_VERSION, "task": task, "parameters": given}, indent=2) + "\n"


def _paths(parameters: TaskParameters, *kinds: str) -> Iterable[tuple[str, str]]:
    """Return parameters and their paths; one that is a list comes with each."""
    model = type(parameters)
    for name in model.model_fields:
        value = getattr(parameters, name)
        if value is not None and path_kind(model, name) in kinds:
            yield from ((name, path) for path in (value if isinstance(value, list) else [value]))


def _changed_paths(parameters: TaskParameters, change: Callable[[str], str], *kinds: str) -> dict[str, Any]:
    """Return the parameters that hold paths with each path changed; one that is a list stays one."""
    found: dict[str, Any] = {}
    for name, path in _paths(parameters, *kinds):
        several = isinstance(getattr(parameters, name), list)
        found[name] = [*found.get(name, []), change(path)] if several else change(path)
    return found


def _resolve(path: str, folder: Path) -> str:
    if os.path.isabs(path) or "://" in path or path.startswith("/vsi"):
        return path
    prefix, colon, _ = path.partition(":")
    if colon and prefix.isupper() and not (folder / path).exists():
        return path
    return str(folder / path)


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _explain(
    subject: str,
    model: type[Job] | type[TaskParameters],
    error: ValidationError,
    given: Mapping[str, Any],
    namer: Namer,
) -> str:
    """Say in one line for each parameter what is wrong with it."""
    lines = list(dict.fromkeys(_explain_one(item, model, given, namer) for item in error.errors()))
    if len(lines) == 1:
        return f"{subject}: {lines[0]}"
    return "\n".join([f"{subject} has {len(lines)} problems:", *(f"- {line}" for line in lines)])


def _explain_one(item: Any, model: type[Job] | type[TaskParameters], given: Any, namer: Namer) -> str:
    place = [str(part) for part in item["loc"]]
    if not place:
        return str(item["msg"]).removeprefix("Value error, ") + "."
    name = place[0]
    label = namer(name) + "".join(f"[{part}]" for part in place[1:] if part in _keys(given.get(name)))
    if item["type"] == "extra_forbidden":
        return f"{label} is not a parameter.{_suggest(name, model, given, namer)}"
    if item["type"] == "missing":
        return f"{label} is missing. {model.model_fields[name].description or ''}".rstrip()
    message = str(item["msg"])
    return f"{label}: {message[:1].lower()}{message[1:]}; given: {item['input']!r}."


def _keys(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {str(key) for key in value}
    return {str(index) for index in range(len(value))} if isinstance(value, list) else set()


def _suggest(name: str, model: type[Job] | type[TaskParameters], given: Any, namer: Namer) -> str:
    known = [field for field in model.model_fields if field not in given]
    lowered = {field.lower(): field for field in known}
    close = difflib.get_close_matches(name.lower().replace("-", "_"), lowered, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {namer(lowered[close[0]])}?"
    return f" Known: {', '.join(namer(field) for field in model.model_fields)}."
