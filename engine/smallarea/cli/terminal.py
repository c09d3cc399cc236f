"""Events for people: a progress bar on a terminal, plain lines otherwise, and a short result to read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from smallarea.jobs.events import ProgressMeter

if TYPE_CHECKING:
    from rich.progress import TaskID

_PLAIN_INTERVAL = 2.0


class PlainReporter:
    """Lines of text: progress, notes and errors to standard error, the result to standard output."""

    def __init__(self) -> None:
        self._meter = ProgressMeter(_PLAIN_INTERVAL)

    def progress(self, percent: float, text: str) -> None:
        """Write a line when the text changes, or after some seconds."""
        event = self._meter.update(percent, text)
        if event is not None:
            eta = event["eta_seconds"]
            left = f" (about {_duration(eta)} left)" if eta and eta >= 3.0 else ""
            self._say(f"{event['percent']:5.1f} %  {text}{left}")

    def info(self, text: str) -> None:
        """Write a note."""
        self._say(text)

    def warning(self, text: str) -> None:
        """Write a warning."""
        self._say(f"Warning: {text}")

    def error(self, family: str, text: str, exit_code: int) -> None:  # noqa: ARG002 - the family is the exit code
        """Write the error."""
        self._say(f"Error: {text}")

    def result(self, task: str, outputs: Mapping[str, str], summary: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Write the summary, and where the outputs are."""
        for line in result_lines(outputs, summary):
            click.echo(line)

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


class RichReporter(PlainReporter):
    """The same with a progress bar that stays on one line."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.percentage:>3.0f} %"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None

    def progress(self, percent: float, text: str) -> None:
        """Move the bar."""
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task(text, total=100.0)
        self._bar.update(self._task, completed=percent, description=text)

    def error(self, family: str, text: str, exit_code: int) -> None:
        """Take the bar away and write the error."""
        self._stop()
        super().error(family, text, exit_code)

    def result(self, task: str, outputs: Mapping[str, str], summary: Mapping[str, Any]) -> None:
        """Take the bar away and write the result."""
        self._stop()
        super().result(task, outputs, summary)

    def _stop(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def _say(self, text: str) -> None:
        if self._bar.live.is_started:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            super()._say(text)


def human_reporter() -> PlainReporter:
    """Return the reporter that suits standard error.

    Returns
    -------
    PlainReporter
        With a progress bar on a terminal.
    """
    return RichReporter() if sys.stderr.isatty() else PlainReporter()


def result_lines(outputs: Mapping[str, str], summary: Mapping[str, Any]) -> Iterator[str]:
    """Lay a result out as two columns.

    Parameters
    ----------
    outputs : mapping
        Name to path.
    summary : mapping
        Name to number, text, list or mapping.

    Yields
    ------
    str
        A line.
    """
    rows = [(name.replace("_", " "), _text(value)) for name, value in summary.items()]
    rows = [(name, text) for name, text in rows if text]
    rows += [(f"{name} written to", path) for name, path in outputs.items()]
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        first, *more = text.splitlines()
        yield f"{name:<{width}}  {first}"
        yield from (f"{'':<{width}}  {line}" for line in more)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping) and value and all(isinstance(item, Mapping) for item in value.values()):
        return "\n".join(f"{name}: {_text(_spoken(item))}" for name, item in value.items())
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item) or 'missing'}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value)
    return str(value)


def _spoken(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): item for name, item in mapping.items()}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
