"""What lives in the QGIS process: provider, settings, and the reins of the engine. No numerical package."""
