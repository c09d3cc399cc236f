import io
import json
import math
import sys
import threading

import numpy as np
import pytest
from smallarea.jobs.events import JsonLines, ProgressMeter, plain, protocol_stream


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_progress_is_throttled_but_a_new_stage_is_not(clock):
    meter = ProgressMeter(interval=1.0, clock=clock)
    assert meter.update(1, "reading")
    clock.now = 0.5
    assert meter.update(2, "reading") is None
    assert meter.update(2, "fitting 1 of 9")
    assert meter.update(3, "fitting 2 of 9") is None
    clock.now = 1.6
    assert meter.update(4, "fitting 3 of 9")["text"] == "fitting 3 of 9"


def test_progress_never_goes_backwards_and_stays_within_bounds(clock):
    meter = ProgressMeter(clock=clock)
    meter.update(40, "a")
    assert meter.update(10, "b")["percent"] == 40
    assert meter.update(math.nan, "c")["percent"] == 40
    assert meter.update(1e9, "d")["percent"] == 100


def test_the_last_percent_is_always_sent(clock):
    meter = ProgressMeter(interval=100.0, clock=clock)
    meter.update(1, "a")
    assert meter.update(100, "a")["percent"] == 100


def test_eta_is_null_at_first_and_then_proportional(clock):
    meter = ProgressMeter(clock=clock)
    assert meter.update(0, "a")["eta_seconds"] is None
    clock.now = 10.0
    assert meter.update(25, "b")["eta_seconds"] == 30.0


def test_each_event_is_one_line_whatever_the_text():
    stream = io.StringIO()
    events = JsonLines(stream)
    events.info("two\nlines, ünïcode  and a paragraph separator")
    (line,) = stream.getvalue().split("\n")[:-1]
    assert json.loads(line)["text"].startswith("two\nlines")


def test_nothing_follows_the_last_event():
    stream = io.StringIO()
    events = JsonLines(stream)
    events.error("TableProblem", "no field", 11)
    events.result("fit", {}, {})
    events.info("late")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_reader_that_went_away_does_not_stop_the_job():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    events = JsonLines(Gone())
    events.info("a")
    events.result("fit", {}, {})


def test_lines_of_several_threads_are_not_mixed():
    stream = io.StringIO()
    events = JsonLines(stream)
    threads = [threading.Thread(target=lambda: [events.info("x" * 200) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 400
    assert all(json.loads(line)["type"] == "info" for line in lines)


def test_plain_turns_library_numbers_into_json():
    value = {
        "a": np.float64(1.5),
        "b": np.int64(2),
        "c": float("nan"),
        "d": (1, None),
        "e": np.bool_(True),
        3: "x",
    }
    assert plain(value) == {"a": 1.5, "b": 2, "c": None, "d": [1, None], "e": True, "3": "x"}


def test_prints_go_to_standard_error_while_the_protocol_holds_standard_output(capsys):
    before = sys.stdout
    with protocol_stream() as stream:
        print("stray")
        stream.write("event\n")
    assert sys.stdout is before
    captured = capsys.readouterr()
    assert captured.out == "event\n"
    assert captured.err == "stray\n"
