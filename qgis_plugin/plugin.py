"""The plugin object: registers the provider and, where there is a main window, the settings page."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication

from .provider import SmallareaProvider


class SmallareaPlugin:
    """What QGIS loads.

    Parameters
    ----------
    iface : QgisInterface or None
        None in ``qgis_process``.
    """

    def __init__(self, iface: Any) -> None:
        self._iface = iface
        self._provider: SmallareaProvider | None = None
        self._options: Any = None

    def initProcessing(self) -> None:
        """Register the provider; all that ``qgis_process`` asks for."""
        provider = SmallareaProvider()
        # The registry deletes a provider that it refuses, as it does if the plugin is installed twice.
        if QgsApplication.processingRegistry().addProvider(provider):
            self._provider = provider

    def initGui(self) -> None:
        """Register the provider and the settings page."""
        self.initProcessing()
        from .options_page import OptionsFactory

        self._options = OptionsFactory()
        self._iface.registerOptionsWidgetFactory(self._options)

    def unload(self) -> None:
        """Take back what was registered."""
        if self._options is not None:
            self._iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
