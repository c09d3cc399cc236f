"""The zip is what the plugin repository takes, and works where it is unpacked."""

import json
import shutil
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def package(root, tmp_path_factory):
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("the zip is made from what git tracks")
    target = tmp_path_factory.mktemp("dist") / "plugin.zip"
    subprocess.run([sys.executable, root / "scripts" / "package_plugin.py", "--output", target], check=True)
    return target


@pytest.fixture(scope="module")
def names(package):
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_content(names):
    assert {name.split("/")[0] for name in names} == {"smallarea_qgis"}
    inside = {name.partition("/")[2] for name in names}
    for name in ("__init__.py", "metadata.txt", "LICENSE", "README.md", "pyproject.toml", "resources/icon.svg",
                 "resources/job_schema.json", "engine/smallarea/_version.py", "qgis_plugin/bootstrap.py"):  # fmt: skip
        assert name in inside
    assert not any(name.startswith(("tests/", "docs/", "benchmarks/", "scripts/", ".", "demo/")) for name in inside)
    assert not any("__pycache__" in name or "\\" in name or ".." in name for name in inside)
    assert "plugin" not in names[0].split("/")[0]


def test_size(package):
    assert package.stat().st_size < 25_000_000


def test_the_same_bytes_again(package, root, tmp_path):
    again = tmp_path / "again.zip"
    subprocess.run([sys.executable, root / "scripts" / "package_plugin.py", "--output", again], check=True)
    assert again.read_bytes() == package.read_bytes()


def test_unpacked_in_a_fresh_profile(package, make_qgis_process, make_grid, save_layer, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "unpacked")
    process = make_qgis_process(tmp_path / "unpacked" / "smallarea_qgis")
    assert "smallarea:fitfayherriot" in process("list").stdout
    done = process.run("checkareas", AREAS=save_layer(make_grid(3), tmp_path / "grid.gpkg"), ID_FIELD="code")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"]["N_AREAS"] == 9
