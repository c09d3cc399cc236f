"""The numbers of the tutorial on King County, where its data are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import smallarea

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "tutorial-king-county.md").read_text(encoding="utf-8")
DIRECT = {
    "area_field": "hracode",
    "indicators": "diabetes = proportion(diab2 = 1)",
    "weight": "rwt_llcp",
    "strata": "strata",
    "missing_design": "drop",
}


def row(name: str) -> list[str]:
    return [
        cell.strip() for cell in next(line for line in PAGE.splitlines() if line.startswith(f"| {name} |")).split("|")
    ]


def test_the_table_says_what_the_steps_say(shared) -> None:
    areas, survey = shared("kingcounty_hra.gpkg"), shared("brfss_kingcounty.csv")
    direct = smallarea.direct_estimates(areas, id_field="hra", table=survey, **DIRECT)
    assert direct.table["cv_diabetes"].median() == pytest.approx(0.267, abs=1e-3)
    assert direct.table["deff_diabetes"].median() == pytest.approx(1.566, abs=1e-3)
    smoothed = smallarea.smooth_variances(
        table=direct.table,
        table_id_field="area",
        direct="diabetes",
        variance="variance_diabetes",
        n="n_diabetes",
        df="df_diabetes",
        method="n_eff",
        estimate_term="binomial",
    )
    assert smoothed.summary["r_squared"] == pytest.approx(0.761, abs=1e-3)
    for effect, name in (
        ("iid", "no neighbours (`iid`)"),
        ("car", "neighbours, proper CAR (`car`)"),
        ("bym2", "neighbours, BYM2 (`bym2`)"),
    ):
        fit = smallarea.fit(
            areas,
            id_field="hra",
            table=smoothed.table,
            table_id_field="area",
            direct="diabetes",
            variance="variance_smoothed_diabetes",
            transformation="logit",
            random_effect=effect,
        )
        said = row(name)
        assert fit.fit_statistics["log_marginal_likelihood"] == pytest.approx(float(said[2]), abs=0.15)
        assert fit.estimates["se"].median() == pytest.approx(float(said[3]), abs=2e-4)
    south = fit.estimates.set_index("area").loc["Auburn-South"]
    assert south["direct"] == pytest.approx(0.233, abs=1e-3)
    assert south["estimate"] == pytest.approx(0.170, abs=2e-3)


def test_the_survey_does_not_match_until_the_rows_without_an_area_are_accepted(shared) -> None:
    from smallarea.errors import TableProblem

    with pytest.raises(TableProblem, match="139 rows"):
        smallarea.match_areas(
            shared("kingcounty_hra.gpkg"),
            id_field="hra",
            table=shared("brfss_kingcounty.csv"),
            table_id_field="hracode",
        )


def test_every_option_of_its_commands_exists() -> None:
    from smallarea.cli.options import option_name
    from smallarea.jobs.schema import TASKS

    tasks = ("match_areas", "direct_estimates", "smooth_variances", "fit")
    known = {option_name(name) for task in tasks for name in TASKS[task].model_fields}
    used = set(re.findall(r"--[a-z][a-z-]+", " ".join(re.findall(r"```\n(.*?)```", PAGE, flags=re.S))))
    assert used
    assert used <= known
