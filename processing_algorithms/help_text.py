"""Help for the dialog, made from what the parameters say of themselves."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qgis import utils
from qgis.core import QgsProcessingParameterDefinition

if TYPE_CHECKING:
    from .base import EngineAlgorithm


def help_text(algorithm: EngineAlgorithm) -> str:
    """Return what an algorithm does and what its parameters mean.

    Parameters
    ----------
    algorithm : EngineAlgorithm
        With its parameters declared.

    Returns
    -------
    str
        HTML for the dialog. Without a main window plain text and no parameters: ``qgis_process help`` shows tags
        as they are and lists the parameters with their help itself.
    """
    return _html(algorithm) if utils.iface is not None else f"{algorithm.SUMMARY}\n"


def _is_advanced(definition: QgsProcessingParameterDefinition) -> bool:
    return bool(definition.flags() & QgsProcessingParameterDefinition.Flag.FlagAdvanced)


def _html(algorithm: EngineAlgorithm) -> str:
    parts = [f"<p>{escape(text)}</p>" for text in algorithm.SUMMARY.split("\n\n")]
    definitions = [d for d in algorithm.parameterDefinitions() if d.help()]
    for title, wanted in (("Parameters", False), ("Advanced parameters", True)):
        rows = [
            f"<p><b>{escape(d.description())}</b><br>{escape(d.help())}</p>"
            for d in definitions
            if _is_advanced(d) is wanted
        ]
        if rows:
            parts += [f"<h3>{title}</h3>", *rows]
    return "".join(parts)
