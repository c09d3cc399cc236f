"""Parameters of the tasks over polygons alone: `check_areas` and `build_adjacency`."""

from __future__ import annotations

from pydantic import Field, model_validator

from smallarea.jobs.schema_parts import IN, OUT, Contiguity, IslandRule, ReadingPolygons


class AreasInput(ReadingPolygons):
    """A polygon layer."""

    areas: str = Field(description="Polygon layer: the path of any vector file that GDAL reads.", json_schema_extra=IN)


class CheckAreas(AreasInput):
    """Validate polygons and report what would break an adjacency graph."""

    min_gap: float = Field(
        1.0,
        ge=0.0,
        description="Gaps between areas narrower than this, in metres, are reported; overlaps always are.",
    )
    sliver_area: float = Field(1.0, ge=0.0, description="Polygons smaller than this, in square metres, are slivers.")
    output: str | None = Field(
        None, description="GeoPackage to write: one feature for each finding.", json_schema_extra=OUT
    )
    repaired: str | None = Field(
        None,
        description="GeoPackage to write the repaired polygons to; needs repair.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None, description="JSON file to write with every finding and every area id.", json_schema_extra=OUT
    )

    @model_validator(mode="after")
    def _repaired_needs_repair(self) -> CheckAreas:
        if self.repaired and not self.repair:
            raise ValueError("'repaired' names an output for repaired polygons, so set 'repair' too")
        return self


class BuildAdjacency(AreasInput):
    """Build the adjacency graph of the areas."""

    contiguity: Contiguity = Field(
        "queen",
        description="Queen: areas that share a point are neighbours. Rook: a boundary of some length.",
    )
    islands: IslandRule = Field(
        "own_component",
        description="Areas without a neighbour: keep each as its own component, link it to the nearest area, or stop.",
    )
    graph: str | None = Field(
        None, description="JSON file to write the graph to; 'fit' reads it back.", json_schema_extra=OUT
    )
    edges: str | None = Field(
        None, description="GeoPackage to write the edges to, as lines between areas.", json_schema_extra=OUT
    )
