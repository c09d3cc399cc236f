"""Polygons made fit for use, and the graph of their neighbours.

`read_areas` refuses polygons that cannot be used, `check_areas` reports everything that is wrong with them,
`build_adjacency` makes an `AreaGraph` of them, and `edges_layer` draws it.
"""

from smallarea.areas.areas import Areas, read_areas
from smallarea.areas.check import check_areas
from smallarea.areas.contiguity import build_adjacency
from smallarea.areas.edges import edges_layer
from smallarea.areas.findings import Finding
from smallarea.areas.graph import AreaGraph
from smallarea.areas.report import AreaReport

__all__ = [
    "AreaGraph",
    "AreaReport",
    "Areas",
    "Finding",
    "build_adjacency",
    "check_areas",
    "edges_layer",
    "read_areas",
]
