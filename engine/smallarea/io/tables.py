"""Tables of any kind as data frames, with ids that keep their zeros, and columns as numbers or an error."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors

from smallarea.errors import EngineUnavailable, TableProblem, named
from smallarea.io.ids import id_texts, repeated
from smallarea.io.layers import check_source, layer_names

# What counts as "no number" in text. Ids are not looked up here: "NA" is also the code of a country.
MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none", "#n/a", "."})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_LEADING_ZERO = re.compile(r"[+-]?0\d+")
_SEPARATORS = (";", "\t", ",")
_CSV = {".csv", ".txt", ".tsv", ".tab"}
_EXCEL = {".xlsx", ".xlsm"}


def read_table(
    path: str | os.PathLike[str], layer: str | None = None, *, text_columns: Collection[str] = ()
) -> pd.DataFrame:
    """Read a table: CSV, Excel, or any table that GDAL reads.

    Parameters
    ----------
    path : path
        The file. A CSV file may be UTF-8 or Windows-1252, separated by comma, semicolon or tabulator; with
        semicolons, decimal commas are understood.
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
        If an Excel file is given and openpyxl is not installed.
    """
    name = check_source(path, TableProblem)
    kind = Path(name).suffix.lower()
    if kind in _CSV:
        frame = _read_csv(name, text_columns)
    elif kind in _EXCEL:
        frame = _read_excel(name, layer, text_columns)
    else:
        frame = _read_ogr(name, layer, text_columns)
    for column in text_columns:
        check_field(frame, column, f"the table {Path(name).name}")
    frame.attrs = {"source": Path(name).name}
    return frame


def check_field(frame: pd.DataFrame, name: str, where: str = "the table") -> None:
    """Raise if there is no such field.

    Raises
    ------
    TableProblem
        With the closest names and the list of all fields.
    """
    fields = [str(column) for column in frame.columns]
    if name in fields:
        return
    lower = {field.lower(): field for field in fields}
    close = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(repr(field) for field in close)}?" if close else ""
    raise TableProblem(f"There is no field {name!r} in {where}.{hint} It has the fields {named(fields, 40)}.")


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
        field is a number, either all with decimal points or all with decimal commas.

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
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    else:
        numbers = _numbers_of_text(column, name, rows)
    infinite = [rows[i] for i in np.flatnonzero(np.isinf(numbers))]
    if infinite:
        raise TableProblem(f"Field {name!r} is infinite for {named(infinite)}. Leave such values empty.")
    return numbers


def _numbers_of_text(column: pd.Series, name: str, rows: list[str]) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise TableProblem(f"Field {name!r} holds dates, not numbers. Choose a numeric field.")
    texts = ["" if text is None else text.strip() for text in id_texts(column)]
    present = [i for i, text in enumerate(texts) if text.lower() not in MISSING_NUMBERS]
    numbers = np.full(len(texts), np.nan)
    if all(_is_float(texts[i]) for i in present):
        numbers[present] = [float(texts[i]) for i in present]
        return numbers
    if not all(_COMMA_NUMBER.fullmatch(texts[i]) for i in present):
        bad = [i for i in present if not _is_float(texts[i])]
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
    return bool(_NUMBER.fullmatch(text)) or text.lower().lstrip("+-") in {"inf", "infinity"}


def _read_csv(name: str, text_columns: Collection[str]) -> pd.DataFrame:
    text = _decoded(Path(name).read_bytes(), name)
    if not text.strip():
        raise TableProblem(f"The table {name} is empty.")
    separator = _separator(text)
    try:
        with warnings.catch_warnings():
            # Pandas only warns when rows have more values than there are column names, and cuts them off.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise TableProblem(f"Cannot read the table {name} with the separator {separator!r}: {error}") from error
    _check_header(text, separator, name)
    frame.columns = [str(column).strip() for column in frame.columns]
    # Spreadsheets leave rows of separators at the end.
    frame = frame[(frame.apply(lambda column: column.str.strip()) != "").any(axis=1)].reset_index(drop=True)
    for column in frame.columns:
        if column in text_columns:
            frame[column] = frame[column].where(frame[column].str.strip() != "", None)
        else:
            frame[column] = _typed(frame[column], decimal_comma=separator == ";")
    return frame


def _check_header(text: str, separator: str, name: str) -> None:
    """Refuse repeated column names, of which pandas would quietly rename all but the first."""
    header = next(csv.reader(io.StringIO(text), delimiter=separator))
    names = [column.strip() for column in header if column.strip()]
    twice = repeated(names)
    if twice:
        raise TableProblem(f"The table {name} has several columns named {named(twice)}. Rename all but one of each.")


def _decoded(content: bytes, name: str) -> str:
    # Excel's "Unicode text" is UTF-16 and says so in its first two bytes.
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TableProblem(f"The table {name} is neither UTF-8 nor Windows-1252 text. Save it as UTF-8.")


def _separator(text: str) -> str:
    """Take the separator that splits the first lines evenly; the comma where nothing does.

    Semicolon and tabulator go first: with decimal commas, a comma may split the lines evenly as well.
    """
    head = [line for line in text.splitlines()[:50] if line.strip()]
    for separator in _SEPARATORS:
        try:
            widths = {len(row) for row in csv.reader(head[:20], delimiter=separator)}
        except csv.Error:  # absurdly long values; the first line decides
            break
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    for separator in _SEPARATORS:
        if separator in head[0]:
            return separator
    return ","


def _typed(column: pd.Series, decimal_comma: bool) -> pd.Series:
    """Make numbers of a text column if all its values are numbers and none is a code with leading zeros."""
    texts = column.str.strip()
    present = texts[~texts.str.lower().isin(MISSING_NUMBERS)]
    if len(present) and not present.str.fullmatch(_LEADING_ZERO.pattern).any():
        number = texts.where(~texts.str.lower().isin(MISSING_NUMBERS), None)
        if present.str.fullmatch(_NUMBER.pattern).all():
            return pd.to_numeric(number)
        if decimal_comma and present.str.fullmatch(_COMMA_NUMBER.pattern).all():
            return pd.to_numeric(number.str.replace(",", ".", regex=False))
    return column.where(texts != "", None)


def _read_excel(name: str, sheet: str | None, text_columns: Collection[str]) -> pd.DataFrame:
    try:
        import openpyxl
    except ImportError as error:
        raise EngineUnavailable(
            "Reading Excel files needs openpyxl. Install it (pip install openpyxl), or save the sheet as CSV."
        ) from error
    try:
        book = openpyxl.load_workbook(name, read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets zip, XML and key errors through
        raise TableProblem(f"Cannot read {name} as an Excel workbook: {error}") from error
    try:
        sheets = {one.title: one for one in book.worksheets}
        rows = list(sheets[_choose_sheet(name, sheets, sheet)].iter_rows(values_only=True))
    finally:
        book.close()
    rows = [row for row in rows if any(value is not None for value in row)]
    if not rows:
        raise TableProblem(f"The sheet of {name} is empty.")
    width = max(i + 1 for row in rows for i, value in enumerate(row) if value is not None)
    header = [str(value).strip() if value is not None else f"column_{i + 1}" for i, value in enumerate(rows[0][:width])]
    frame = pd.DataFrame([list(row[:width]) for row in rows[1:]], columns=header).infer_objects()
    return _with_text(frame, text_columns)


def _choose_sheet(name: str, sheets: dict[str, Any], sheet: str | None) -> str:
    if sheet is not None:
        if sheet not in sheets:
            raise TableProblem(f"{name} has no sheet {sheet!r}. It has {named(list(sheets), 20)}.")
        return sheet
    filled = [title for title, one in sheets.items() if one.max_row is None or one.max_row > 1] or list(sheets)
    if len(filled) > 1:
        raise TableProblem(f"{name} has {len(filled)} sheets: {named(filled, 20)}. Say which one to use.")
    return filled[0]


def _read_ogr(name: str, layer: str | None, text_columns: Collection[str]) -> pd.DataFrame:
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
        info = pyogrio.read_info(name, layer=layer)
        frame = pyogrio.read_dataframe(name, layer=layer, read_geometry=False, fid_as_index=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, UnicodeDecodeError) as error:
        raise TableProblem(f"Cannot read the table {name}: {error}") from error
    fid = info.get("fid_column")
    if fid in text_columns and fid not in frame.columns:
        frame.insert(0, fid, frame.index.to_numpy())
    return _with_text(frame.reset_index(drop=True), text_columns)


def _with_text(frame: pd.DataFrame, text_columns: Collection[str]) -> pd.DataFrame:
    for column in text_columns:
        if column in frame.columns:
            frame[column] = pd.Series(id_texts(frame[column]), index=frame.index, dtype=object)
    return frame
