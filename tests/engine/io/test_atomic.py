"""Outputs are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from smallarea.errors import OutputProblem
from smallarea.io import AtomicOutputs, atomic, atomic_path, check_suffix, remove_stale


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_all(targets: list[Path], error: type[BaseException] | None = None) -> None:
    """Write "new" to each target, then fail if told to."""
    with AtomicOutputs() as outputs:
        for target in targets:
            outputs.path(target).write_text("new")
        if error is not None:
            raise error


def test_the_target_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".html"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["report.html"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(error):
        write_all([target], error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["report.html"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputProblem, match=r"folder .*nowhere does not exist"),
        atomic_path(tmp_path / "nowhere" / "a.csv"),
    ):
        pytest.fail("the block must not run")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputProblem, match="it is a folder"), atomic_path(tmp_path):
        pytest.fail("the block must not run")


def test_a_folder_that_refuses_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with (
        pytest.raises(OutputProblem, match=r"Cannot write to the folder.*Permission denied"),
        atomic_path(tmp_path / "a"),
    ):
        pytest.fail("the block must not run")


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputProblem, match="nothing was written"), atomic_path(tmp_path / "a.csv"):
        pass
    assert names(tmp_path) == []


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with atomic_path(tmp_path / "link.csv") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


class TestSeveral:
    def test_all_or_none(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("old")
        with pytest.raises(ZeroDivisionError):
            write_all([tmp_path / "a", tmp_path / "b"], ZeroDivisionError)
        assert (tmp_path / "a").read_text() == "old"
        assert names(tmp_path) == ["a"]
        write_all([tmp_path / "a", tmp_path / "b"])
        assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "new"
        assert names(tmp_path) == ["a", "b"]

    @pytest.mark.parametrize("links", [True, False], ids=["hard links", "copies"])
    def test_a_failed_rename_puts_the_others_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
    ) -> None:
        for name in ("a", "c"):
            (tmp_path / name).write_text("old")
        replace = os.replace

        def locked(source: Path, target: Path) -> None:
            if Path(target).name == "c" and "tmp" in Path(source).name:
                raise PermissionError(13, "in use")
            replace(source, target)

        def no_links(*args: object) -> None:
            raise OSError("not here")

        monkeypatch.setattr(atomic.os, "replace", locked)
        if not links:
            monkeypatch.setattr(atomic.os, "link", no_links)
        with pytest.raises(OutputProblem, match=r"Cannot write .*c: .*in use.*Nothing was changed"):
            write_all([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
        assert (tmp_path / "a").read_text() == (tmp_path / "c").read_text() == "old"
        assert names(tmp_path) == ["a", "c"]

    def test_two_outputs_of_the_same_path(self, tmp_path: Path) -> None:
        with pytest.raises(OutputProblem, match="same path"):
            write_all([tmp_path / "a", tmp_path / "." / "a"])
        assert names(tmp_path) == []


class TestSqlite:
    def test_a_log_beside_the_temporary_goes_into_the_file(self, tmp_path: Path) -> None:
        with atomic_path(tmp_path / "a.gpkg") as temporary:
            database = sqlite3.connect(temporary)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE t (x)")
            database.execute("INSERT INTO t VALUES (7)")
            database.commit()
            # A second connection keeps the log alive when the first one closes.
            other = sqlite3.connect(temporary)
            other.execute("SELECT * FROM t").fetchall()
            database.close()
            assert Path(f"{temporary}-wal").exists()
            copy = Path(f"{temporary}-wal").read_bytes()
            other.close()
            Path(f"{temporary}-wal").write_bytes(copy)
        assert names(tmp_path) == ["a.gpkg"]
        database = sqlite3.connect(tmp_path / "a.gpkg")
        assert database.execute("SELECT x FROM t").fetchall() == [(7,)]
        database.close()

    def test_a_log_of_the_old_file_is_not_replayed_into_the_new_one(self, tmp_path: Path) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            (tmp_path / f"a.gpkg{suffix}").write_text("old")
        with atomic_path(tmp_path / "a.gpkg") as temporary:
            temporary.write_text("new")
        assert names(tmp_path) == ["a.gpkg"]

    def test_it_is_put_back_if_the_rename_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for suffix in ("", "-wal"):
            (tmp_path / f"a.gpkg{suffix}").write_text("old")
        replace = os.replace

        def locked(source: Path, target: Path) -> None:
            if Path(target).name == "a.gpkg":
                raise PermissionError(13, "in use")
            replace(source, target)

        monkeypatch.setattr(atomic.os, "replace", locked)
        with pytest.raises(OutputProblem), atomic_path(tmp_path / "a.gpkg") as temporary:
            temporary.write_text("new")
        assert names(tmp_path) == ["a.gpkg", "a.gpkg-wal"]
        assert (tmp_path / "a.gpkg-wal").read_text() == "old"

    def test_files_that_are_no_databases_keep_their_neighbours(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv-wal").write_text("mine")
        with atomic_path(tmp_path / "a.csv") as temporary:
            temporary.write_text("new")
        assert names(tmp_path) == ["a.csv", "a.csv-wal"]


WRITER = """
import sys, time
from smallarea.io.atomic import AtomicOutputs

with AtomicOutputs() as outputs:
    for name in ("a.csv", "b.gpkg"):
        outputs.path(f"{sys.argv[1]}/{name}").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
class TestKilled:
    def test_sigkill_leaves_the_target_and_the_next_run_tidies_up(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("old")
        process = start_writer(tmp_path)
        during = names(tmp_path)
        assert len(during) == 3
        assert remove_stale(tmp_path) == []  # the writer is alive
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (tmp_path / "a.csv").read_text() == "old"
        assert names(tmp_path) == during
        with atomic_path(tmp_path / "other.csv") as temporary:
            temporary.write_text("x")
        assert names(tmp_path) == ["a.csv", "other.csv"]

    def test_interrupt_removes_the_temporaries(self, tmp_path: Path) -> None:
        process = start_writer(tmp_path)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert names(tmp_path) == []


def test_temporaries_of_other_machines_and_other_programs_stay(tmp_path: Path) -> None:
    theirs = [".a.smallarea-tmp-00000000-1-0.csv", ".a.tmp", "smallarea-tmp.csv"]
    for name in theirs:
        (tmp_path / name).touch()
    mine = atomic.temporary_path(tmp_path / "a.csv")
    mine.touch()
    dead = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{2**22 + 12345}-")
    dead.touch()
    assert remove_stale(tmp_path) == [dead]
    assert names(tmp_path) == sorted([*theirs, mine.name])
    assert remove_stale(tmp_path / "nowhere") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_protected_files_are_not_replaced(tmp_path: Path) -> None:
    pipe, protected = tmp_path / "pipe.csv", tmp_path / "protected.csv"
    os.mkfifo(pipe)
    protected.write_text("mine")
    protected.chmod(0o444)
    for target, words in ((pipe, "not a regular file"), (protected, "write-protected")):
        with pytest.raises(OutputProblem, match=words), atomic_path(target) as temporary:
            temporary.write_text("new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert protected.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pipe.csv", "protected.csv"]


def test_a_name_that_promises_another_format() -> None:
    check_suffix("a/b.GPKG", (".gpkg",), "a GeoPackage")
    with pytest.raises(OutputProblem, match=r"must end in \.html or \.htm"):
        check_suffix("a/b.gpkg", (".html", ".htm"), "HTML")
