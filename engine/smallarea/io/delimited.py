"""Delimited text files: what they are encoded in, what separates their columns, and which columns are needed."""

from __future__ import annotations

import codecs
import csv
import io
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io.fields import check_names
from smallarea.io.ids import repeated
from smallarea.io.numbers_in_text import NumberFormat, typed

_SEPARATORS = (";", "\t", ",")
_HEAD = 1 << 18
_BINARY = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"SQLite format 3": "a GeoPackage or another SQLite database",
    b"PAR1": "a Parquet table",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
    b"$FL3": "an SPSS file",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
}


def read_delimited(
    name: str,
    columns: Sequence[str] | None,
    text_columns: Collection[str],
    encoding: str | None,
    numbers: NumberFormat,
) -> pd.DataFrame:
    """Read a CSV file or a relative of it.

    Parameters
    ----------
    name : str
        The file.
    columns : sequence of str or None
        Columns to keep; None for all.
    text_columns : collection of str
        Columns to read as text, exactly as written.
    encoding : str or None
        As Python names it; None finds out between UTF-8, UTF-16 with its mark, and Windows-1252.
    numbers : NumberFormat
        How numbers are written.

    Returns
    -------
    pandas.DataFrame
        One row a record; rows of nothing but separators are left out.

    Raises
    ------
    TableProblem
        If the file is empty, binary, in another encoding, or its rows do not fit its header.
    JobProblem
        If there is no such encoding.
    """
    content = _as_utf8(_content(name), name, encoding)
    head = content[:_HEAD].decode("utf-8", errors="ignore")
    if not head or (head.isspace() and not content.strip()):
        raise TableProblem(f"The table {name} is empty.")
    separator = _separator(head)
    header = _header(content, separator, name)
    chosen = None
    if columns is not None:
        check_names(header, columns, f"the table {Path(name).name}")
        chosen = sorted({header.index(column) for column in columns})
        _check_widths(content, separator, len(header), name)
    frame = _parse(content, separator, chosen, name)
    frame.columns = [str(column).strip() for column in frame.columns]
    blank = _blank_rows(frame)
    if blank.any():
        # A respondent without an answer to the chosen questions is no blank row.
        blank &= _blank_rows(frame if chosen is None else _parse(content, separator, None, name))
        frame = frame[~blank].reset_index(drop=True)
    for column in frame.columns:
        if column in text_columns:
            frame[column] = frame[column].where(~_blank(frame[column]), None)
        else:
            frame[column] = typed(frame[column], numbers, comma_too=separator == ";")
    return frame


def _content(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except IsADirectoryError as error:
        raise TableProblem(f"{name} is a folder, not a table. Give the path of a file.") from error
    except OSError as error:
        raise TableProblem(f"Cannot read the table {name}: {error.strerror or error}.") from error


def _as_utf8(content: bytes, name: str, encoding: str | None) -> bytes:
    """Return the text as UTF-8 without a byte order mark.

    Pandas reads bytes with far less memory than a text of the same file.
    """
    found = _decoded(content, name, encoding)
    if found is None:
        return content.removeprefix(codecs.BOM_UTF8)
    if "\0" in found:
        raise TableProblem(f"The table {name} has zero characters: it is a binary file, or in another encoding.")
    return found.removeprefix("\ufeff").encode("utf-8", errors="replace")


def _decoded(content: bytes, name: str, encoding: str | None) -> str | None:
    """Return the text, None if the bytes are UTF-8 already."""
    if encoding is not None:
        return _in_encoding(content, name, encoding)
    # Excel's "Unicode text" is UTF-16 and says so in its first two bytes.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _in_encoding(content, name, "utf-16")
    _refuse_binary(content, name)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return content.decode("cp1252")
        except UnicodeDecodeError as error:
            raise TableProblem(
                f"The table {name} is neither UTF-8 nor Windows-1252 text. Save it as UTF-8, or name its encoding."
            ) from error
    return None


def _in_encoding(content: bytes, name: str, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise JobProblem(
            f"There is no text encoding {encoding!r}. Write it like utf-8, utf-16, cp1252 or latin-1."
        ) from error
    except UnicodeError as error:
        raise TableProblem(f"The table {name} is not {encoding} text: {error}. Name its encoding.") from error


def _refuse_binary(content: bytes, name: str) -> None:
    what = next((text for start, text in _BINARY.items() if content.startswith(start)), None)
    if what is not None:
        raise TableProblem(
            f"The table {name} is called {Path(name).suffix} but is {what}. Give it its own ending, or save it as CSV."
        )
    head = content[: 1 << 13]
    control = sum(head.count(byte) for byte in [*range(1, 9), *range(14, 26), *range(28, 32)])
    if b"\0" in content or control > 0.05 * len(head):
        raise TableProblem(
            f"The table {name} is a binary file, not text. If it is UTF-16 text, name its encoding; else give it its "
            "own ending, or save it as CSV."
        )


def _separator(head: str) -> str:
    """Take the separator that splits the first lines evenly; the comma where nothing does.

    Semicolon and tabulator go first: with decimal commas, a comma may split the lines evenly as well.
    """
    lines = [line for line in head.splitlines()[:50] if line.strip()]
    for separator in _SEPARATORS:
        try:
            widths = {len(row) for row in csv.reader(lines[:20], delimiter=separator)}
        except csv.Error:  # absurdly long values; the first line decides
            break
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    return next((separator for separator in _SEPARATORS if lines and separator in lines[0]), ",")


def _records(content: bytes, separator: str) -> Iterator[list[str]]:
    """Yield the records that are not empty lines."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    return (record for record in csv.reader(text, delimiter=separator) if record)


def _header(content: bytes, separator: str, name: str) -> list[str]:
    """Return the column names; refuse repeated ones, of which pandas would quietly rename all but the first."""
    try:
        header = [column.strip() for column in next(_records(content, separator), [])]
    except csv.Error as error:
        raise TableProblem(f"Cannot read the first line of the table {name}: {error}.") from error
    twice = repeated(column for column in header if column)
    if twice:
        raise TableProblem(f"The table {name} has several columns named {named(twice)}. Rename all but one of each.")
    return header


def _check_widths(content: bytes, separator: str, width: int, name: str) -> None:
    """Refuse rows with more values than the header has names: pandas looks only where all columns are read."""
    try:
        long = [row for row, record in enumerate(_records(content, separator)) if len(record) > width]
    except csv.Error as error:
        raise TableProblem(f"Cannot read the table {name} with the separator {separator!r}: {error}") from error
    if long:
        raise TableProblem(
            f"Cannot read the table {name} with the separator {separator!r}: {len(long)} rows have more than the "
            f"{width} values of the header, row {named(long)}. Put quotation marks around values with a separator."
        )


def _parse(content: bytes, separator: str, chosen: list[int] | None, name: str) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # Pandas only warns when rows have more values than there are column names, and cuts them off.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.BytesIO(content),
                sep=separator,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                usecols=chosen,
                encoding="utf-8",
            )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise TableProblem(f"Cannot read the table {name} with the separator {separator!r}: {error}") from error


def _blank_rows(frame: pd.DataFrame) -> np.ndarray:
    """Say which rows are blank in every column: spreadsheets leave rows of separators at the end."""
    blank = np.ones(len(frame), dtype=bool)
    for column in frame.columns:
        if not blank.any():
            break
        values = frame[column].to_numpy(dtype=object)[blank]
        blank[blank] = [isinstance(value, str) and not value.strip() for value in values]
    return blank


def _blank(column: pd.Series) -> pd.Series:
    codes, uniques = pd.factorize(column)
    blank = np.array([not str(text).strip() for text in uniques] + [False], dtype=bool)
    return pd.Series(blank[codes], index=column.index)
