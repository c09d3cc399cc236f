"""The Processing provider: always there, whether the engine is or not."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider

from .paths import ICON, engine_version
from .qt import QtGui


class SmallareaProvider(QgsProcessingProvider):
    """List the algorithms; say which formats they write."""

    def id(self) -> str:
        return "smallarea"

    def name(self) -> str:
        return "Small area estimation"

    def longName(self) -> str:
        return f"Small area estimation ({engine_version()})"

    def versionInfo(self) -> str:
        return engine_version()

    def icon(self) -> QtGui.QIcon:
        return QtGui.QIcon(str(ICON))

    def svgIconPath(self) -> str:
        return str(ICON)

    def loadAlgorithms(self) -> None:
        """Add the algorithms."""
        from ..processing_algorithms.aggregate_surface import AggregateSurface
        from ..processing_algorithms.benchmark_estimates import BenchmarkEstimates
        from ..processing_algorithms.build_adjacency import BuildAdjacency
        from ..processing_algorithms.calibrate_weights import CalibrateWeights
        from ..processing_algorithms.check_areas import CheckAreas
        from ..processing_algorithms.compare_models import CompareModels
        from ..processing_algorithms.direct_estimates import DirectEstimates
        from ..processing_algorithms.engine_status import EngineStatus
        from ..processing_algorithms.exceedance_and_ranks import ExceedanceAndRanks
        from ..processing_algorithms.fit_bartsimp import FitBartsimp
        from ..processing_algorithms.fit_counts import FitCounts
        from ..processing_algorithms.fit_fay_herriot import FitFayHerriot
        from ..processing_algorithms.fit_space_time import FitSpaceTime
        from ..processing_algorithms.fit_trees import FitTrees
        from ..processing_algorithms.impute_survey_answers import ImputeSurveyAnswers
        from ..processing_algorithms.latent_indicator import LatentIndicator
        from ..processing_algorithms.match_areas import MatchAreas
        from ..processing_algorithms.partial_dependence import PartialDependence
        from ..processing_algorithms.predict_surface import PredictSurface
        from ..processing_algorithms.prepare_published import PreparePublished
        from ..processing_algorithms.prior_certificate import PriorCertificate
        from ..processing_algorithms.smooth_variances import SmoothVariances
        from ..processing_algorithms.train_spatial_prior import TrainSpatialPrior

        for algorithm in (
            CheckAreas,
            BuildAdjacency,
            MatchAreas,
            CalibrateWeights,
            ImputeSurveyAnswers,
            LatentIndicator,
            DirectEstimates,
            PreparePublished,
            SmoothVariances,
            FitFayHerriot,
            FitCounts,
            FitSpaceTime,
            FitTrees,
            FitBartsimp,
            PredictSurface,
            AggregateSurface,
            PartialDependence,
            CompareModels,
            ExceedanceAndRanks,
            BenchmarkEstimates,
            TrainSpatialPrior,
            PriorCertificate,
            EngineStatus,
        ):
            self.addAlgorithm(algorithm())

    # The engine writes the files itself, and it writes GeoPackages.
    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        return ["gpkg"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        return "gpkg"

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        return ["tif"]

    def defaultRasterFileExtension(self) -> str:
        return "tif"

    def supportsNonFileBasedOutput(self) -> bool:
        return False
