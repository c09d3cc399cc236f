"""Finding the engine's interpreter, and finding out what is wrong with it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smallarea_qgis.qgis_plugin import engine_locator, installer, make_environment, paths
from smallarea_qgis.qgis_plugin.engine_locator import EngineMissing, find, probe, read_probe


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("SMALLAREA_PYTHON", raising=False)
    monkeypatch.setenv("SMALLAREA_HOME", str(tmp_path / "home"))


def _fake(folder, text="exit 0", name="python"):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def _point_to(python):
    pointer = paths.environment_pointer()
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_text(json.dumps({"folder": str(python.parent), "python": str(python), "engine": "0"}))


def test_order(monkeypatch, tmp_path):
    made, own, variable = (_fake(tmp_path / name) for name in ("made", "own", "variable"))
    _point_to(made)
    assert find("").path == made
    assert find(str(own)).path == own
    assert "settings" in find(str(own)).origin
    monkeypatch.setenv("SMALLAREA_PYTHON", str(variable))
    assert find(str(own)).path == variable
    assert "SMALLAREA_PYTHON" in find(str(own)).origin


def test_what_is_named_wrongly_is_not_skipped(monkeypatch, tmp_path):
    _point_to(_fake(tmp_path / "made"))
    with pytest.raises(EngineMissing, match="no such file"):
        find(str(tmp_path / "none"))
    monkeypatch.setenv("SMALLAREA_PYTHON", str(tmp_path / "none"))
    with pytest.raises(EngineMissing, match="unset the variable"):
        find("")


def test_a_virtual_environment_will_do(tmp_path):
    python = paths.environment_python(tmp_path / "env")
    _fake(python.parent, name=python.name)
    assert find(str(tmp_path / "env")).path == python


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"python": 3}', '{"python": "/nowhere"}', "{"])
def test_a_damaged_pointer_is_no_environment(text):
    pointer = paths.environment_pointer()
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_text(text)
    with pytest.raises(EngineMissing, match="no Python yet"):
        find("")


def test_outside_the_plugin(monkeypatch):
    monkeypatch.delenv("SMALLAREA_HOME")
    assert paths.PLUGIN_ROOT not in paths.data_folder().parents


def test_the_engines_interpreter(engine_python):
    found = probe(Path(engine_python))
    assert found.ok, found.problems
    assert found.packages["smallarea"] == paths.engine_version()
    assert {"numpy", "geopandas", "qdldl"} <= set(found.packages)


def test_a_probe_is_asked_once(engine_python, monkeypatch):
    probe(Path(engine_python))
    monkeypatch.setattr(engine_locator, "_ask", lambda python: pytest.fail("asked again"))
    assert probe(Path(engine_python)).ok


def test_an_interpreter_without_packages(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = paths.environment_python(tmp_path / "env")
    found = probe(python)
    assert not found.ok
    text = " ".join(found.problems)
    assert "numpy" in text
    assert f'"{python}" -m pip install' in text


@pytest.mark.parametrize(
    ("text", "said"),
    [("exit 3", "exit 3"), ("echo hello; exit 0", "hello"), ("echo boom >&2; exit 1", "boom")],
)
def test_a_program_that_is_no_python(tmp_path, text, said):
    found = probe(_fake(tmp_path, text))
    assert not found.ok
    assert said in found.problems[0]


def test_no_program_at_all(tmp_path):
    assert "There is no interpreter" in probe(tmp_path / "none").problems[0]
    file = tmp_path / "text"
    file.write_text("x")
    assert "cannot be run" in probe(file).problems[0]


def test_an_old_python():
    said = json.dumps({"python": "3.9.5", "packages": {}, "errors": {}})
    found = read_probe(said, "", 0, Path("/p"))
    assert not found.ok
    assert "3.11 or newer" in found.problems[0]


def test_a_broken_package_is_not_called_missing():
    errors = {"numpy": "ImportError: DLL load failed", "scipy": "ModuleNotFoundError: No module named 'scipy'"}
    said = json.dumps({"python": "3.12.1", "packages": {}, "errors": errors})
    missing, broken = read_probe(f"noise\n{said}\n", "", 0, Path("/p")).problems
    assert "pip install scipy" in missing
    assert "DLL load failed" in broken


def test_an_engine_without_its_packages_says_so(tmp_path):
    """The first thing a user with an empty environment sees after Run."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = paths.environment_python(tmp_path / "env")
    command = engine_locator.engine_command(python, "run", str(tmp_path / "job.json"))
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    event = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == event["exit_code"] == 16
    assert event["family"] == "EngineUnavailable"
    assert str(python) in event["text"]


# The environment that the plugin makes.


def test_base_interpreter_is_real():
    base = installer.base_interpreter()
    if base is None:
        pytest.skip("no Python 3.11 or newer with venv and ensurepip here")
    assert base.is_file()


def test_base_interpreters_that_do_not_answer_are_passed_over(tmp_path):
    fakes = [_fake(tmp_path / str(i), text) for i, text in enumerate(["exit 1", "echo 3 9", "echo hello", "exit 0"])]
    good = _fake(tmp_path / "good", "echo 3 12")
    assert installer.base_interpreter([str(f) for f in fakes] + [str(good)]) == good


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407'))", "proxy"),
        ("SSLError(SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED", "inspects"),
        ("ERROR: No matching distribution found for qdldl", "3.12"),
        ("Temporary failure in name resolution", "online"),
        ("OSError: [Errno 28] No space left on device", "disk"),
        ("PermissionError: [Errno 13] Permission denied", "antivirus"),
        ("something new", "last lines"),
    ],
)
def test_failures_are_explained(output, remedy):
    assert remedy in installer.explain(output)


class TestMakingAnEnvironment:
    """The script that makes it, with pip replaced by something that needs no network."""

    @pytest.fixture
    def make(self, monkeypatch, tmp_path):
        def make(run):
            monkeypatch.setattr(make_environment, "run", run)
            monkeypatch.setattr(make_environment.venv, "EnvBuilder", _Builder)
            pointer = paths.environment_pointer()
            monkeypatch.setattr(sys, "argv", ["x", str(pointer), str(paths.PLUGIN_ROOT), "9.9"])
            make_environment.main()
            return pointer

        return make

    def test_success(self, make):
        seen = {}

        def run(command):
            seen["command"] = command
            source = Path(command[-1].partition("[")[0])
            seen["copied"] = sorted(p.name for p in source.iterdir())
            seen["engine"] = (source / "engine" / "smallarea" / "__init__.py").is_file()

        pointer = make(run)
        assert json.loads(pointer.read_text())["engine"] == "9.9"
        assert find("").origin.startswith("the plugin")
        assert seen["engine"]
        assert "pyproject.toml" in seen["copied"]
        assert seen["command"][1:5] == ["-I", "-m", "pip", "install"]
        assert not (pointer.parent / make_environment.LOCK).exists()

    def test_failure_leaves_the_old_one(self, make):
        first = make(lambda command: None)
        before = json.loads(first.read_text())

        def fail(command):
            raise make_environment.Refused("no")

        with pytest.raises(make_environment.Refused):
            make(fail)
        assert json.loads(first.read_text()) == before
        assert Path(before["python"]).is_file()
        assert len(list(first.parent.glob("env-*"))) == 1
        assert not (first.parent / make_environment.LOCK).exists()

    def test_success_removes_the_old_one(self, make):
        first = json.loads(make(lambda command: None).read_text())["folder"]
        pointer = make(lambda command: None)
        assert not Path(first).exists()
        assert [str(f) for f in pointer.parent.glob("env-*")] == [json.loads(pointer.read_text())["folder"]]

    def test_only_one_at_a_time(self, make):
        lock = paths.data_folder() / make_environment.LOCK
        lock.parent.mkdir(parents=True)
        lock.write_text("1")
        with pytest.raises(make_environment.Refused, match="Another installation"):
            make(lambda command: None)
        assert lock.exists()
        old = time.time() - 2 * make_environment.STALE_SECONDS
        os.utime(lock, (old, old))
        make(lambda command: None)

    def test_stops_when_standard_input_ends(self, tmp_path):
        code = (
            f"import sys; sys.path.insert(0, {str(paths.PLUGIN_ROOT / 'qgis_plugin')!r})\n"
            "import make_environment as m\n"
            "m.run([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'])\n"
        )
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with process:
            process.stdout.readline()
            process.stdin.close()
            process.wait(timeout=10)
        assert process.returncode == 1
        assert time.monotonic() - start < 10


class _Builder:
    def __init__(self, **options):
        self.options = options

    def create(self, folder):
        assert self.options["with_pip"]
        python = paths.environment_python(Path(folder))
        _fake(python.parent, name=python.name)
