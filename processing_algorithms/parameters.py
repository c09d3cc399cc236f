"""Make Processing parameters from the engine's job schema: its names, defaults, choices, limits and help.

A parameter's name in Processing is the job's name in capitals. Only the short label is written in the algorithms.
"""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from ..qgis_plugin.job_schema import Parameter, Task

UNSET = "default"
_YES_NO = {"yes": True, "no": False}


def key(name: str) -> str:
    """Return the Processing name of a job's parameter."""
    return name.upper()


class ParameterMaker:
    """Make the parameters of one task.

    Parameters
    ----------
    task : Task
        Where names, defaults, choices, limits and help come from.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def polygons(
        self, name: str, label: str, *, optional: bool = False, own_help: str = "The polygons, one for each area."
    ) -> QgsProcessingParameterDefinition:
        """Return a polygon layer."""
        kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
        definition = QgsProcessingParameterFeatureSource(key(name), label, kinds, optional=optional)
        return self._finished(name, definition, own_help)

    def table(
        self, name: str, label: str, own_help: str = "", *, optional: bool = False
    ) -> QgsProcessingParameterDefinition:
        """Return a layer or a table without shapes; its help is its own where the schema speaks of a path."""
        kinds = [QgsProcessing.SourceType.TypeVector]
        definition = QgsProcessingParameterFeatureSource(key(name), label, kinds, optional=optional)
        return self._finished(name, definition, own_help)

    def points(self, name: str, label: str, own_help: str) -> QgsProcessingParameterDefinition:
        """Return a point layer; its help is its own, since the schema speaks of a path."""
        kinds = [QgsProcessing.SourceType.TypeVectorPoint]
        return self._finished(name, QgsProcessingParameterFeatureSource(key(name), label, kinds), own_help)

    def polygon_layers(self, name: str, label: str, own_help: str) -> QgsProcessingParameterDefinition:
        """Return any number of polygon layers, optional; their help is its own, since the schema speaks of paths."""
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        definition = QgsProcessingParameterMultipleLayers(key(name), label, kind, optional=True)
        return self._finished(name, definition, own_help)

    def rasters(self, name: str, label: str, *, optional: bool = True) -> QgsProcessingParameterDefinition:
        """Return any number of rasters."""
        kind = QgsProcessing.SourceType.TypeRaster
        return self._finished(name, QgsProcessingParameterMultipleLayers(key(name), label, kind, optional=optional))

    def raster(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a raster, optional."""
        return self._finished(name, QgsProcessingParameterRasterLayer(key(name), label, optional=True))

    def raster_output(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a raster to write and load, optional."""
        definition = QgsProcessingParameterRasterDestination(key(name), label, defaultValue=None, optional=True)
        return self._finished(name, definition)

    def field(
        self,
        name: str,
        label: str,
        parent: str,
        *,
        many: bool = False,
        optional: bool = False,
        own_help: str = "",
        more_help: str = "",
    ) -> QgsProcessingParameterDefinition:
        """Return one or several fields of a layer, of any type: the numbers of a CSV file are text in QGIS."""
        definition = QgsProcessingParameterField(
            key(name),
            label,
            defaultValue=None,
            parentLayerParameterName=key(parent),
            type=QgsProcessingParameterField.DataType.Any,
            allowMultiple=many,
            optional=optional,
        )
        return self._finished(name, definition, own_help, more_help)

    def choice(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a choice between the schema's words, which are also what scripts pass."""
        spec = self._spec(name)
        return self._finished(name, _choice(name, label, list(spec.choices), spec.default))

    def choice_or_default(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a choice whose default depends on other parameters."""
        return self._finished(name, _choice(name, label, [UNSET, *self._spec(name).choices], UNSET))

    def choices(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return any number of the schema's words; none stands for the engine's default."""
        definition = QgsProcessingParameterEnum(
            key(name),
            label,
            options=list(self._spec(name).choices),
            allowMultiple=True,
            defaultValue=None,
            optional=True,
            usesStaticStrings=True,
        )
        return self._finished(name, definition)

    def yes_no_default(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a choice for a yes or no whose default depends on other parameters."""
        return self._finished(name, _choice(name, label, [UNSET, *_YES_NO], UNSET))

    def boolean(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a yes or no."""
        definition = QgsProcessingParameterBoolean(key(name), label, defaultValue=bool(self._spec(name).default))
        return self._finished(name, definition)

    def integer(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a whole number."""
        return self._number(name, label, QgsProcessingParameterNumber.Type.Integer)

    def decimal(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a number, optional if the schema has no default."""
        return self._number(name, label, QgsProcessingParameterNumber.Type.Double)

    def text(
        self, name: str, label: str, *, more_help: str = "", many_lines: bool = False
    ) -> QgsProcessingParameterDefinition:
        """Return a text, empty where the schema has nothing."""
        default = self._spec(name).default
        definition = QgsProcessingParameterString(
            key(name), label, defaultValue=default or "", multiLine=many_lines, optional=not default
        )
        return self._finished(name, definition, more_help=more_help)

    def crs(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a coordinate reference system."""
        default = self._spec(name).default
        return self._finished(name, QgsProcessingParameterCrs(key(name), label, defaultValue=default, optional=True))

    def file(
        self, name: str, label: str, file_filter: str, *, optional: bool = True
    ) -> QgsProcessingParameterDefinition:
        """Return a file to read."""
        definition = QgsProcessingParameterFile(
            key(name),
            label,
            behavior=QgsProcessingParameterFile.Behavior.File,
            defaultValue=None,
            optional=optional,
            fileFilter=file_filter,
        )
        return self._finished(name, definition)

    def folder(self, name: str, label: str) -> QgsProcessingParameterDefinition:
        """Return a folder to read, optional."""
        definition = QgsProcessingParameterFile(
            key(name), label, behavior=QgsProcessingParameterFile.Behavior.Folder, defaultValue=None, optional=True
        )
        return self._finished(name, definition)

    def own_file(self, name: str, label: str, file_filter: str, own_help: str) -> QgsProcessingParameterDefinition:
        """Return a file to read that the job knows under another name."""
        definition = QgsProcessingParameterFile(
            key(name),
            label,
            behavior=QgsProcessingParameterFile.Behavior.File,
            defaultValue=None,
            optional=True,
            fileFilter=file_filter,
        )
        definition.setHelp(own_help)
        return definition

    def own_fields(self, name: str, label: str, parent: str, own_help: str) -> QgsProcessingParameterDefinition:
        """Return any number of fields of a layer that the job knows under another name."""
        definition = QgsProcessingParameterField(
            key(name),
            label,
            defaultValue=None,
            parentLayerParameterName=key(parent),
            type=QgsProcessingParameterField.DataType.Any,
            allowMultiple=True,
            optional=True,
        )
        definition.setHelp(own_help)
        return definition

    def own_text(self, name: str, label: str, own_help: str) -> QgsProcessingParameterDefinition:
        """Return a text that the job knows under another name."""
        definition = QgsProcessingParameterString(key(name), label, defaultValue="", optional=True)
        definition.setHelp(own_help)
        return definition

    def layer_output(
        self, name: str, label: str, kind: Any, *, optional: bool = False, by_default: bool = True
    ) -> QgsProcessingParameterDefinition:
        """Return a GeoPackage to write and load."""
        definition = QgsProcessingParameterVectorDestination(
            key(name), label, kind, defaultValue=None, optional=optional, createByDefault=by_default
        )
        return self._finished(name, definition)

    def file_output(
        self, name: str, label: str, file_filter: str, *, by_default: bool = False
    ) -> QgsProcessingParameterDefinition:
        """Return a file to write."""
        definition = QgsProcessingParameterFileDestination(
            key(name), label, fileFilter=file_filter, defaultValue=None, optional=True, createByDefault=by_default
        )
        return self._finished(name, definition)

    def _spec(self, name: str) -> Parameter:
        return self._task.parameters[name]

    def _number(self, name: str, label: str, kind: Any) -> QgsProcessingParameterDefinition:
        spec = self._spec(name)
        definition = QgsProcessingParameterNumber(
            key(name), label, type=kind, defaultValue=spec.default, optional=spec.default is None
        )
        if spec.minimum is not None:
            definition.setMinimum(spec.minimum)
        if spec.maximum is not None:
            definition.setMaximum(spec.maximum)
        return self._finished(name, definition)

    def _finished(
        self, name: str, definition: QgsProcessingParameterDefinition, own_help: str = "", more_help: str = ""
    ) -> QgsProcessingParameterDefinition:
        definition.setHelp(" ".join(part for part in (own_help or self._spec(name).help, more_help) if part))
        return definition


def advanced(definition: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """Put a parameter into the Advanced section."""
    definition.setFlags(definition.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return definition


def yes_no_value(text: str) -> bool | None:
    """Return what a `yes_no_default` parameter says; None for the default."""
    return _YES_NO.get(text)


def parse_priors(text: str) -> dict[str, str]:
    """Read ``sd_phi=HalfNormal(1); rho=Uniform(0,1)``.

    Parameters
    ----------
    text : str
        May be empty.

    Returns
    -------
    dict
        Hyperparameter to prior.

    Raises
    ------
    ValueError
        If a part is not of the form name=prior, or a name comes twice.
    """
    priors: dict[str, str] = {}
    for part in parse_list(text):
        name, equals, prior = (piece.strip() for piece in part.partition("="))
        if not (name and equals and prior):
            raise ValueError(f"{part!r} is not of the form name=prior, for example sd_phi=HalfNormal(1)")
        if name in priors:
            raise ValueError(f"{name!r} is given twice")
        priors[name] = prior
    return priors


def parse_list(text: str) -> list[str]:
    """Split at semicolons; empty parts are left out.

    Parameters
    ----------
    text : str
        May be empty.

    Returns
    -------
    list of str
        The parts without blanks at their ends.
    """
    return [part.strip() for part in text.split(";") if part.strip()]


def _choice(name: str, label: str, options: list[str], default: Any) -> QgsProcessingParameterEnum:
    return QgsProcessingParameterEnum(
        key(name), label, options=options, allowMultiple=False, defaultValue=default, usesStaticStrings=True
    )
