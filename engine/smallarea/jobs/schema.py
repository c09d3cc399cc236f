"""What a job may say: one model per task, the single source of names, defaults and help texts.

The command line builds its options from these models, the QGIS algorithms read them from the JSON schema
that ``smallarea schema`` prints (kept in ``resources/job_schema.json``), and a test holds the Python
functions' signatures against them. A parameter is therefore added here, once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from smallarea.errors import named
from smallarea.jobs.schema_aggregate import AggregateSurface
from smallarea.jobs.schema_areas import BuildAdjacency, CheckAreas
from smallarea.jobs.schema_bartsimp import FitBartsimp, PredictSurface
from smallarea.jobs.schema_benchmark import Benchmark
from smallarea.jobs.schema_calibrate import CalibrateWeights
from smallarea.jobs.schema_compare import Compare
from smallarea.jobs.schema_counts import FitCounts
from smallarea.jobs.schema_dependence import PartialDependence
from smallarea.jobs.schema_direct import DirectEstimatesOfAreas
from smallarea.jobs.schema_export import Export
from smallarea.jobs.schema_fit import FitAreaLevel
from smallarea.jobs.schema_impute import Impute
from smallarea.jobs.schema_latent import LatentIndicator
from smallarea.jobs.schema_parts import TaskParameters
from smallarea.jobs.schema_prior import ExportPrior, ListPriors, ShowPrior, TrainPrior, VerifyPrior
from smallarea.jobs.schema_published import PreparePublished
from smallarea.jobs.schema_smoothing import SmoothVariances
from smallarea.jobs.schema_space_time import FitSpaceTime
from smallarea.jobs.schema_survey_table import MatchAreas
from smallarea.jobs.schema_trees import FitTrees

__all__ = ["JOB_VERSION", "TASKS", "FitAreaLevel", "Job", "TaskParameters", "json_schema"]

JOB_VERSION = 1


class Status(TaskParameters):
    """Say which engine this is, what it found, and what is missing."""


TASKS: dict[str, type[TaskParameters]] = {
    "check_areas": CheckAreas,
    "build_adjacency": BuildAdjacency,
    "direct_estimates": DirectEstimatesOfAreas,
    "fit": FitAreaLevel,
    "fit_counts": FitCounts,
    "fit_space_time": FitSpaceTime,
    "fit_trees": FitTrees,
    "fit_bartsimp": FitBartsimp,
    "predict_surface": PredictSurface,
    "aggregate_surface": AggregateSurface,
    "partial_dependence": PartialDependence,
    "compare": Compare,
    "export": Export,
    "benchmark": Benchmark,
    "calibrate_weights": CalibrateWeights,
    "prepare_published": PreparePublished,
    "match_areas": MatchAreas,
    "impute": Impute,
    "latent_indicator": LatentIndicator,
    "smooth_variances": SmoothVariances,
    "train_prior": TrainPrior,
    "verify_prior": VerifyPrior,
    "show_prior": ShowPrior,
    "list_priors": ListPriors,
    "export_prior": ExportPrior,
    "status": Status,
}


def _known_task(task: str) -> str:
    if task not in TASKS:
        raise PydanticCustomError(
            "literal_error", "Input should be one of {tasks}", {"tasks": named(TASKS, len(TASKS))}
        )
    return task


class Job(BaseModel):
    """A versioned job description.

    Relative paths in it are relative to the folder of the job file.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = Field(description="Version of this format.")
    task: Annotated[str, AfterValidator(_known_task), WithJsonSchema({"enum": list(TASKS)})]
    parameters: dict[str, Any] = Field(default_factory=dict)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of every task, keyed by task name."""
    return {
        "job_version": JOB_VERSION,
        "tasks": {name: model.model_json_schema() for name, model in TASKS.items()},
    }
