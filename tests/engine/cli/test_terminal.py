"""What people see: plain lines, a progress bar on a terminal, a result in two columns."""

import os
import subprocess
import sys

import pytest
from smallarea.cli.terminal import PlainReporter, RichReporter, human_reporter, result_lines


def test_plain_lines_tell_progress_notes_and_errors_beside_the_result(capsys):
    reporter = PlainReporter()
    reporter.progress(0, "Reading")
    reporter.progress(50, "Fitting")
    reporter.progress(51, "Fitting")
    reporter.info("a note")
    reporter.warning("a warning")
    reporter.result("fit", {"output": "x.gpkg"}, {"n_areas": 3})
    reporter.error("TableProblem", "wrong", 11)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "  0.0 %  Reading",
        " 50.0 %  Fitting",
        "a note",
        "Warning: a warning",
        "Error: wrong",
    ]
    assert captured.out.splitlines() == ["n areas            3", "output written to  x.gpkg"]


def test_a_result_leaves_out_what_there_is_no_number_of():
    summary = {"a": None, "b": 1.23456789, "c": True, "d": {"x": 1, "y": None}, "e": ["p", "q"], "f": {}}
    assert list(result_lines({}, summary)) == ["b  1.23457", "c  yes", "d  x 1, y missing", "e  p; q"]
    assert list(result_lines({}, {"aa": "two\nlines"})) == ["aa  two", "    lines"]


def test_the_bar_is_taken_away_before_the_result(capsys):
    reporter = RichReporter()
    reporter.progress(10, "Reading [bold]markup[/bold]")
    reporter.warning("a [warning]")
    reporter.result("fit", {}, {"n": 1})
    captured = capsys.readouterr()
    assert "a [warning]" in captured.err
    assert captured.out == "n  1\n"


def test_a_result_without_any_progress_needs_no_bar(capsys):
    RichReporter().error("JobProblem", "wrong [x]", 2)
    assert capsys.readouterr().err == "Error: wrong [x]\n"


def test_the_bar_is_for_terminals_only():
    assert type(human_reporter()) is PlainReporter


def on_a_terminal(command, folder):
    """Run a command whose standard output and error are a terminal; return what it wrote and its exit code."""
    pty = pytest.importorskip("pty")
    try:
        reader, writer = pty.openpty()
    except OSError:
        pytest.skip("this machine has no pseudo-terminals")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, cwd=folder)
    os.close(writer)
    chunks = []
    while True:
        try:
            chunk = os.read(reader, 4096)
        except OSError:  # how Linux says that the other side was closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(reader)
    return b"".join(chunks).decode(), process.wait(60)


def test_a_job_file_run_on_a_terminal_is_shown_to_people_and_otherwise_to_machines(tmp_path):
    (tmp_path / "job.json").write_text('{"version": 1, "task": "status"}')
    command = [sys.executable, "-m", "smallarea", "run", "job.json"]
    shown, code = on_a_terminal(command, tmp_path)
    assert code == 0
    assert "numpy" in shown
    assert '"type"' not in shown
    piped = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
    assert piped.stdout.splitlines()[-1].startswith('{"type": "result"')
    shown, code = on_a_terminal([*command, "--json"], tmp_path)
    assert '{"type": "result"' in shown
