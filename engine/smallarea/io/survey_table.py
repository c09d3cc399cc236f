"""Survey tables of any format: read once, with a summary of what was read and the labels of coded columns."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.errors import TableProblem, named
from smallarea.io.fields import check_field, check_names
from smallarea.io.ids import id_texts, repeated
from smallarea.io.numbers_in_text import DecimalSign, NumberFormat, ThousandsSeparator, typed
from smallarea.io.point_layers import only_points, read_points
from smallarea.io.statistical import Labelled
from smallarea.io.tables import as_text, load_table

if TYPE_CHECKING:
    import geopandas as gpd

# Rows that repeat another one are ordinary among a few coded columns. They are copies where a whole file has so many,
# although its columns have values for many times as many different rows; or where nearly all rows are the same.
_COPIES = 0.05
_VARIETY = 50.0
_NEARLY_ALL = 0.999


@dataclass(frozen=True)
class SurveyTable:
    """A table of respondents, or of anything else with one row a record.

    Attributes
    ----------
    frame : pandas.DataFrame
        The columns that were asked for, in the order of the file, with a RangeIndex. Coded columns hold their
        codes.
    labels : dict
        Column to a dictionary from code to label (Stata and SPSS files).
    titles : dict
        Column to the text that describes it.
    source : str
        Where it came from.
    notes : tuple of str
        What was left out.
    whole : bool
        Whether all columns were read.
    points : geopandas.GeoSeries or None
        The point of each row, where a point layer was read with ``points=True``.
    """

    frame: pd.DataFrame
    labels: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()
    whole: bool = True
    points: gpd.GeoSeries | None = None

    @cached_property
    def summary(self) -> pd.DataFrame:
        """What was read, one row a column of the table.

        ``column``, ``type`` (number, whole number, text, date or yes/no), ``missing``, ``distinct``,
        ``minimum``, ``maximum`` (text; empty for text columns), ``labels`` (how many codes have one), ``title``.
        """
        return pd.DataFrame([self._summarise(str(column)) for column in self.frame.columns])

    @cached_property
    def n_repeated(self) -> int:
        """Rows that are the same as an earlier row in every column that was read."""
        return int(self.frame.duplicated().sum()) if len(self.frame.columns) else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence where so many rows are copies that the file is probably not what it should be."""
        share = self.n_repeated / max(len(self.frame), 1)
        variety = float(np.prod(np.maximum(self.summary["distinct"].to_numpy(dtype=float), 1.0)))
        copied = self.whole and share >= _COPIES and variety > _VARIETY * len(self.frame)
        if not copied and not (share > _NEARLY_ALL and self.n_repeated > 1):
            return ()
        return (
            f"{self.n_repeated:,} of {len(self.frame):,} rows of {self.source} are the same as an earlier row in every "
            "column that was read. If they are copies, remove them: each counts as a respondent.",
        )

    def rows(self, keep: np.ndarray) -> SurveyTable:
        """Return some of the rows.

        Parameters
        ----------
        keep : ndarray of bool, shape (n,)
            Which.

        Returns
        -------
        SurveyTable
            Without points.
        """
        frame = self.frame[keep].reset_index(drop=True)
        frame.attrs = dict(self.frame.attrs)
        return SurveyTable(frame, self.labels, self.titles, self.source, self.notes, self.whole)

    def texts(self, column: str, *, labels: bool = False) -> list[str | None]:
        """Return a column as text, as areas and groups are called.

        Parameters
        ----------
        column : str
            The column.
        labels : bool
            Whether to take the labels of the codes.

        Returns
        -------
        list of (str or None)
            One a row, None where missing. Whole numbers have no decimal point.

        Raises
        ------
        TableProblem
            If there is no such column, or labels are asked for and the column, or one of its codes, has none.
        """
        check_field(self.frame, column, self.source)
        codes, uniques = pd.factorize(self.frame[column])
        found = id_texts(uniques)
        if labels:
            by_code = self.label_texts(column)
            without = [text for text in found if text is not None and text not in by_code]
            if without:
                raise TableProblem(
                    f"Column {column!r} of {self.source} has {len(without)} codes without a label: {named(without)}. "
                    "Label them in the file, or use the codes."
                )
            found = [None if text is None else by_code[text] for text in found]
        return [*np.array([*found, None], dtype=object)[codes]]

    def label_texts(self, column: str) -> dict[str, str]:
        """Return the labels of a column by code, codes as text.

        Raises
        ------
        TableProblem
            If the column has no labels.
        """
        if not self.labels.get(column):
            raise TableProblem(
                f"Column {column!r} of {self.source} has no value labels. Use its values as they are: only Stata and "
                "SPSS files have labels."
            )
        codes = id_texts(self.labels[column])
        return {
            code: label for code, label in zip(codes, self.labels[column].values(), strict=True) if code is not None
        }

    def _summarise(self, name: str) -> dict[str, Any]:
        column = self.frame[name]
        kind = _kind(column)
        present = column.dropna()
        ordered = kind != "text" and len(present) > 0
        return {
            "column": name,
            "type": kind,
            "missing": int(column.isna().sum()),
            "distinct": int(present.nunique()),
            "minimum": _shown(present.min(), kind) if ordered else "",
            "maximum": _shown(present.max(), kind) if ordered else "",
            "labels": len(self.labels.get(name, ())),
            "title": self.titles.get(name, ""),
        }


def read_survey(
    source: str | os.PathLike[str] | pd.DataFrame,
    layer: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    text_columns: Collection[str] = (),
    encoding: str | None = None,
    decimal: DecimalSign | None = None,
    thousands: ThousandsSeparator | None = None,
    points: bool = False,
) -> SurveyTable:
    """Read a survey table: CSV, Excel, Parquet, Stata, SPSS, any table that GDAL reads, or a data frame.

    Parameters
    ----------
    source : path or pandas.DataFrame
        The file, or the table itself (which is not changed).
    layer : str, optional
        Layer or sheet name; needed only if there are several.
    columns : sequence of str, optional
        Columns to read, all if not given. Those in `text_columns` are read as well.
    text_columns : collection of str
        Columns to read as text, exactly as written: ids keep their leading zeros.
    encoding : str, optional
        Encoding of the file's text, for example ``latin-1``. If not given, a CSV file is UTF-8, UTF-16 with its
        mark, or Windows-1252; the other formats say theirs.
    decimal : {"point", "comma"}, optional
        Decimal sign of numbers that are written as text. If not given it is a point; in a CSV file with
        semicolons, columns may have a comma as well.
    thousands : {"comma", "point", "space", "apostrophe"}, optional
        What separates thousands in numbers that are written as text. It is never guessed.
    points : bool
        Read the points of a point layer as well.

    Returns
    -------
    SurveyTable
        The table, its labels and its summary.

    Raises
    ------
    TableProblem
        If the file is missing, empty, damaged, binary, in another encoding or has no rows; if the layer or a column
        is unknown, or columns share a name. With `points`, if it is no point layer.
    JobProblem
        If there is no such encoding, or decimal sign and thousands separator do not fit.
    EngineUnavailable
        If the file needs a library that is not installed (pyreadstat, pyarrow, openpyxl).
    """
    numbers = NumberFormat(decimal, thousands)
    chosen = None if columns is None else list(dict.fromkeys([*columns, *text_columns]))
    shapes: gpd.GeoSeries | None = None
    if isinstance(source, pd.DataFrame):
        name = str(source.attrs.get("source", "the data frame"))
        loaded, shapes = _of_frame(source, chosen, text_columns, name, points)
    else:
        name = Path(source).name
        loaded = load_table(
            source, layer, columns=chosen, text_columns=text_columns, encoding=encoding, numbers=numbers
        )
        shapes = read_points(source, layer) if points else None
    twice = repeated(map(str, loaded.frame.columns))
    if twice:
        raise TableProblem(f"{name} has several columns named {named(twice)}. Rename all but one of each.")
    frame = _plain(loaded.frame, text_columns, numbers)
    if not len(frame):
        raise TableProblem(f"The table {name} has no rows, only the columns {named([*map(str, frame.columns)], 10)}.")
    frame.attrs = {"source": name, "decimal": decimal, "thousands": thousands}
    return SurveyTable(frame, loaded.labels, loaded.titles, name, loaded.notes, chosen is None, shapes)


def _of_frame(
    source: pd.DataFrame, columns: list[str] | None, text_columns: Collection[str], name: str, points: bool
) -> tuple[Labelled, gpd.GeoSeries | None]:
    import geopandas as gpd

    frame = source.reset_index(drop=True)
    frame.columns = pd.Index([str(column) for column in frame.columns])
    shapes = None
    if isinstance(frame, gpd.GeoDataFrame) and frame.active_geometry_name is not None:
        shapes = frame.geometry
        frame = pd.DataFrame(frame.drop(columns=frame.active_geometry_name))
    if points and shapes is None:
        raise TableProblem(f"There are no points in {name}. Give a GeoDataFrame with points, or coordinate columns.")
    twice = [column for column in repeated(frame.columns) if columns is None or column in columns]
    if twice:
        raise TableProblem(f"{name} has several columns named {named(twice)}. Rename all but one of each.")
    wanted = [*frame.columns] if columns is None else columns
    check_names([*frame.columns], [*wanted, *text_columns], name)
    frame = pd.DataFrame({column: frame[column] for column in frame.columns if column in set(wanted)})
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype(frame[column].cat.categories.dtype)
        if frame[column].dtype == object and any(isinstance(one, list | dict | set) for one in frame[column]):
            raise TableProblem(f"Column {column!r} of {name} holds lists or structures. Leave it out.")
        if column in text_columns:
            frame[column] = as_text(frame[column])
    return Labelled(frame), only_points(shapes, name) if points and shapes is not None else None


def _plain(frame: pd.DataFrame, text_columns: Collection[str], numbers: NumberFormat) -> pd.DataFrame:
    """Take blank texts for missing, and turn texts into numbers where the user has said how numbers are written."""
    for column in frame.columns:
        texts = frame[column]
        if column in text_columns or _kind(texts) != "text":
            continue
        distinct = texts.dropna().unique()
        if any(isinstance(one, str) and not one.strip() for one in distinct):
            frame[column] = texts = texts.where(texts.astype(str).str.strip() != "", None)
        if numbers.is_named and all(isinstance(one, str) for one in distinct):
            frame[column] = typed(texts, numbers)
    return frame


def _kind(column: pd.Series) -> str:
    types = pd.api.types
    if types.is_bool_dtype(column.dtype):
        return "yes/no"
    if types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        with np.errstate(invalid="ignore"):
            return "whole number" if np.all(np.isnan(values) | (values == np.floor(values))) else "number"
    return "date" if types.is_datetime64_any_dtype(column.dtype) else "text"


def _shown(value: Any, kind: str) -> str:
    if kind == "date":
        return str(pd.Timestamp(value).date())
    if kind == "yes/no":
        return "yes" if value else "no"
    return f"{float(value):.10g}"
