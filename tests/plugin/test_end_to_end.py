"""Through ``qgis_process``, in a profile of its own, as scripts use it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

FAST = {"METHOD": "reml", "RANDOM_EFFECT": "iid"}
LONG = {"RANDOM_EFFECT": "car", "MIN_ESS": 100000}


@pytest.fixture(scope="module")
def grid(make_grid, save_layer, tmp_path_factory):
    return save_layer(make_grid(6), tmp_path_factory.mktemp("data") / "grid.gpkg")


@pytest.fixture(scope="module")
def big_grid(make_grid, save_layer, tmp_path_factory):
    """Enough for a run that outlasts a test."""
    return save_layer(make_grid(50), tmp_path_factory.mktemp("data") / "big.gpkg")


def _fit(path, output, **others):
    return {
        "AREAS": path, "TABLE": path, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v", "OUTPUT": str(output),
        **others,
    }  # fmt: skip


def _estimates(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT estimate, se FROM estimates ORDER BY ROWID").fetchall()


def _engines(folder):
    """Return the processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if "bootstrap.py" in words and str(folder) in words:
                found.append(int(entry.name))
    return found


def test_listed(qgis_process):
    """``plugins enable`` says yes even if the plugin cannot be imported; the list does not."""
    done = qgis_process("list")
    for name in ("checkareas", "buildadjacency", "fitfayherriot", "exceedanceandranks", "enginestatus"):
        assert f"smallarea:{name}\t" in done.stdout


def test_help_without_markup(qgis_process):
    done = qgis_process("help", "smallarea:fitfayherriot")
    assert done.returncode == 0
    assert "<p>" not in done.stdout
    assert "Area random effect: iid" in done.stdout


def test_engine_status(qgis_process):
    done = qgis_process.run("enginestatus")
    assert done.returncode == 0
    assert json.loads(done.stdout)["results"]["STATUS"] == "ready"


def test_fit(qgis_process, grid, tmp_path):
    output, report = tmp_path / "o.gpkg", tmp_path / "r.html"
    done = qgis_process.run("fitfayherriot", **_fit(grid, output, COVARIATES="x", REPORT=report, **FAST))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["results"]["N_AREAS"] == 36
    assert said["results"]["OUTPUT"] == str(output)
    assert len(_estimates(output)) == 36
    assert report.is_file()


def test_choices_by_name_and_the_same_seed(qgis_process, grid, tmp_path):
    words = {"RANDOM_EFFECT": "car", "METHOD": "bayes", "DRAWS": 200, "MIN_ESS": 100, "SEED": 7}
    for name in ("a", "b"):
        done = qgis_process.run("fitfayherriot", **_fit(grid, tmp_path / f"{name}.gpkg", **words))
        assert done.returncode == 0, done.stderr
    assert _estimates(tmp_path / "a.gpkg") == _estimates(tmp_path / "b.gpkg")


def test_a_table_of_text(qgis_process, grid, tmp_path):
    """A CSV file, whose numbers QGIS has to recognise."""
    with closing(sqlite3.connect(grid)) as connection:
        rows = connection.execute("SELECT code, y, v FROM grid").fetchall()
    table = tmp_path / "survey.csv"
    table.write_text("code,y,v\n" + "".join(f"{code},{y!r},{v!r}\n" for code, y, v in reversed(rows)))
    done = qgis_process.run("fitfayherriot", **{**_fit(grid, tmp_path / "o.gpkg", **FAST), "TABLE": table})
    assert done.returncode == 0, done.stderr
    assert len(_estimates(tmp_path / "o.gpkg")) == 36


def test_relative_paths_start_from_the_working_folder(qgis_process, grid, tmp_path):
    shutil.copy(grid, tmp_path / "grid.gpkg")
    done = qgis_process.run("buildadjacency", folder=tmp_path, AREAS="grid.gpkg", ID_FIELD="code", GRAPH="graph.json")
    assert done.returncode == 0, done.stderr
    words = {"METHOD": "bayes", "RANDOM_EFFECT": "car", "DRAWS": 200, "MIN_ESS": 100, "GRAPH": "graph.json"}
    done = qgis_process.run(
        "fitfayherriot", folder=tmp_path, **_fit("grid.gpkg", "o.gpkg", REPORT="r.html", CSV="t.csv", **words)
    )
    assert done.returncode == 0, done.stderr
    assert sorted(f.name for f in tmp_path.iterdir()) == ["graph.json", "grid.gpkg", "o.gpkg", "r.html", "t.csv"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DIRECT": "nothing"}, "no field 'nothing'"),
        ({"ID_FIELD": "y", "REPAIR": "false", "DIRECT": "x", "AREAS": "/nowhere.gpkg"}, "AREAS"),
        ({"PRIORS": "no_such=HalfNormal(1)", "METHOD": "bayes", "RANDOM_EFFECT": "car"}, "no_such"),
        ({"RELIABILITY": "no such preset"}, "no such preset"),
    ],
)
def test_failures_exit_with_1_and_keep_the_old_output(qgis_process, grid, tmp_path, change, said):
    output = tmp_path / "o.gpkg"
    output.write_bytes(b"before")
    done = qgis_process.run("fitfayherriot", **{**_fit(grid, output, **FAST), **change})
    assert done.returncode == 1
    assert said in done.stderr
    assert output.read_bytes() == b"before"
    assert [f.name for f in tmp_path.iterdir()] == ["o.gpkg"]


def test_without_an_engine(qgis_process, grid, tmp_path):
    none = {"SMALLAREA_PYTHON": "", "SMALLAREA_HOME": str(tmp_path / "home")}
    done = qgis_process.run("checkareas", environment=none, AREAS=grid)
    assert done.returncode == 1
    assert "Settings > Options > Small area estimation" in done.stderr
    status = qgis_process.run("enginestatus", environment=none)
    assert status.returncode == 0
    assert json.loads(status.stdout)["results"]["STATUS"] == "missing"
    assert "smallarea:fitfayherriot" in qgis_process("list").stdout


def test_foreign_variables_do_no_harm(qgis_process, grid, tmp_path):
    """Other plugins set PYTHONPATH, and bundled versions of QGIS set the rest."""
    leaks = {
        "PYTHONPATH": "/usr/lib/python3/dist-packages",
        "PROJ_LIB": "/usr/share/proj",
        "GDAL_DATA": "/usr/share/gdal",
    }
    done = qgis_process.run("fitfayherriot", environment=leaks, **_fit(grid, tmp_path / "o.gpkg", **FAST))
    assert done.returncode == 0, done.stderr


class _Running:
    """A long fit, started and on its way."""

    def __init__(self, qgis_process, path, output):
        words = qgis_process.words(_fit(path, output, **LONG))
        self.temporary = output.parent / "tmp"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            qgis_process.command("run", "smallarea:fitfayherriot", "--", *words),
            env={**qgis_process.environment, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def __enter__(self):
        end = time.monotonic() + 60
        while not _engines(self.temporary) and time.monotonic() < end:
            time.sleep(0.1)
        # It shall be at work, not just starting.
        time.sleep(3)
        assert _engines(self.temporary), self.process.communicate(timeout=5)[0]
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.skipif(not Path("/proc").is_dir() or os.name != "posix", reason="needs /proc and signals")
def test_interrupt_cancels_and_leaves_nothing(qgis_process, big_grid, tmp_path):
    output = tmp_path / "o.gpkg"
    output.write_bytes(b"before")
    with _Running(qgis_process, big_grid, output) as running:
        start = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        text, _ = running.process.communicate(timeout=20)
        took = time.monotonic() - start
        assert running.process.returncode == 1
        assert "Cancelled" in text
        assert not _engines(running.temporary)
    # Two seconds on a quiet machine (benchmarks/cancel.py); here only that it does not run to its end.
    assert took < 12.0
    assert output.read_bytes() == b"before"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["o.gpkg", "tmp"]


@pytest.mark.skipif(not Path("/proc").is_dir() or os.name != "posix", reason="needs /proc and signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_engine_outlives_qgis(qgis_process, big_grid, tmp_path, number):
    output = tmp_path / "o.gpkg"
    output.write_bytes(b"before")
    with _Running(qgis_process, big_grid, output) as running:
        running.process.send_signal(number)
        running.process.wait(timeout=5)
        end = time.monotonic() + 5
        while _engines(running.temporary) and time.monotonic() < end:
            time.sleep(0.1)
        assert not _engines(running.temporary)
    assert output.read_bytes() == b"before"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["o.gpkg", "tmp"]


# Real data, where they are.


@pytest.mark.parametrize("name", ["spain_municipalities_dirty.gpkg", "oddgeom_world.gpkg"])
@pytest.mark.parametrize("repair", ["false", "true"])
def test_dirty_polygons_never_crash(qgis_process, shared_data, tmp_path, name, repair):
    path = shared_data(name)
    with closing(sqlite3.connect(path)) as connection:
        layers = connection.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features'").fetchall()
    for (layer,) in layers:
        source = f"{path}|layername={layer}"
        done = qgis_process.run("checkareas", AREAS=source, REPAIR=repair, OUTPUT=tmp_path / "findings.gpkg")
        assert done.returncode == 0, done.stderr
        results = json.loads(done.stdout)["results"]
        assert results["N_AREAS"] > 0
        graph = qgis_process.run("buildadjacency", AREAS=source, REPAIR=repair, GRAPH=tmp_path / "graph.json")
        # A graph, or an error that names the areas.
        assert graph.returncode in (0, 1)
        if graph.returncode == 1:
            assert "'" in graph.stderr
            assert "Traceback" not in graph.stderr


def test_the_same_numbers_as_the_command_line(qgis_process, shared_data, engine_python, root, tmp_path):
    path = shared_data("mo_vmsae_example.gpkg")
    options = {"DIRECT": "log_inc", "VARIANCE": "log_inc_var", "COVARIATES": ["poverty", "black"], "ID_FIELD": "GEOID",
               "RANDOM_EFFECT": "car", "SEED": 11}  # fmt: skip
    done = qgis_process.run("fitfayherriot", AREAS=path, TABLE=path, OUTPUT=tmp_path / "qgis.gpkg", **options)
    assert done.returncode == 0, done.stderr
    job = {
        "version": 1, "task": "fit",
        "parameters": {
            "areas": path, "id_field": "GEOID", "direct": "log_inc", "variance": "log_inc_var", "seed": 11,
            "covariates": ["poverty", "black"], "random_effect": "car", "output": str(tmp_path / "cli.gpkg"),
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [engine_python, "-m", "smallarea", "run", str(tmp_path / "job.json")]
    environment = {**os.environ, "PYTHONPATH": str(root / "engine")}
    subprocess.run(command, check=True, capture_output=True, env=environment, stdin=subprocess.DEVNULL)
    ours, theirs = _estimates(tmp_path / "qgis.gpkg"), _estimates(tmp_path / "cli.gpkg")
    assert len(ours) == 115
    assert [a for a, _ in ours] == pytest.approx([a for a, _ in theirs], rel=1e-10)
    assert [b for _, b in ours] == pytest.approx([b for _, b in theirs], rel=1e-10)
