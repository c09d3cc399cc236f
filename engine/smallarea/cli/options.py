"""Options out of the job schema: names, defaults, choices and help have one source."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import click
from pydantic.fields import FieldInfo

from smallarea.jobs.description import path_kind
from smallarea.jobs.schema import TaskParameters

LAYER = "areas"
# Parameters that are arguments, by how they are written; the second one only where it is what a command is about.
ARGUMENTS = {LAYER: "LAYER", "prior": "PRIOR"}
_SINGULAR = {
    "priors": "prior",
    "thresholds": "threshold",
    "pairs": "pair",
    "periods": "period",
    "models": "model",
    "criteria": "criterion",
    "group_fields": "group_field",
    "rasters": "raster",
    "bands": "band",
    "auxiliaries": "auxiliary",
    "names": "name",
    "indicators": "indicator",
    "strata": "stratum",
    "variables": "variable",
    "kinds": "kind",
    "ranges": "range",
    "skips": "skip",
    "deltas": "delta",
    "settings": "setting",
    "area_covariates": "area_covariate",
    "replicate_weights": "replicate_weight",
    "replicate_rscales": "replicate_rscale",
}


class NameValue(click.ParamType):
    """``NAME=VALUE``, for options that fill a dictionary."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first equals sign."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip() or not text.strip():
            self.fail(f"{value!r} is not NAME=VALUE, for example sd_phi=HalfNormal(1).", param, ctx)
        return name.strip(), text.strip()


def option_name(field: str) -> str:
    """Return the option of a job parameter.

    Parameters
    ----------
    field : str
        Name in the job.

    Returns
    -------
    str
        The same with dashes; the layer is the argument.
    """
    if field == LAYER:
        return "LAYER"
    singular = _SINGULAR.get(field, field)
    return "--" + singular.replace("_", "-")


def parameters_of(model: type[TaskParameters]) -> list[click.Parameter]:
    """Build the argument and the options of a task.

    Parameters
    ----------
    model : type
        Its parameters.

    Returns
    -------
    list of click.Parameter
        In the order of the model, what is required first.
    """
    fields = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
    return [_parameter(model, name, field) for name, field in fields]


def given_parameters(values: Mapping[str, Any], model: type[TaskParameters]) -> dict[str, Any]:
    """Turn click's values into job parameters.

    Parameters
    ----------
    values : mapping
        What click parsed.
    model : type
        Parameters of the task.

    Returns
    -------
    dict
        Job parameters by name, without those that were not given.

    Raises
    ------
    click.BadParameter
        If one name of a dictionary is given twice.
    """
    given: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        value = values.get(name)
        if value is None or value == ():
            continue
        kind = _kind(field)
        if kind is dict:
            value = _dictionary(value, option_name(name))
        given[name] = list(value) if kind is list else value
    return given


def _dictionary(pairs: tuple[tuple[str, str], ...], option: str) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, text in pairs:
        if name in result:
            raise click.BadParameter(f"{name!r} is given twice.", param_hint=f"'{option}'")
        result[name] = text
    return result


def _parameter(model: type[TaskParameters], name: str, field: FieldInfo) -> click.Parameter:
    if name == LAYER or (name in ARGUMENTS and field.is_required()):
        return click.Argument([name], metavar=ARGUMENTS[name], required=field.is_required())
    attrs: dict[str, Any] = {"help": field.description, "required": field.is_required()}
    kind = _kind(field)
    option = option_name(name)
    declaration = option
    if kind is bool:
        declaration = f"{option}/--no-{option.removeprefix('--')}"
        attrs.update(default=field.default, show_default=field.default is not None)
    elif kind is list:
        attrs.update(multiple=True, metavar=_list_metavar(field), help=f"{field.description} Repeat for several.")
    elif kind is dict:
        attrs.update(multiple=True, type=NameValue(), help=f"{field.description} Repeat for several.")
    else:
        attrs.update(type=_click_type(kind), metavar=_metavar(model, name, kind))
        if not field.is_required():
            attrs.update(default=field.default, show_default=field.default is not None)
    return click.Option([declaration, name], **attrs)


def _kind(field: FieldInfo) -> Any:
    """Return bool, int, float, str, list, dict, or a tuple of choices."""
    annotation: Any = _bare(field.annotation)
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = _bare(next(part for part in typing.get_args(annotation) if part is not type(None)))
    if typing.get_origin(annotation) is Literal:
        return typing.get_args(annotation)
    return typing.get_origin(annotation) or annotation


def _bare(annotation: Any) -> Any:
    """Return a type without its limits."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def _click_type(kind: Any) -> click.ParamType:
    if isinstance(kind, tuple):
        return click.Choice([str(choice) for choice in kind])
    types_by_kind: dict[Any, click.ParamType] = {int: click.INT, float: click.FLOAT}
    return types_by_kind.get(kind, click.STRING)


def _list_metavar(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("metavar", "FIELD")) if isinstance(extra, dict) else "FIELD"


def _metavar(model: type[TaskParameters], name: str, kind: Any) -> str | None:
    path = path_kind(model, name)
    if path is not None:
        return "NAME|FILE" if path == "input_or_name" else "FILE"
    if kind is not str:
        return None
    return "FIELD" if name.endswith("field") or name in ("direct", "variance", "time") else "TEXT"
