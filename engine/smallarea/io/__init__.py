"""Files in and out: polygon layers, tables, area ids, atomic writes.

Bottom room of the engine: it knows files and nothing of what is in them.
"""

from smallarea.io.atomic import AtomicOutputs, atomic_path, check_suffix, remove_stale
from smallarea.io.ids import IdMatch, as_area_ids, id_texts, match_ids, repeated
from smallarea.io.layers import add_layer, read_layer, write_layer
from smallarea.io.survey_table import SurveyTable, read_survey
from smallarea.io.tables import check_field, numeric_column, read_table

__all__ = [
    "AtomicOutputs",
    "IdMatch",
    "SurveyTable",
    "add_layer",
    "as_area_ids",
    "atomic_path",
    "check_field",
    "check_suffix",
    "id_texts",
    "match_ids",
    "numeric_column",
    "read_layer",
    "read_survey",
    "read_table",
    "remove_stale",
    "repeated",
    "write_layer",
]
