import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from smallarea._version import __version__
from smallarea.cli import cli
from smallarea.workflows import engine, status

ROOT = Path(__file__).parents[3]


def test_it_names_versions_parts_and_the_machine():
    found = status()
    assert found.engine == __version__
    assert found.packages["numpy"] == metadata.version("numpy")
    assert set(found.extras) == {"posterior", "survey", "hmc", "learned"}
    assert found.cores >= 1
    assert found.problems == ()
    json.dumps(found.summary)


def test_a_missing_package_is_a_problem_with_its_remedy(monkeypatch):
    def version(name):
        if name == "qdldl":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else "99.0"

    monkeypatch.setattr(metadata, "version", version)
    found = status()
    assert found.packages["qdldl"] is None
    (numpy, qdldl) = found.problems
    assert "numpy 0.1 is too old" in numpy
    assert re.search(r'qdldl is not installed. Run: ".*" -m pip install "qdldl', qdldl)
    assert found.warnings == found.problems


def test_an_engine_that_was_not_installed_knows_what_it_needs(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    found = status()
    assert found.problems == ()
    assert found.packages["numba"] == metadata.version("numba")


def test_that_list_is_the_one_of_the_project_file():
    file = ROOT / "pyproject.toml"
    if not file.exists():
        pytest.skip("not in a checkout")
    project = tomllib.loads(file.read_text())["project"]
    listed = {line.partition(";")[0] for line in engine._FALLBACK if ";" not in line}
    assert listed == {re.split("[>=<\\[]", line)[0] for line in project["dependencies"]}


@pytest.mark.parametrize(
    ("version", "limits", "old"),
    [
        ("1.26.4", ">=1.26", False),
        ("1.9", ">=1.26", True),
        ("2.0rc1", ">=1.26", False),
        ("0.1.7.post5", ">=0.1.7.post5", False),
        ("3", "", False),
    ],
)
def test_versions_are_compared_as_numbers(version, limits, old):
    assert engine._too_old(version, limits) == old


def test_the_command_prints_it_for_people_and_for_machines():
    done = CliRunner().invoke(cli, ["status"])
    assert done.exit_code == 0
    assert "numpy" in done.stdout
    lines = [json.loads(line) for line in CliRunner().invoke(cli, ["status", "--json"]).stdout.splitlines()]
    assert lines[-1]["summary"]["engine"] == __version__
