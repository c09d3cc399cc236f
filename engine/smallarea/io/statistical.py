"""Files of statistics programs: Stata and SPSS with their value labels, and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from smallarea.errors import EngineUnavailable, SmallareaError, TableProblem, named
from smallarea.io.crash_test import check_readable
from smallarea.io.fields import check_names

LABELLED = {".dta", ".sav", ".zsav"}
PARQUET = {".parquet", ".pq"}


@dataclass(frozen=True)
class Labelled:
    """A table and what its file says of it.

    Attributes
    ----------
    frame : pandas.DataFrame
        The values; coded columns hold their codes.
    labels : dict
        Column to a dictionary from code to label.
    titles : dict
        Column to the text that describes it.
    notes : tuple of str
        What was left out.
    """

    frame: pd.DataFrame
    labels: dict[str, dict[Any, str]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_labelled(name: str, columns: Sequence[str] | None, encoding: str | None) -> Labelled:
    """Read a Stata (.dta) or SPSS (.sav, .zsav) file.

    Parameters
    ----------
    name : str
        The file.
    columns : sequence of str or None
        Columns to read; None for all.
    encoding : str or None
        Encoding of the texts where the file does not say it or is wrong about it.

    Returns
    -------
    Labelled
        What the user declared as missing is missing.

    Raises
    ------
    TableProblem
        If the file is no such file or damaged, or a column is unknown.
    EngineUnavailable
        If pyreadstat is not installed.
    """
    try:
        import pyreadstat
    except ImportError as error:
        raise EngineUnavailable(
            "Reading Stata and SPSS files needs pyreadstat. Install it (pip install pyreadstat), or save the table as "
            "CSV."
        ) from error
    kind = "a Stata file" if Path(name).suffix.lower() == ".dta" else "an SPSS file"
    reader = "read_dta" if kind == "a Stata file" else "read_sav"

    def call(**options: Any) -> tuple[pd.DataFrame, Any]:
        found: tuple[pd.DataFrame, Any] = getattr(pyreadstat, reader)(
            name, encoding=encoding, dates_as_pandas_datetime=True, **options
        )
        return found

    _refuse_folder(name)
    check_readable(name, reader, columns, encoding)
    if columns is not None:
        names = _guarded(name, kind, lambda: call(metadataonly=True))[1].column_names
        check_names(names, columns, f"the table {Path(name).name}")
    frame, about = _guarded(name, kind, lambda: call(usecols=None if columns is None else list(columns)))
    kept = set(frame.columns)
    return Labelled(
        frame,
        {column: dict(codes) for column, codes in about.variable_value_labels.items() if column in kept},
        {column: str(title) for column, title in about.column_names_to_labels.items() if title and column in kept},
    )


def read_parquet(name: str, columns: Sequence[str] | None, text_columns: Collection[str]) -> Labelled:
    """Read a Parquet file.

    Parameters
    ----------
    name : str
        The file.
    columns : sequence of str or None
        Columns to read; None for all. Lists and structures are left out then.
    text_columns : collection of str
        Columns that will be text: whole numbers among them keep all their digits beside missing values.

    Returns
    -------
    Labelled
        Without labels, which Parquet has none of.

    Raises
    ------
    TableProblem
        If the file is no Parquet file or damaged, or a column is unknown or holds lists or structures.
    EngineUnavailable
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise EngineUnavailable(
            "Reading Parquet files needs pyarrow. Install it (pip install pyarrow), or save the table as CSV."
        ) from error
    _refuse_folder(name)
    schema = _guarded(name, "a Parquet file", lambda: pyarrow.parquet.read_schema(name))
    nested = [one.name for one in schema if pa.types.is_nested(one.type) or pa.types.is_binary(one.type)]
    if columns is not None:
        check_names(schema.names, columns, f"the table {Path(name).name}")
        bad = [column for column in columns if column in nested]
        if bad:
            raise TableProblem(f"Columns of {name} that hold lists, structures or bytes: {named(bad)}. Leave them out.")
        wanted = list(columns)
    else:
        # Pandas stores a row index without a name under this one.
        wanted = [one for one in schema.names if one not in nested and not one.startswith("__index_level_")]

    def load() -> pd.DataFrame:
        found = pyarrow.parquet.ParquetFile(name).read(columns=wanted)
        for place, one in enumerate(found.schema):
            if one.name in text_columns and pa.types.is_integer(one.type):
                found = found.set_column(place, one.name, found.column(place).cast(pa.string()))
            elif pa.types.is_decimal(one.type):
                found = found.set_column(place, one.name, found.column(place).cast(pa.float64()))
            elif pa.types.is_dictionary(one.type):
                found = found.set_column(place, one.name, found.column(place).cast(one.type.value_type))
        return found.to_pandas(ignore_metadata=True)

    frame = _guarded(name, "a Parquet file", load)
    left_out = nested if columns is None else []
    note = f"Columns with lists, structures or bytes were left out: {named(left_out)}."
    return Labelled(frame, notes=(note,) if left_out else ())


def _guarded(name: str, kind: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except SmallareaError:
        raise
    except Exception as error:  # the libraries let anything through that a damaged file brings up
        hint = " If its texts are the matter, name their encoding." if "encod" in str(error).lower() else ""
        raise TableProblem(
            f"Cannot read {name} as {kind}: {str(error).strip() or type(error).__name__}. It may be cut off or be "
            f"something else.{hint}"
        ) from error


def _refuse_folder(name: str) -> None:
    if Path(name).is_dir():
        raise TableProblem(f"{name} is a folder, not a table. Give the path of a file.")
