import os
import sys

import pytest
import smallarea.errors
from smallarea.errors import SmallareaError
from smallarea.jobs.runner import remove_temporaries

FAMILIES = [family.__name__ for family in SmallareaError.__subclasses__()]


def test_the_events_come_in_order_and_the_result_is_last(engine, events, tmp_path):
    done = engine.run(
        """
        progress(30, "half")
        assert parameters["graph"].endswith("graph.json")
        open(parameters["graph"], "w").close()
        return Result()
        """,
        {"graph": "graph.json", "edges": "edges.gpkg"},
    )
    assert done.returncode == 0, done.stderr
    lines = events(done.stdout)
    assert [line["type"] for line in lines] == ["progress"] * 3 + ["warning", "result"]
    assert [line["percent"] for line in lines[:3]] == [0, 30, 100]
    assert lines[0]["eta_seconds"] is None
    assert lines[-1] == {
        "type": "result",
        "task": "build_adjacency",
        "outputs": {"graph": str(tmp_path / "graph.json")},  # what was not written is not named
        "summary": {"n_areas": 3},
    }


def test_stray_prints_of_python_and_of_native_code_cannot_reach_the_protocol(engine, events):
    done = engine.run(
        """
        print("printed")
        os.write(1, b"native\\n")
        sys.__stdout__.write("old stdout\\n"); sys.__stdout__.flush()
        import subprocess
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
        return Result()
        """
    )
    assert events(done.stdout)[-1]["type"] == "result"
    assert all(word in done.stderr for word in ("printed", "native", "old stdout", "child"))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_error_family_has_its_event_and_exit_code(engine, events, family):
    done = engine.run(f"raise {family}('said so')")
    expected = getattr(smallarea.errors, family).exit_code
    assert done.returncode == expected
    last = events(done.stdout)[-1]
    assert last == {"type": "error", "family": family, "text": "said so", "exit_code": expected}
    assert "Traceback" not in done.stderr


def test_exit_codes_differ():
    codes = [family.exit_code for family in SmallareaError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 70} & set(codes)


def test_an_error_of_our_own_making_is_reported_and_traced(engine, events):
    done = engine.run("return 1 / 0")
    assert done.returncode == 70
    last = events(done.stdout)[-1]
    assert (last["type"], last["family"], last["exit_code"]) == ("error", "InternalError", 70)
    assert "ZeroDivisionError" in last["text"]
    assert "Traceback" in done.stderr


def test_a_summary_that_fails_is_still_reported_as_an_event(engine, events):
    done = engine.run("return object()")
    assert done.returncode == 70
    assert events(done.stdout)[-1]["family"] == "InternalError"


def test_a_missing_package_says_how_to_find_out_what_is_missing(engine, events):
    done = engine.run("import a_package_that_is_not_there")
    last = events(done.stdout)[-1]
    assert (last["family"], done.returncode) == ("EngineUnavailable", 16)
    assert "a_package_that_is_not_there" in last["text"]


def test_too_little_memory_is_said_plainly(engine, events):
    last = events(engine.run("raise MemoryError").stdout)[-1]
    assert "not enough memory" in last["text"]


def test_a_wrong_job_file_is_an_event_too(engine, events):
    done = engine.run("return Result()", {"contiguty": "queen"})
    assert done.returncode == 2
    assert "Did you mean 'contiguity'?" in events(done.stdout)[-1]["text"]


def test_outputs_are_checked_before_the_work(engine, events):
    done = engine.run("raise ValueError('worked')", {"graph": "none/graph.json"})
    assert events(done.stdout)[-1]["family"] == "OutputProblem"


def test_a_failed_run_leaves_no_partial_file_and_the_existing_output(engine, events, tmp_path):
    (tmp_path / "graph.json").write_text("old")
    done = engine.run(
        """
        from smallarea.io import AtomicOutputs
        with AtomicOutputs() as outputs:
            outputs.path(parameters["graph"]).write_text("new")
            outputs.path(parameters["edges"]).write_text("new")
            raise ModelProblem("no")
        """,
        {"graph": "graph.json", "edges": "edges.gpkg"},
    )
    assert events(done.stdout)[-1]["family"] == "ModelProblem"
    assert (tmp_path / "graph.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.json", "job.json"]


def test_removing_temporaries_takes_only_those_of_this_process_and_these_outputs(tmp_path):
    target = tmp_path / "out [1].gpkg"
    mine = tmp_path / f".out [1].smallarea-tmp-0a0b0c0d-{os.getpid()}-0.gpkg"
    others = [
        tmp_path / f".out [1].smallarea-tmp-0a0b0c0d-{os.getpid() + 1}-0.gpkg",
        tmp_path / f".else.smallarea-tmp-0a0b0c0d-{os.getpid()}-0.gpkg",
        tmp_path / f".out [1].smallarea-tmp-0a0b0c0d-{os.getpid()}-1.gpkg.old",
        target,
    ]
    for path in (mine, *others):
        path.touch()
    remove_temporaries([str(target)], patience=0.0)
    assert not mine.exists()
    assert all(path.exists() for path in others)


def test_the_temporary_names_are_those_of_the_io_room(tmp_path):
    from smallarea.io.atomic import temporary_path

    temporary = temporary_path(tmp_path / "x.gpkg")
    temporary.touch()
    remove_temporaries([str(tmp_path / "x.gpkg")])
    assert not temporary.exists()


def test_text_is_utf8_whatever_the_locale(engine, events, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = engine.run("raise TableProblem('Ñandú, 東京')")
    assert events(done.stdout)[-1]["text"] == "Ñandú, 東京"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells")
def test_a_reader_that_leaves_early_does_not_break_the_run(engine, tmp_path):
    process = engine.start(
        """
        for step in range(200):
            progress(step / 2, f"step {step}")
        open(parameters["graph"], "w").write("done")
        return Result()
        """,
        {"graph": "graph.json"},
    )
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.stdin.close()
    assert process.wait(30) == 0, error
    assert (tmp_path / "graph.json").read_text() == "done"
