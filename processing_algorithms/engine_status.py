"""Engine status."""

from __future__ import annotations

from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback, QgsProcessingOutputString

from ..qgis_plugin import engine_locator, settings
from ..qgis_plugin.paths import engine_version
from .base import EngineAlgorithm

READY, MISSING, BROKEN = "ready", "missing", "broken"


class EngineStatus(EngineAlgorithm):
    """Say which interpreter runs the engine, what it has, and what to do if it cannot.

    It works without an engine, and it succeeds whatever it finds: the answer is in its outputs.
    """

    NAME = "enginestatus"
    TITLE = "Engine status"
    GROUP = "Engine"
    GROUP_ID = "engine"
    TASK = "status"
    TAGS = ("python", "install", "diagnose", "version")
    SUMMARY = (
        "Says which Python runs the models, which packages it has, and what to do if something is missing. "
        "Include what it says when you report a problem."
    )
    OUTPUTS: ClassVar[dict[str, str]] = {
        "STATUS": "Status: ready, missing or broken",
        "MESSAGE": "What was found and what to do",
        "PYTHON": "Interpreter",
        "PYTHON_VERSION": "Version of the interpreter",
        "ENGINE_VERSION": "Version of the engine",
        "PACKAGES": "Packages and their versions",
    }

    def canExecute(self) -> tuple[bool, str]:
        """Run always: it exists for when the engine does not."""
        return True, ""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare the outputs."""
        for name, label in self.OUTPUTS.items():
            self.addOutput(QgsProcessingOutputString(name, label))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Look, say it in the log, and return it."""
        found = dict.fromkeys(self.OUTPUTS, "")
        found["ENGINE_VERSION"] = engine_version()
        try:
            interpreter = engine_locator.find(settings.python_path())
        except engine_locator.EngineMissing as error:
            found.update(STATUS=MISSING, MESSAGE=str(error))
        else:
            found.update(_ask(interpreter))
        _tell(found, feedback)
        return found


def _ask(interpreter: engine_locator.Interpreter) -> dict[str, str]:
    probe = engine_locator.probe(interpreter.path)
    said = f"The engine runs on {interpreter.path}, named by {interpreter.origin}."
    if not probe.ok:
        said = "\n".join(
            [f"The engine cannot run on {interpreter.path}, named by {interpreter.origin}.", *probe.problems]
        )
    return {
        "STATUS": READY if probe.ok else BROKEN,
        "MESSAGE": said,
        "PYTHON": str(interpreter.path),
        "PYTHON_VERSION": probe.python,
        "PACKAGES": ", ".join(f"{name} {version}" for name, version in probe.packages.items()),
    }


def _tell(found: dict[str, str], feedback: QgsProcessingFeedback) -> None:
    say = feedback.pushInfo if found["STATUS"] == READY else feedback.pushWarning
    say(found["MESSAGE"])
    if found["PYTHON_VERSION"]:
        feedback.pushInfo(f"Python {found['PYTHON_VERSION']}, engine {found['ENGINE_VERSION']}")
    if found["PACKAGES"]:
        feedback.pushInfo(f"Packages: {found['PACKAGES']}")
