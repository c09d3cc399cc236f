"""The one place that decides which Qt binding is used.

QGIS has loaded one already, and a second one in the same process crashes it. ``qtpy`` picks the binding by itself when
it is first imported, so it is told first. Where QGIS's Python has no ``qtpy``, the same names come from ``qgis.PyQt``.
"""

from __future__ import annotations

import os
import sys

from qgis.PyQt import QtCore as _loaded_core

BINDING = _loaded_core.QObject.__module__.partition(".")[0]


def _bind_qtpy() -> bool:
    """Import ``qtpy`` on QGIS's binding; say whether that worked."""
    before = os.environ.get("QT_API")
    if "qtpy" not in sys.modules:
        os.environ["QT_API"] = BINDING.lower()
    try:
        import qtpy
    except ImportError:
        return False
    finally:
        # Other plugins and child processes keep the environment that they had.
        if before is None:
            os.environ.pop("QT_API", None)
        else:
            os.environ["QT_API"] = before
    return qtpy.API_NAME == BINDING


USES_QTPY = _bind_qtpy()

if USES_QTPY:
    from qtpy import QtCore, QtGui, QtWidgets
else:
    from qgis.PyQt import QtCore, QtGui, QtWidgets

__all__ = ["BINDING", "USES_QTPY", "QtCore", "QtGui", "QtWidgets"]
