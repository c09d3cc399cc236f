"""The reins of the engine, on small engines that behave badly."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from smallarea_qgis.qgis_plugin.engine_process import KILL_AFTER, TICK, EngineCancelled, EngineFailed, run_engine
from smallarea_qgis.qgis_plugin.environment import scrubbed

RESULT = 'print(json.dumps({"type": "result", "task": "t", "outputs": {}, "summary": {"n": 3}}), flush=True)'
ERROR = 'print(json.dumps({"type": "error", "family": "TableProblem", "text": "no rows", "exit_code": 11}), flush=True)'


class Ears:
    """A listener that keeps everything and cancels on request."""

    def __init__(self, cancel_after=None):
        self.heard = []
        self.start = time.monotonic()
        self.cancel_after = cancel_after

    def is_cancelled(self):
        return self.cancel_after is not None and time.monotonic() - self.start > self.cancel_after

    def progress(self, percent, text):
        self.heard.append(("progress", percent, text))

    def info(self, text):
        self.heard.append(("info", text))

    def warning(self, text):
        self.heard.append(("warning", text))

    def console(self, text):
        self.heard.append(("console", text))


@pytest.fixture
def run(tmp_path):
    def run(code, ears=None, environment=None):
        script = tmp_path / "engine.py"
        script.write_text("import json, os, sys, time\n" + textwrap.dedent(code), encoding="utf-8")
        return run_engine([sys.executable, "-I", "-u", str(script)], tmp_path, ears or Ears(), environment)

    return run


def _gone(pid, within):
    """Say whether a process ends in time."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_events_arrive_in_order(run):
    ears = Ears()
    event = run(
        f"""
        print('{{"type": "progress", "percent": 10, "text": "reading", "eta_seconds": null}}')
        print('{{"type": "info", "text": "Größe"}}')
        print('{{"type": "warning", "text": "careful"}}')
        {RESULT}
        """,
        ears,
    )
    assert event["summary"] == {"n": 3}
    assert ears.heard == [("progress", 10.0, "reading"), ("info", "Größe"), ("warning", "careful")]


def test_progress_is_live(run):
    class Clock(Ears):
        def progress(self, percent, text):
            self.heard.append(time.monotonic())

    ears = Clock()
    run(
        f"""
        for i in range(3):
            print(json.dumps({{"type": "progress", "percent": i, "text": ""}}), flush=True)
            time.sleep(0.4)
        {RESULT}
        """,
        ears,
    )
    assert ears.heard[2] - ears.heard[0] > 0.6


def test_what_is_no_event_goes_to_the_console(run):
    ears = Ears()
    lines = ["hello", '{"type": 3}', "{broken", "[1, 2]", '{"no": "type"}', "null"]
    code = "\n".join(f"print({line!r})" for line in lines)
    run(f"{code}\nprint('on stderr', file=sys.stderr)\n{RESULT}", ears)
    assert sorted(ears.heard) == sorted(("console", line) for line in [*lines, "on stderr"])


def test_bytes_that_are_no_text(run):
    ears = Ears()
    run(f"sys.stdout.buffer.write(b'\\xff\\xfe\\x00 bytes\\n'); sys.stdout.flush()\n{RESULT}", ears)
    assert "bytes" in ears.heard[0][1]


def test_a_very_long_line(run):
    ears = Ears()
    run(f"print('x' * 5_000_000)\n{RESULT}", ears)
    assert len(ears.heard[0][1]) == 5_000_000


def test_much_on_both_streams_does_not_block(run):
    ears = Ears()
    run(f"for i in range(20000): print('o' * 20); print('e' * 20, file=sys.stderr)\n{RESULT}", ears)
    assert len(ears.heard) == 40000


def test_error_event(run):
    with pytest.raises(EngineFailed, match="no rows") as caught:
        run(f"{ERROR}\nsys.exit(11)")
    assert caught.value.family == "TableProblem"
    assert caught.value.exit_code == 11


def test_error_event_counts_even_with_exit_code_0(run):
    with pytest.raises(EngineFailed, match="no rows"):
        run(ERROR)


def test_result_does_not_count_with_another_exit_code(run):
    with pytest.raises(EngineFailed, match="exit code 3"):
        run(f"{RESULT}\nsys.exit(3)")


def test_no_result(run):
    with pytest.raises(EngineFailed, match="without a result"):
        run("pass")


def test_last_words_are_in_the_message(run):
    with pytest.raises(EngineFailed, match=r"(?s)exit code 1.*ZeroDivisionError") as caught:
        run("for i in range(50): print(i, file=sys.stderr)\n1/0")
    assert "\n40\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_engine(run):
    with pytest.raises(EngineFailed, match="SIGKILL"):
        run("import signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_an_interpreter_that_is_not_there(tmp_path):
    with pytest.raises(EngineFailed, match="cannot be started"):
        run_engine([str(tmp_path / "none")], tmp_path, Ears())


def test_a_file_that_is_no_program(tmp_path):
    text = tmp_path / "text"
    text.write_text("not a program")
    with pytest.raises(EngineFailed, match="cannot be started"):
        run_engine([str(text)], tmp_path, Ears())


def test_the_seconds_of_a_cancel_add_up():
    """Noticing, the engine's own grace and the kill fit into two seconds, whatever the machine is doing."""
    watch = (Path(__file__).parents[2] / "engine" / "smallarea" / "jobs" / "watch.py").read_text()
    grace = float(re.search(r"^GRACE_SECONDS = ([0-9.]+)$", watch, re.MULTILINE)[1])
    assert grace + 0.2 < KILL_AFTER
    assert KILL_AFTER + 2 * TICK < 2.0


@pytest.mark.parametrize(
    ("code", "at_most"),
    [
        ("import threading; t = threading.Thread(target=sys.stdin.read); t.start(); t.join(); sys.exit(130)", 1.0),
        ("while True: time.sleep(1)", 2.0),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
         "while True: print('busy', flush=True)", 2.0),
    ],
    ids=["listens", "deaf", "talks without end"],
)  # fmt: skip
def test_cancel(run, tmp_path, code, at_most):
    ears = Ears(cancel_after=0.5)
    before = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    with pytest.raises(EngineCancelled):
        run(before + code, ears)
    # A machine that is busy with other tests may be late; the seconds of a quiet one are in benchmarks/cancel.py.
    assert time.monotonic() - ears.start - 0.5 < at_most + 4.0
    assert _gone(int((tmp_path / "pid").read_text()), 0.5)


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_cancel_takes_the_children_too(run, tmp_path):
    pid = tmp_path / "pid"
    code = f"""
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open({str(pid)!r}, "w").write(str(child.pid))
    time.sleep(60)
    """
    with pytest.raises(EngineCancelled):
        run(code, Ears(cancel_after=0.7))
    assert _gone(int(pid.read_text()), 1.0)


def test_a_child_that_holds_the_streams_does_not_hold_us(run):
    start = time.monotonic()
    event = run(
        f"""
        import subprocess
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(8)"])
        {RESULT}
        """
    )
    assert event["summary"] == {"n": 3}
    assert time.monotonic() - start < 6


def test_a_listener_that_fails_leaves_no_engine(run, tmp_path):
    pid = tmp_path / "pid"

    class Broken(Ears):
        def info(self, text):
            raise RuntimeError("wrapped C/C++ object has been deleted")

    with pytest.raises(RuntimeError):
        run(
            f"""
            open({str(pid)!r}, "w").write(str(os.getpid()))
            print('{{"type": "info", "text": "x"}}', flush=True)
            time.sleep(60)
            """,
            Broken(),
        )
    assert _gone(int(pid.read_text()), 0.5)


def test_no_descriptors_are_left_open(run):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("no /proc here")
    run(RESULT)
    before = len(list(folder.iterdir()))
    for _ in range(5):
        run(RESULT)
    assert len(list(folder.iterdir())) <= before


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_engine_ends_with_its_parent(root, engine_python, tmp_path, number):
    """The real engine's watch on its standard input, started by a parent that is killed."""
    engine = tmp_path / "engine.py"
    engine.write_text(
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(root / 'engine')!r})\n"
        "from smallarea.jobs.watch import Cancellation\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "with Cancellation(True):\n"
        "    while True: sum(range(1000))\n"
    )
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import importlib.util, sys\n"
        f"root = {str(root)!r}\n"
        "spec = importlib.util.spec_from_file_location('p', root + '/__init__.py', submodule_search_locations=[root])\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['p'] = module; spec.loader.exec_module(module)\n"
        "from pathlib import Path\n"
        "from p.qgis_plugin.engine_process import run_engine\n"
        "class Ears:\n"
        "    def is_cancelled(self): return False\n"
        "    def console(self, text): print(text, flush=True)\n"
        f"run_engine([{engine_python!r}, '-I', '-u', {str(engine)!r}], Path({str(tmp_path)!r}), Ears())\n"
    )
    process = subprocess.Popen([sys.executable, str(parent)])
    try:
        end = time.monotonic() + 20
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        engine_pid = int((tmp_path / "pid").read_text())
        process.send_signal(number)
        process.wait(timeout=5)
        assert _gone(engine_pid, 5.0)
    finally:
        process.kill()
        process.wait()


def test_scrubbed_environment():
    dirty = {
        "PATH": "/bin", "HOME": "/h", "HTTPS_PROXY": "p", "PYTHONPATH": "x", "PYTHONHOME": "x", "PROJ_LIB": "x",
        "PROJ_DATA": "x", "GDAL_DATA": "x", "LD_LIBRARY_PATH": "x", "LD_PRELOAD": "x", "DYLD_INSERT_LIBRARIES": "x",
        "VIRTUAL_ENV": "x", "PIP_TARGET": "x", "PIP_PREFIX": "x", "PIP_USER": "1", "PIP_INDEX_URL": "u",
        "QT_PLUGIN_PATH": "x", "PYTHONUSERBASE": "x", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    kept = {"PATH", "HOME", "HTTPS_PROXY", "PIP_INDEX_URL", "OMP_NUM_THREADS"}
    assert set(scrubbed(dirty)) == kept
    assert "PATH" in scrubbed()


def test_foreign_variables_do_no_harm(engine_python, root, tmp_path):
    from smallarea_qgis.qgis_plugin.engine_locator import engine_command

    job = tmp_path / "job.json"
    job.write_text(json.dumps({"version": 1, "task": "status", "parameters": {}}))
    leaks = {
        **os.environ,
        "PYTHONPATH": "/usr/lib/python3/dist-packages",
        "PYTHONHOME": "/usr",
        "PROJ_LIB": "/nowhere",
        "LD_LIBRARY_PATH": "/nowhere",
    }
    command = engine_command(Path(engine_python), "run", str(job), "--watch-stdin")
    event = run_engine(command, tmp_path, Ears(), leaks)
    assert event["summary"]["problems"] == []
