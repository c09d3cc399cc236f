"""QGIS plugin entry point; the engine is the package ``engine/smallarea``, not this folder."""


def classFactory(iface):
    """Return the plugin object.

    Parameters
    ----------
    iface : QgisInterface or None
        The main window's interface; None in ``qgis_process``.

    Returns
    -------
    SmallareaPlugin
    """
    from .qgis_plugin.plugin import SmallareaPlugin

    return SmallareaPlugin(iface)
