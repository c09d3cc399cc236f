"""The result of imputation: completed tables, one below the other, and what was missing where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem

if TYPE_CHECKING:
    from smallarea.areas import Areas
    from smallarea.io.survey_table import SurveyTable
    from smallarea.survey.imputation.impute import Imputed
    from smallarea.survey.imputation.overimputation import Overimputation

IMPUTED = "imputed_"


@dataclass(frozen=True)
class ImputationResult:
    """A survey whose missing answers were imputed several times.

    Attributes
    ----------
    imputed : Imputed
        The imputations and the model.
    hidden : Overimputation or None
        How well known answers are imputed that were hidden.
    survey : SurveyTable
        The respondents, as they were read.
    imputation_field : str
        Column of `table` that numbers the completed tables.
    area_field : str or None
        Column with the areas.
    areas : Areas or None
        The polygons.
    settings : dict
        What was asked for.
    warnings, notes : tuple of str
        What to know before using the imputations, and what was done.
    """

    imputed: Imputed
    hidden: Overimputation | None
    survey: SurveyTable
    imputation_field: str
    area_field: str | None
    areas: Areas | None
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def completed(self, m: int) -> pd.DataFrame:
        """Return one completed table: the columns of the survey, then ``imputed_NAME`` (0 or 1).

        Parameters
        ----------
        m : int
            Which, 0 to M - 1; its number in `table` is m + 1.

        Returns
        -------
        pandas.DataFrame, shape (n, ...)
            Questions that were not put are missing. A variable without imputed answers has no ``imputed_NAME``.
        """
        filled = self.imputed.completed(m)
        frame = self.survey.frame.copy()
        for variable in self.imputed.variables:
            column = filled[variable.name]
            if variable.numeric and column.dtype == object:
                column = column.astype(float)
            frame[variable.name] = column.to_numpy()
        for name, flags in self.flags.items():
            frame[f"{IMPUTED}{name}"] = flags
        return frame

    @property
    def flags(self) -> dict[str, np.ndarray]:
        """Which answers are imputed, by variable, 0 or 1, shape (n,)."""
        was = self.imputed.was_missing()
        return {str(name): was[name].to_numpy().astype(np.int32) for name in was.columns if was[name].any()}

    @cached_property
    def table(self) -> pd.DataFrame:
        """All completed tables, one below the other; the first column is `imputation_field`, 1 to M."""
        parts = [self.completed(m) for m in range(self.imputed.imputations)]
        whole = pd.concat(parts, ignore_index=True)
        whole.insert(0, self.imputation_field, np.repeat(np.arange(1, len(parts) + 1), len(self.survey.frame)))
        return whole

    @property
    def missing(self) -> pd.DataFrame:
        """What was missing, one row a variable: ``variable``, ``kind``, ``answers``, ``imputed``, ``not_asked``.

        ``answers`` and ``imputed`` are numbers of respondents; ``not_asked`` those to whom the question was not put,
        as far as it is known before imputation.
        """
        was = self.imputed.was_missing()
        original = self.imputed.original
        rows = []
        for variable in self.imputed.variables:
            answers, imputed = int(original[variable.name].notna().sum()), int(was[variable.name].sum())
            rows.append((variable.name, variable.kind, answers, imputed, len(original) - answers - imputed))
        return pd.DataFrame(rows, columns=["variable", "kind", "answers", "imputed", "not_asked"])

    @property
    def summary(self) -> dict[str, Any]:
        """Respondents, completed tables, imputed answers and the share of them by variable."""
        missing = self.missing
        asked = missing["answers"] + missing["imputed"]
        return {
            "method": self.imputed.record["method"],
            "n_respondents": len(self.survey.frame),
            "n_variables": len(missing),
            "n_imputations": self.imputed.imputations,
            "n_imputed": int(missing["imputed"].sum()),
            "share_imputed": float(missing["imputed"].sum() / max(int(asked.sum()), 1)),
            "variables": {
                str(name): int(count) for name, count in zip(missing["variable"], missing["imputed"], strict=True)
            },
        }


def check_new_columns(survey: SurveyTable, variables: list[str], imputation_field: str) -> None:
    """Refuse new columns whose names the survey has already.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    variables : list of str
        What is imputed.
    imputation_field : str
        Name of the column that numbers the completed tables.

    Raises
    ------
    JobProblem
        Naming the column.
    """
    taken = {str(name).casefold() for name in survey.frame.columns}
    if imputation_field.casefold() in taken:
        raise JobProblem(
            f"The survey has a column {imputation_field!r} already. Give the column that numbers the completed tables "
            "another name (imputation_field)."
        )
    for name in variables:
        made = f"{IMPUTED}{name}".casefold()
        if made in taken or made == imputation_field.casefold():
            raise JobProblem(
                f"The survey has a column {IMPUTED + name!r} already, which would say whether {name!r} is imputed. "
                "Rename it: imputing what was imputed before takes imputed values for answers."
            )
