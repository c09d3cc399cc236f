"""Tables of any kind as data frames, with ids that keep their zeros, and columns as numbers or an error."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors

from smallarea.errors import TableProblem, named
from smallarea.io.delimited import read_delimited
from smallarea.io.fields import check_field, check_names
from smallarea.io.ids import id_texts
from smallarea.io.layers import check_source, layer_names
from smallarea.io.numbers_in_text import COMMA_NUMBER, MISSING_NUMBERS, NUMBER, NumberFormat
from smallarea.io.spreadsheet import read_sheet
from smallarea.io.statistical import LABELLED, PARQUET, Labelled, read_labelled, read_parquet

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_CSV = {".csv", ".txt", ".tsv", ".tab"}
_EXCEL = {".xlsx", ".xlsm"}
_NO_FORMAT = NumberFormat()


def read_table(
    path: str | os.PathLike[str], layer: str | None = None, *, text_columns: Collection[str] = ()
) -> pd.DataFrame:
    """Read a table: CSV, Excel, Stata, SPSS, Parquet, or any table that GDAL reads.

    Parameters
    ----------
    path : path
        The file. A CSV file may be UTF-8 or Windows-1252, separated by comma, semicolon or tabulator; with
        semicolons, decimal commas are understood. `read_survey` has a word in all of that.
    layer : str, optional
        Layer or sheet name; needed only if there are several.
    text_columns : collection of str
        Columns to read as text, exactly as written: ids keep their leading zeros.

    Returns
    -------
    pandas.DataFrame
        One row a record. Columns in which every value is a number are numbers, except those with leading
        zeros.

    Raises
    ------
    TableProblem
        If the file is missing, is no table, or the layer or a text column is unknown.
    EngineUnavailable
        If the file needs a library that is not installed.
    """
    frame = load_table(path, layer, text_columns=text_columns).frame
    frame.attrs = {"source": Path(path).name}
    return frame


def load_table(
    path: str | os.PathLike[str],
    layer: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    text_columns: Collection[str] = (),
    encoding: str | None = None,
    numbers: NumberFormat = _NO_FORMAT,
) -> Labelled:
    """Read a table and what its file says of it; `read_survey` explains the parameters and the errors."""
    name = check_source(path, TableProblem)
    kind = "" if name.startswith("/vsi") else Path(name).suffix.lower()
    if kind in _CSV:
        loaded = Labelled(read_delimited(name, columns, text_columns, encoding, numbers))
    elif kind in _EXCEL:
        loaded = Labelled(read_sheet(name, layer, columns))
    elif kind in LABELLED:
        loaded = read_labelled(name, columns, encoding)
    elif kind in PARQUET:
        loaded = read_parquet(name, columns, text_columns)
    else:
        loaded = Labelled(_read_ogr(name, layer, columns, text_columns, encoding))
    for column in text_columns:
        check_field(loaded.frame, column, f"the table {Path(name).name}")
        if isinstance(loaded.frame[column], pd.DataFrame):
            raise TableProblem(f"The table {name} has several columns named {column!r}. Rename all but one.")
        if kind not in _CSV:
            loaded.frame[column] = as_text(loaded.frame[column])
    return loaded


def as_text(column: pd.Series) -> pd.Series:
    """Return ids as text, None where there is none; each distinct value is looked at once."""
    codes, uniques = pd.factorize(column)
    texts = np.array([*id_texts(uniques), None], dtype=object)
    return pd.Series(texts[codes], index=column.index, name=column.name, dtype=object)


def numeric_column(frame: pd.DataFrame, name: str, ids: Sequence[str] | None = None) -> np.ndarray:
    """Return a field as numbers.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    name : str
        The field.
    ids : sequence of str, optional
        What to call the rows in messages, one a row; the row number, counted from 1, if not given.

    Returns
    -------
    numpy.ndarray
        Float array of shape (n rows,), NaN where there is no value. Text is accepted if every value of the
        field is a number, either all with decimal points or all with decimal commas (`read_survey` notes in
        the frame which of them the user has named).

    Raises
    ------
    TableProblem
        If the field is missing, a value is not a number or is infinite, or commas could be decimal or
        thousands separators. The message names the rows.
    """
    check_field(frame, name)
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise TableProblem(f"The table has {column.shape[1]} fields named {name!r}. Rename all but one.")
    rows = [str(row) for row in range(1, len(frame) + 1)] if ids is None else list(ids)
    said = NumberFormat(frame.attrs.get("decimal"), frame.attrs.get("thousands"))
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    else:
        numbers = _numbers_of_text(column, name, rows, said)
    infinite = [rows[i] for i in np.flatnonzero(np.isinf(numbers))]
    if infinite:
        raise TableProblem(f"Field {name!r} is infinite for {named(infinite)}. Leave such values empty.")
    return numbers


def _numbers_of_text(column: pd.Series, name: str, rows: list[str], said: NumberFormat) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise TableProblem(f"Field {name!r} holds dates, not numbers. Choose a numeric field.")
    texts = ["" if text is None else text.strip() for text in id_texts(column)]
    present = [i for i, text in enumerate(texts) if text.lower() not in MISSING_NUMBERS]
    numbers = np.full(len(texts), np.nan)
    is_number = (lambda text: said.fits([text])) if said.is_named else _is_float
    if all(is_number(texts[i]) for i in present):
        plain = said.plain([texts[i] for i in present]) if said.is_named else [texts[i] for i in present]
        numbers[present] = [float(text) for text in plain]
        return numbers
    if said.is_named or not all(COMMA_NUMBER.fullmatch(texts[i]) for i in present):
        bad = [i for i in present if not is_number(texts[i])]
        examples = ", ".join(f"{texts[i]!r} ({rows[i]})" for i in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise TableProblem(
            f"Field {name!r} has values that are not numbers: {examples}{more}. Correct them or leave them empty."
        )
    commas = [i for i in present if "," in texts[i]]
    if all(_THOUSANDS.fullmatch(texts[i]) for i in commas):
        raise TableProblem(
            f"Field {name!r} has commas which could separate thousands or decimals: "
            f"{', '.join(f'{texts[i]!r} ({rows[i]})' for i in commas[:5])}. Store it as numbers."
        )
    numbers[present] = [float(texts[i].replace(",", ".")) for i in present]
    return numbers


def _is_float(text: str) -> bool:
    return bool(NUMBER.fullmatch(text)) or text.lower().lstrip("+-") in {"inf", "infinity"}


def _read_ogr(
    name: str, layer: str | None, columns: Sequence[str] | None, text_columns: Collection[str], encoding: str | None
) -> pd.DataFrame:
    layers = [one for one, _ in layer_names(name, TableProblem)]
    # Where a GeoPackage keeps its styles is no table of the user's.
    data = [one for one in layers if one != "layer_styles"]
    if layer is None and len(layers) > 1 and len(data) == 1:
        layer = data[0]
    if layer is None and len(layers) > 1:
        raise TableProblem(f"{name} has {len(layers)} layers: {named(layers, 20)}. Say which one to use.")
    if layer is not None and layer not in layers:
        raise TableProblem(f"{name} has no layer {layer!r}. It has {named(layers, 20)}.")
    try:
        info = pyogrio.read_info(name, layer=layer, encoding=encoding)
        fid = info.get("fid_column")
        known = [str(one) for one in info["fields"]]
        if columns is not None:
            check_names([*filter(None, [fid]), *known], columns, f"the table {Path(name).name}")
        frame = pyogrio.read_dataframe(
            name,
            layer=layer,
            encoding=encoding,
            columns=None if columns is None else [one for one in known if one in columns],
            read_geometry=False,
            fid_as_index=True,
        )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, UnicodeDecodeError) as error:
        raise TableProblem(f"Cannot read the table {name}: {error}") from error
    wanted = {*text_columns, *(columns or ())}
    if fid in wanted and fid not in frame.columns:
        frame.insert(0, fid, frame.index.to_numpy())
    return frame.reset_index(drop=True)
