"""Run a job from its description to its last event, whatever happens on the way."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from smallarea.errors import Cancelled, EngineUnavailable, SmallareaError
from smallarea.jobs.description import check_outputs, load_job, output_paths
from smallarea.jobs.events import JsonLines, Reporter, protocol_stream
from smallarea.jobs.schema import TaskParameters
from smallarea.jobs.summary import notes, summarise, warnings
from smallarea.jobs.watch import Cancellation, wake_on_signal

INTERNAL_ERROR = "InternalError"
INTERNAL_EXIT_CODE = 70

Loader = Callable[[], tuple[str, TaskParameters]]
Traces = Literal["internal", "all", "none"]


def run_job_file(path: str | os.PathLike[str], watch_stdin: bool = False) -> int:
    """Run a job file and write its events as JSON lines to standard output.

    Parameters
    ----------
    path : path-like
        The job description.
    watch_stdin : bool
        Stop when standard input ends.

    Returns
    -------
    int
        Exit code: 0, that of the error's family, 70 for an error of our own making, 130 if cancelled.
    """
    with protocol_stream() as stream:
        return run_with(JsonLines(stream), lambda: load_job(path), watch_stdin)


def run_with(reporter: Reporter, load: Loader, watch_stdin: bool = False, traces: Traces = "internal") -> int:
    """Run what `load` returns; report exactly one last event and return the exit code that goes with it.

    Parameters
    ----------
    reporter : Reporter
        Where the events go.
    load : callable
        Returns the task and its parameters; what it raises is reported like any other error.
    watch_stdin : bool
        Stop when standard input ends.
    traces : {"internal", "all", "none"}
        Of which errors the traceback is written to standard error.

    Returns
    -------
    int
        Exit code.
    """
    outputs: list[str] = []

    def on_force() -> None:
        remove_temporaries(outputs)
        _report(reporter, Cancelled("Cancelled; nothing was written."))

    try:
        with (
            Cancellation(watch_stdin, on_force=on_force) as cancellation,
            wake_on_signal(cancellation),
        ):
            task, parameters = load()
            check_outputs(parameters)
            outputs.extend(output_paths(parameters).values())
            result = _call(task, parameters, reporter, cancellation)
        summary = summarise(task, result)
    except KeyboardInterrupt:
        return _report(reporter, Cancelled("Cancelled; nothing was written."))
    except SmallareaError as error:
        if traces == "all":
            traceback.print_exc()
        return _report(reporter, error)
    except ModuleNotFoundError as error:
        if traces == "all":
            traceback.print_exc()
        return _report(reporter, _not_installed(error))
    except Exception as error:
        if traces != "none":
            traceback.print_exc()
        return _report_internal(reporter, error, traces)
    for text in notes(result):
        reporter.info(text)
    for text in warnings(result):
        reporter.warning(text)
    # A checkpoint may be gone when the work is done.
    written = {name: path for name, path in output_paths(parameters).items() if os.path.exists(path)}
    reporter.result(task, written, summary)
    return 0


def remove_temporaries(outputs: Iterable[str], patience: float = 2.0) -> None:
    """Remove what this process began to write and did not finish, before it is ended by force.

    Parameters
    ----------
    outputs : iterable of str
        Paths that the job asked for.
    patience : float
        Seconds to wait for outputs that are being put in their place just now.
    """
    targets = [Path(os.path.realpath(path)) for path in outputs]
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(map(_set_aside, _own_temporaries(targets))):
        time.sleep(0.05)
    for path in _own_temporaries(targets):
        if not _set_aside(path):
            with contextlib.suppress(OSError):
                path.unlink()


def _set_aside(path: Path) -> bool:
    """Say whether this is an old output, kept while new ones are being put in place."""
    return path.name.endswith((".old", ".old-wal", ".old-shm", ".old-journal"))


def _own_temporaries(targets: Iterable[Path]) -> list[Path]:
    """List the temporary neighbours that `smallarea.io.atomic` made in this process."""
    found: list[Path] = []
    for target in targets:
        pattern = f".{glob.escape(target.stem)}.smallarea-tmp-*-{os.getpid()}-*"
        found.extend(target.parent.glob(pattern))
    return found


def _call(task: str, parameters: TaskParameters, reporter: Reporter, cancellation: Cancellation) -> Any:
    """Call the workflow of the task's name."""
    from smallarea.workflows import task_function

    furthest = 0.0

    def progress(percent: float, text: str) -> None:
        nonlocal furthest
        furthest = max(furthest, percent)
        cancellation.check()
        reporter.progress(percent, text)

    progress(0.0, "Starting")
    result = task_function(task)(**_arguments(parameters), progress=progress)
    if furthest < 100.0:
        reporter.progress(100.0, "Done")
    return result


def _arguments(parameters: TaskParameters) -> Mapping[str, Any]:
    return {name: getattr(parameters, name) for name in type(parameters).model_fields}


def _report(reporter: Reporter, error: SmallareaError) -> int:
    reporter.error(error.family, str(error), error.exit_code)
    return error.exit_code


def _not_installed(error: ModuleNotFoundError) -> EngineUnavailable:
    package = str(error.name).partition(".")[0]
    return EngineUnavailable(
        f"The Python package {package} is not installed for {sys.executable}, or not completely ({error}). "
        "'smallarea status' says what is missing and how to install it."
    )


def _report_internal(reporter: Reporter, error: Exception, traces: Traces) -> int:
    if isinstance(error, MemoryError):
        text = "There is not enough memory for this job. Close other programs, or use fewer areas or draws."
    else:
        how = "run it again with --debug and report what that prints" if traces == "none" else "please report it"
        text = f"Unexpected {type(error).__name__}: {error}. This is a fault of smallarea: {how}."
    reporter.error(INTERNAL_ERROR, text, INTERNAL_EXIT_CODE)
    return INTERNAL_EXIT_CODE
