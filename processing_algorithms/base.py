"""What all algorithms share: identity, help, and the way of a job through the engine."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingUtils,
)

from ..qgis_plugin import engine_locator, settings
from ..qgis_plugin.engine_process import EngineCancelled, EngineFailed, run_engine
from ..qgis_plugin.feedback import FeedbackListener
from ..qgis_plugin.handover import HandoverCancelled, HandoverFailed
from ..qgis_plugin.job_schema import Task, job_version, task
from ..qgis_plugin.paths import HOMEPAGE
from .help_text import help_text
from .inputs import InputProblem
from .parameters import ParameterMaker, advanced


class EngineAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is one job of the engine.

    A subclass names itself in the class attributes, adds its parameters in ``add_parameters``, and turns them into
    those of the job in ``job_parameters``.
    """

    NAME = ""
    TITLE = ""
    GROUP = ""
    GROUP_ID = ""
    TASK = ""
    SUMMARY = ""
    TAGS: tuple[str, ...] = ()
    # Processing output to (key of the engine's summary, label).
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {}
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {}

    def name(self) -> str:
        return self.NAME

    def displayName(self) -> str:
        return self.TITLE

    def group(self) -> str:
        return self.GROUP

    def groupId(self) -> str:
        return self.GROUP_ID

    def tags(self) -> list[str]:
        return ["small area estimation", *self.TAGS]

    def createInstance(self) -> EngineAlgorithm:
        return type(self)()

    def icon(self) -> Any:
        return self.provider().icon() if self.provider() else super().icon()

    def helpUrl(self) -> str:
        return f"{HOMEPAGE}/blob/main/docs/qgis.md"

    def shortDescription(self) -> str:
        return self.SUMMARY.partition(". ")[0].rstrip(".") + "."

    def shortHelpString(self) -> str:
        return help_text(self)

    def canExecute(self) -> tuple[bool, str]:
        """Say whether there is an interpreter for the engine; only looks, runs nothing."""
        try:
            engine_locator.find(settings.python_path())
        except engine_locator.EngineMissing as error:
            return False, str(error)
        return True, ""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.add_parameters(ParameterMaker(self.task()))
        for name, (_, label) in self.NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))
        for name, (_, label) in self.TEXTS.items():
            self.addOutput(QgsProcessingOutputString(name, label))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Hand the inputs over, run the engine, and return what it wrote."""
        folder = Path(tempfile.mkdtemp(prefix="smallarea_", dir=QgsProcessingUtils.tempFolder()))
        try:
            # First of all, before inputs are copied for nothing.
            interpreter = engine_locator.find(settings.python_path())
            job = self.job_parameters(parameters, context, feedback, folder)
            # Once only: every question after a temporary file is answered with another file.
            outputs = self.destinations(parameters, context)
            # Relative paths start from QGIS's working folder, in a job from the job's own.
            job.update({name.lower(): os.path.abspath(path) for name, path in outputs.items()})
            event = self._run(interpreter, job, folder, feedback)
            self.name_layers(parameters, context, outputs)
            return {**outputs, **self._values(event.get("summary", {}))}
        except (EngineCancelled, HandoverCancelled):
            # Raised, not returned: an empty result would let qgis_process exit with 0.
            raise QgsProcessingException("Cancelled") from None
        except (EngineFailed, HandoverFailed, InputProblem, engine_locator.EngineMissing) as error:
            raise QgsProcessingException(_with_remedy(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def task(self) -> Task:
        """Return the task of the engine behind this algorithm."""
        return task(self.TASK)

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters, with `add` and `add_advanced`; none unless a subclass has some."""

    def job_parameters(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Write the inputs into the folder and return the job's parameters, without the files to write."""
        return {}

    def destinations(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, str]:
        """Return the files that are asked for, by Processing name."""
        return {}

    def name_layers(self, parameters: dict[str, Any], context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layers that will be loaded, with `show_layer`; nothing unless a subclass knows better."""

    def add(self, *definitions: Any) -> None:
        """Declare parameters that everybody sees."""
        for definition in definitions:
            self.addParameter(definition)

    def add_advanced(self, *definitions: Any) -> None:
        """Declare parameters in the Advanced section."""
        for definition in definitions:
            self.addParameter(advanced(definition))

    def _run(
        self,
        interpreter: engine_locator.Interpreter,
        job: dict[str, Any],
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        document = {"version": job_version(), "task": self.TASK, "parameters": job}
        path = folder / "job.json"
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        feedback.pushCommandInfo(f"Engine: {interpreter.path} ({interpreter.origin})")
        feedback.pushCommandInfo(json.dumps(document, ensure_ascii=False))
        command = engine_locator.engine_command(interpreter.path, "run", str(path), "--watch-stdin")
        return run_engine(command, folder, FeedbackListener(feedback))

    def _values(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs that are numbers and texts; what the engine does not know is left out."""
        known = {**self.NUMBERS, **self.TEXTS}
        found = {name: summary.get(source) for name, (source, _) in known.items()}
        return {name: value for name, value in found.items() if value is not None}


def _with_remedy(error: Exception) -> str:
    """Add where to look when the engine could not even start."""
    text = str(error)
    unable = isinstance(error, EngineFailed) and error.family in ("", "EngineUnavailable")
    if unable and engine_locator.PAGE not in text:
        text += (
            f"\nTo find out what is wrong with the engine's Python, run 'Engine status' or open {engine_locator.PAGE}."
        )
    return text
