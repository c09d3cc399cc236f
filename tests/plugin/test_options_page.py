"""The settings page: verify, install, remember, without blocking."""

import os
import time
from pathlib import Path

import pytest


@pytest.fixture
def page(no_engine, qgis_app):
    from smallarea_qgis.qgis_plugin.options_page import OptionsFactory

    page = OptionsFactory().createWidget(None)
    yield page
    page.deleteLater()


def _wait(page, seconds=60):
    from qgis.PyQt.QtCore import QCoreApplication

    end = time.monotonic() + seconds
    while not page._verify_button.isEnabled() and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.01)
    assert page._verify_button.isEnabled()


def test_says_what_to_do_when_nothing_is_set(page):
    assert "Python" in page._status.text()
    assert "make an environment" in page._status.text()


def test_verify_and_remember(page, engine_python):
    from smallarea_qgis.qgis_plugin import settings

    page._path.setText(engine_python)
    start = time.monotonic()
    page._verify_button.click()
    assert time.monotonic() - start < 0.5
    _wait(page)
    assert page._status.text().startswith("Ready.")
    assert "geopandas" in page._log.toPlainText()
    assert settings.python_path() == ""
    page.apply()
    assert settings.python_path() == engine_python
    page._path.clear()
    page.apply()
    assert settings.python_path() == ""


def test_verify_something_else(page, tmp_path):
    file = tmp_path / "python"
    file.write_text("#!/bin/sh\necho not a python\nexit 4\n")
    file.chmod(0o755)
    page._path.setText(str(file))
    page._verify_button.click()
    _wait(page)
    assert "cannot run" in page._status.text()
    assert "not a python" in page._log.toPlainText()


def test_verify_a_path_that_is_not_there(page):
    page._path.setText("/nowhere/python")
    page._verify_button.click()
    assert "no such file" in page._status.text()


def test_verify_a_file_that_is_no_program(page, tmp_path):
    file = tmp_path / "python"
    file.write_text("text")
    page._path.setText(str(file))
    page._verify_button.click()
    _wait(page)
    assert "cannot run" in page._status.text()


def test_the_variable_comes_first_and_the_page_says_so(no_engine, qgis_app, monkeypatch, engine_python):
    from smallarea_qgis.qgis_plugin.options_page import OptionsPage

    monkeypatch.setenv("SMALLAREA_PYTHON", engine_python)
    page = OptionsPage(None)
    assert "SMALLAREA_PYTHON" in page._status.text()
    assert "not used" in page._status.text()


def test_install_that_fails_is_explained(page, monkeypatch, tmp_path):
    from smallarea_qgis.qgis_plugin import installer

    base = tmp_path / "python"
    base.write_text("#!/bin/sh\necho 'OSError: [Errno 28] No space left on device'\nexit 1\n")
    base.chmod(0o755)
    monkeypatch.setattr(installer, "base_interpreter", lambda extra=(): base)
    page._install_button.click()
    _wait(page)
    assert "disk is full" in page._status.text()
    assert "No space left" in page._log.toPlainText()


def test_install_can_be_cancelled(page, monkeypatch, tmp_path):
    from smallarea_qgis.qgis_plugin import installer

    base = tmp_path / "python"
    base.write_text("#!/bin/sh\necho started\ncat\nexit 1\n")
    base.chmod(0o755)
    monkeypatch.setattr(installer, "base_interpreter", lambda extra=(): base)
    page._install_button.click()
    assert page._cancel_button.isVisibleTo(page)
    page._cancel_button.click()
    _wait(page, 10)
    assert page._status.text().startswith("Cancelled")
    assert not page._cancel_button.isVisibleTo(page)


def test_install_without_any_base(page, monkeypatch):
    from smallarea_qgis.qgis_plugin import installer

    monkeypatch.setattr(installer, "base_interpreter", lambda extra=(): None)
    page._install_button.click()
    assert "python.org" in page._status.text()


def test_closing_the_page_ends_the_installation(no_engine, qgis_app, monkeypatch, tmp_path):
    from qgis.PyQt import sip
    from qgis.PyQt.QtCore import QCoreApplication
    from smallarea_qgis.qgis_plugin import background, installer
    from smallarea_qgis.qgis_plugin.options_page import OptionsPage

    pid = tmp_path / "pid"
    base = tmp_path / "python"
    base.write_text(f"#!/bin/sh\necho $$ > {pid}\ncat\nsleep 0.2\nexit 1\n")
    base.chmod(0o755)
    monkeypatch.setattr(installer, "base_interpreter", lambda extra=(): base)
    page = OptionsPage(None)
    page._install_button.click()
    end = time.monotonic() + 10
    while not (pid.exists() and pid.read_text()) and time.monotonic() < end:
        QCoreApplication.processEvents()
    sip.delete(page)
    assert background._ABANDONED
    while background._ABANDONED and time.monotonic() < end:
        QCoreApplication.processEvents()
    assert not background._ABANDONED
    if os.name == "posix":
        assert not Path(f"/proc/{pid.read_text().strip()}").exists()
