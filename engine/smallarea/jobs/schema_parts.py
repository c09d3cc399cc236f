"""What the parameters of several tasks are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Contiguity = Literal["queen", "rook"]
IslandRule = Literal["own_component", "nearest", "error"]
VarianceType = Literal["variance", "standard_error", "margin_of_error"]
Solver = Literal["auto", "compiled", "qdldl", "splu", "dense"]

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]

# Paths say so in the JSON schema ("path": "input" or "output"): relative ones are resolved against the
# folder of the job file.
IN: dict[str, Any] = {"path": "input"}
OUT: dict[str, Any] = {"path": "output"}


# Parameters that several tasks have, word for word.
TABLE_LAYER: Any = Field(None, description="Layer or sheet name inside the table file.")
TABLE_ID_FIELD: Any = Field(None, description="Field of the table with the area ids; id_field if not given.")
CONTIGUITY: Any = Field("queen", description="Contiguity rule if the graph is built here.")
ISLANDS: Any = Field("own_component", description="Rule for areas without a neighbour.")
DRAWS: Any = Field(2000, ge=100, le=100_000, description="Posterior draws to return.")
LEVEL: Any = Field(0.95, description="Coverage of the intervals.")
SEED: Any = Field(1, ge=0, description="Seed: the same seed gives the same result.")
INTERCEPT: Any = Field(True, description="Include an intercept.")
REPORT: Any = Field(None, description="HTML report to write.", json_schema_extra=OUT)
CSV: Any = Field(None, description="CSV file to write the estimates table to.", json_schema_extra=OUT)
GRAPH: Any = Field(
    None,
    description="Saved adjacency graph; built from the polygons if not given.",
    json_schema_extra=IN,
)
EXCEL: Any = Field(
    None,
    description="Excel workbook to write: estimates, coefficients, diagnostics, what was left out, settings.",
    json_schema_extra=OUT,
)
RELIABILITY: Any = Field(
    "statcan",
    description="Reliability preset (statcan, bps, bps_25_50, acs, samhsa_proportion) or the path of a JSON file "
    "with one of your own.",
    json_schema_extra={"path": "input_or_name"},
)


def as_list(value: Any) -> Any:
    """One name stands for a list of one."""
    return [value] if isinstance(value, str) else value


_NAMES: dict[str, Any] = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
FieldNames = Annotated[list[str], BeforeValidator(as_list), WithJsonSchema(_NAMES)]


class TaskParameters(BaseModel):
    """Common settings: unknown names are errors, never ignored."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class ReadingPolygons(TaskParameters):
    """How to read a polygon layer."""

    layer: str | None = Field(None, description="Layer name inside the file; needed only if there are several.")
    id_field: str | None = Field(
        None, description="Field with the area ids, one value for each polygon; the row number if not given."
    )
    crs: str | None = Field(
        None,
        description="Coordinate reference system to assume where the layer has none, for example EPSG:4267. "
        "It never overrides the layer's own.",
    )
    repair: bool = Field(
        False,
        description="Repair what can be repaired without guessing (invalid rings, repeated rows of one area, "
        "rows without a shape) and report each change. Without it, such polygons are an error.",
    )
