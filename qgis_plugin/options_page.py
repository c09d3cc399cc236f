"""The settings page: which Python runs the engine, whether it works, and a button that makes one."""

from __future__ import annotations

import os
from pathlib import Path

from qgis.gui import QgsOptionsPageWidget, QgsOptionsWidgetFactory

from . import engine_locator, installer, settings
from .background import BackgroundProcess
from .paths import ICON, data_folder, engine_version
from .qt import QtGui, QtWidgets

TITLE = "Small area estimation"
_OWN = (
    "The models run in a Python of their own, outside QGIS. It must be Python 3.11 or newer and have the packages of "
    "the engine, for example in a virtual environment. <i>Verify</i> says what is missing and how to install it."
)
_MADE = (
    "Without one, the plugin can make an environment in <tt>{folder}</tt>. This downloads about 0.2 GB from the Python "
    "package index and takes about 0.7 GB of disk. Nothing is installed into QGIS itself."
)


class OptionsFactory(QgsOptionsWidgetFactory):
    """Put the page into Settings > Options."""

    def __init__(self) -> None:
        super().__init__(TITLE, QtGui.QIcon(str(ICON)))

    def icon(self) -> QtGui.QIcon:
        return QtGui.QIcon(str(ICON))

    def createWidget(self, parent: QtWidgets.QWidget) -> QgsOptionsPageWidget:
        """Return a new page."""
        return OptionsPage(parent)


class OptionsPage(QgsOptionsPageWidget):
    """The page.

    Parameters
    ----------
    parent : QWidget
        The options dialog.
    """

    def __init__(self, parent: QtWidgets.QWidget | None) -> None:
        super().__init__(parent)
        self._process = BackgroundProcess()
        self._process.line.connect(self._log_line)
        self.destroyed.connect(self._process.abandon)
        self._lines: list[str] = []
        self._build()
        self._path.setText(settings.python_path())
        self._show_current()

    def apply(self) -> None:
        """Remember the interpreter; called by the dialog's OK."""
        settings.set_python_path(self._path.text())

    # The widgets.

    def _build(self) -> None:
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self._own_group())
        layout.addWidget(self._made_group())
        layout.addWidget(self._status_group(), 1)

    def _own_group(self) -> QtWidgets.QGroupBox:
        group = QtWidgets.QGroupBox("Python that runs the models")
        layout = QtWidgets.QVBoxLayout(group)
        layout.addWidget(_text(_OWN))
        row = QtWidgets.QHBoxLayout()
        self._path = QtWidgets.QLineEdit()
        self._path.setPlaceholderText("Path of a Python interpreter or of a virtual environment")
        self._path.setToolTip("Empty: the environment made by the plugin, if there is one")
        row.addWidget(self._path, 1)
        browse = QtWidgets.QPushButton("Browse…")
        browse.clicked.connect(self._browse)
        row.addWidget(browse)
        self._verify_button = QtWidgets.QPushButton("Verify")
        self._verify_button.setToolTip("Run it and import every package that the engine needs")
        self._verify_button.clicked.connect(self._verify)
        row.addWidget(self._verify_button)
        layout.addLayout(row)
        return group

    def _made_group(self) -> QtWidgets.QGroupBox:
        group = QtWidgets.QGroupBox("No Python of your own?")
        layout = QtWidgets.QVBoxLayout(group)
        layout.addWidget(_text(_MADE.format(folder=data_folder())))
        row = QtWidgets.QHBoxLayout()
        self._install_button = QtWidgets.QPushButton("Make an environment")
        self._install_button.clicked.connect(self._install)
        row.addWidget(self._install_button)
        self._cancel_button = QtWidgets.QPushButton("Cancel")
        self._cancel_button.clicked.connect(self._process.stop)
        self._cancel_button.setVisible(False)
        row.addWidget(self._cancel_button)
        self._bar = QtWidgets.QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setVisible(False)
        row.addWidget(self._bar, 1)
        row.addStretch()
        layout.addLayout(row)
        return group

    def _status_group(self) -> QtWidgets.QGroupBox:
        group = QtWidgets.QGroupBox("Status")
        layout = QtWidgets.QVBoxLayout(group)
        self._status = _text("")
        layout.addWidget(self._status)
        self._log = QtWidgets.QPlainTextEdit()
        self._log.setReadOnly(True)
        self._log.setMaximumBlockCount(2000)
        layout.addWidget(self._log, 1)
        return group

    # What the buttons do.

    def _browse(self) -> None:
        start = self._path.text() or str(Path.home())
        path, _ = QtWidgets.QFileDialog.getOpenFileName(self, "Python interpreter", start, "All files (*)")
        if path:
            self._path.setText(path)
            self._verify()

    def _verify(self) -> None:
        interpreter = self._find()
        if interpreter is None:
            return
        self._begin(f"Looking at {interpreter.path} …")
        command = engine_locator.probe_command(interpreter.path)
        self._process.start(command, lambda code: self._verified(interpreter, code))

    def _verified(self, interpreter: engine_locator.Interpreter, exit_code: int) -> None:
        output = "\n".join(self._lines)
        probe = engine_locator.read_probe(output, output, exit_code, interpreter.path)
        self._end()
        self._log.clear()
        for problem in probe.problems:
            self._log.appendPlainText(problem)
        for name, version in probe.packages.items():
            self._log.appendPlainText(f"{name} {version}")
        where = f"Python {probe.python} at {interpreter.path}, named by {interpreter.origin}"
        if probe.ok:
            self._say(f"Ready. The models run on {where}; engine {engine_version()}.", good=True)
        else:
            self._say(f"The engine cannot run on {interpreter.path}: see below.", good=False)

    def _install(self) -> None:
        base = installer.base_interpreter([self._path.text().strip()])
        if base is None:
            self._say(
                "No Python 3.11 or newer was found that can make environments. Install one from python.org or your "
                "system's packages (on Debian and Ubuntu also python3-venv), or choose it with Browse and try again.",
                good=False,
            )
            return
        self._begin(f"Making an environment with {base}; QGIS can be used meanwhile, but keep this window open.")
        self._cancel_button.setVisible(True)
        self._process.start([str(base), *installer.install_arguments()], self._installed)

    def _installed(self, exit_code: int) -> None:
        output = "\n".join(self._lines)
        stopped = self._process.stopped
        self._end()
        if exit_code == 0:
            # From now on it is the plugin's own environment that counts.
            self._path.clear()
            settings.set_python_path("")
            self._verify()
        elif stopped:
            self._say("Cancelled. What was there before is unchanged.", good=False)
        else:
            self._say(f"The environment could not be made. {installer.explain(output)}", good=False)

    # Small things.

    def _show_current(self) -> None:
        """Say at once what is set, without running anything."""
        found = self._find()
        if found is None:
            return
        note = " The path above is not used as long as it is set." if os.environ.get(engine_locator.VARIABLE) else ""
        self._say(f"{found.path}, named by {found.origin}.{note} Press Verify to try it.", good=None)

    def _find(self) -> engine_locator.Interpreter | None:
        """Return the interpreter that counts, or say what to do."""
        try:
            return engine_locator.find(self._path.text().strip())
        except engine_locator.NothingNamed:
            self._say("The engine has no Python yet: name one above, or make an environment.", good=False)
        except engine_locator.EngineMissing as error:
            self._say(str(error), good=False)
        return None

    def _begin(self, text: str) -> None:
        self._lines = []
        self._log.clear()
        self._say(text, good=None)
        self._busy(True)

    def _end(self) -> None:
        self._busy(False)
        self._cancel_button.setVisible(False)

    def _busy(self, busy: bool) -> None:
        self._bar.setVisible(busy)
        self._verify_button.setEnabled(not busy)
        self._install_button.setEnabled(not busy)

    def _log_line(self, line: str) -> None:
        self._lines.append(line)
        if not line.startswith("{"):
            self._log.appendPlainText(line)

    def _say(self, text: str, good: bool | None) -> None:
        colour = {True: "#1a7f37", False: "#b42318", None: ""}[good]
        self._status.setStyleSheet(f"color: {colour};" if colour else "")
        self._status.setText(text)


def _text(text: str) -> QtWidgets.QLabel:
    label = QtWidgets.QLabel(text)
    label.setWordWrap(True)
    return label
