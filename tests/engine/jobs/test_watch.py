"""Cancelling: the request is heard by Python code, by progress calls, and, by force, by native code."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from smallarea.errors import Cancelled
from smallarea.jobs.watch import Cancellation

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

WRITING = """
from smallarea.io import AtomicOutputs
with AtomicOutputs() as outputs:
    outputs.path(parameters["graph"]).write_text("new")
    progress(10, "ready")
    {wait}
return Result()
"""
PYTHON_WAITS = "time.sleep(60)"
# A call that does not come back to the interpreter for hours and lets other threads run meanwhile.
NATIVE_WAITS = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)"


def wait_until_ready(process):
    for line in process.stdout:
        if '"ready"' in line:
            return
    raise AssertionError(process.stderr.read())


def finish(process):
    """Read to the end; standard input may be closed already."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    out, error = process.stdout.read(), process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    return process.wait(20), out, error


@pytest.mark.parametrize("wait", [PYTHON_WAITS, NATIVE_WAITS])
def test_the_end_of_standard_input_cancels(engine, events, tmp_path, wait):
    (tmp_path / "graph.json").write_text("old")
    process = engine.start(WRITING.format(wait=wait), {"graph": "graph.json"}, "--watch-stdin")
    wait_until_ready(process)
    code, out, _ = finish(process)
    assert code == 130
    assert events(out)[-1]["family"] == "Cancelled"
    assert (tmp_path / "graph.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.json", "job.json"]


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("wait", [PYTHON_WAITS, NATIVE_WAITS])
def test_signals_cancel_in_python_and_in_native_code(engine, events, tmp_path, number, wait):
    process = engine.start(WRITING.format(wait=wait), {"graph": "graph.json"})
    wait_until_ready(process)
    process.send_signal(number)
    code, out, _ = finish(process)
    assert code == 130
    assert events(out)[-1]["family"] == "Cancelled"
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_a_library_that_swallows_the_interrupt_is_stopped_by_the_next_progress_call(engine, events):
    body = """
    progress(10, "ready")
    for step in range(600):
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        progress(10 + step / 10, "going on")
    return Result()
    """
    process = engine.start(body, None, "--watch-stdin")
    wait_until_ready(process)
    code, out, _ = finish(process)
    assert code == 130
    assert events(out)[-1]["family"] == "Cancelled"


def test_without_watching_an_empty_standard_input_does_not_cancel(engine, events):
    done = engine.run("time.sleep(0.3); return Result()")
    assert done.returncode == 0
    assert events(done.stdout)[-1]["type"] == "result"


def test_with_watching_a_run_ends_well_while_standard_input_is_open(engine, events):
    process = engine.start("return Result()", None, "--watch-stdin")
    out = process.stdout.read()
    assert process.wait(20) == 0
    assert events(out)[-1]["type"] == "result"
    assert "Fatal" not in process.stderr.read()
    finish(process)


@posix
def test_killing_the_parent_ends_the_engine(engine, tmp_path, is_running):
    command = engine.command(WRITING.format(wait=PYTHON_WAITS), {"graph": "graph.json"}, "--watch-stdin")
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            "print(p.pid, flush=True)\n"
            "while b'ready' not in p.stdout.readline(): pass\n"
            "print('ready', flush=True)\n"
            "time.sleep(60)",
            *command,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5.0
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_a_request_after_the_end_does_nothing():
    with Cancellation() as cancellation:
        cancellation.check()
    cancellation.request()
    assert not cancellation.requested


def test_a_request_is_raised_by_the_next_check():
    with Cancellation(grace=60.0) as cancellation:
        cancellation.request()
        with pytest.raises(Cancelled):
            cancellation.check()


@posix
def test_the_callers_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Cancellation():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_it_works_outside_the_main_thread():
    seen = []

    def run():
        with Cancellation() as cancellation:
            seen.append(cancellation.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]
