"""Work on runs gives the same results in this process, in others and on a Dask cluster; failures are ours."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import distributed
import pytest

from federation import executors
from federation.errors import Malformed, Refused, Unavailable, Violation
from federation.executors import open_executor, open_local_executor
from federation.runs import Run

RUNS = [(Run(first=1 + i, count=1 + i, width=1000), bytes([i]) * 1000 * (1 + i)) for i in range(12)]

LOOPBACK = {
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "protocol": "tcp://",
    "dashboard_address": "127.0.0.1:0",
    "memory_limit": None,
}


def shown(cluster: distributed.LocalCluster) -> str:
    return cluster.scheduler_address.replace("tcp://", "dask://")


def named(run: Run, data: bytes) -> bytes:
    """A pure function of bytes: what any step of a cipher is to an executor."""
    assert len(data) == run.size
    return run.first.to_bytes(8, "big") + hashlib.sha256(data).digest()


def accuse(culprit: bytes) -> None:
    raise Violation("§4.3", "a leaf", culprit=culprit, expected=b"\x01", found=b"\x02")


def malform() -> None:
    raise Malformed(7, "range", expected=1, found=2)


def stumble() -> None:
    raise ZeroDivisionError("a defect")


def end() -> None:
    os._exit(9)


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def place() -> tuple[int, int, bool]:
    """Which process, how nice, and whether a terminal's Ctrl-C passes it by."""
    return os.getpid(), os.nice(0), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A scheduler and two workers, each a process of its own, on loopback."""
    with distributed.LocalCluster(n_workers=2, processes=True, **LOOPBACK) as found:
        yield shown(found)


@pytest.fixture(params=["here", "processes:2", "dask"])
def setting(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("cluster") if request.param == "dask" else request.param


def test_every_kind_gives_the_same_results_in_order_and_the_same_failures(setting):
    with open_executor(setting) as executor:
        futures = [executor.submit(named, *run) for run in RUNS]
        assert [future.result() for future in futures] == [named(*run) for run in RUNS]
        assert list(executor.map(len, [b"", b"ab"])) == [0, 2]
        accused = executor.submit(accuse, b"\xaa" * 20).exception()
        assert isinstance(accused, Violation)
        assert (accused.clause, accused.culprit, accused.found) == ("§4.3", b"\xaa" * 20, b"\x02")
        assert "(by 0xaaaa" in str(accused)
        malformed = executor.submit(malform).exception()
        assert isinstance(malformed, Malformed)
        assert (malformed.leaf, malformed.rule) == (7, "range")
        with pytest.raises(ZeroDivisionError, match="a defect"):
            executor.submit(stumble).result()
        assert executor.submit(named, *RUNS[3]).result() == named(*RUNS[3])


def test_calls_larger_than_dasks_warning_are_carried_without_one(cluster, recwarn):
    data = bytes(12_000_000)
    with open_executor(cluster) as executor:
        assert executor.submit(len, data).result() == len(data)
    assert [str(warning.message) for warning in recwarn if "large graph" in str(warning.message)] == []


def test_a_cluster_does_the_work_in_its_workers_and_each_call_anew(cluster):
    with open_executor(cluster) as executor:
        found = {future.result()[0] for future in [executor.submit(place) for _ in range(20)]}
        naps = [executor.submit(nap, 0.05) for _ in range(2)]  # `pure` would do equal calls once
    assert os.getpid() not in found
    assert len({future.result() for future in naps}) == 2


def test_work_here_is_done_at_submission_by_no_other_thread():
    with open_executor("here") as executor:
        future = executor.submit(threading.get_ident)
        assert future.done()
        assert future.result() == threading.get_ident()


def test_processes_are_nice_deaf_to_the_terminal_and_not_ours():
    with open_executor("processes") as executor:
        process, niceness, deaf = executor.submit(place).result()
    assert process != os.getpid()
    assert niceness == min(19, os.nice(0) + 10)
    assert deaf


def test_one_processor_is_left_free_unless_there_is_only_one(monkeypatch):
    for usable, workers in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=usable: set(range(n)), raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda n=usable: n)
        assert executors._spare_processors() == workers


def test_a_killed_worker_is_unavailable_and_the_next_call_finds_another():
    with open_executor("processes:1") as executor:
        before = executor.submit(nap, 0).result()
        lost, waiting = executor.submit(end), executor.submit(nap, 0)
        for future in (lost, waiting):
            with pytest.raises(Unavailable, match="killed"):
                future.result()
        after = executor.submit(nap, 0).result()
        os.kill(after, signal.SIGKILL)  # between two calls: at worst one more fails
        found = [executor.submit(nap, 0).exception(timeout=20) for _ in range(2)]
        assert found[-1] is None
        assert all(error is None or isinstance(error, Unavailable) for error in found)
    assert before != after


def test_a_worker_ends_when_its_parent_is_killed():
    """It waits on a queue that it could write to itself, so that no end of file ever wakes it."""
    script = textwrap.dedent(
        """
        import os, signal
        from federation.executors import open_executor
        executor = open_executor("processes:1")
        print(executor.submit(len, b"abc").result(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"3\n", "read to its end, which comes when the worker holds it no longer"


def test_our_errors_come_back_whole_where_nobody_taught_pickle_how():
    """Pickle calls an error's class with its message alone; importing Dask, as we did here, mends that."""
    script = textwrap.dedent(
        """
        from federation.executors import open_executor
        from federation.model import from_safetensors
        with open_executor("processes:1") as executor:
            error = executor.submit(from_safetensors, bytes(1000), []).exception()
        print(type(error).__name__, error.clause, error.expected, sep="|")
        """
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout.decode() == "Violation|§8.7|at most 64 bytes\n"


def test_what_waits_is_cancelled_when_the_block_is_left_by_an_error():
    with pytest.raises(KeyError), open_executor("processes:1") as executor:  # noqa: PT012 - the block is the subject
        futures = [executor.submit(nap, 0.2) for _ in range(8)]
        raise KeyError
    with pytest.raises(CancelledError):
        futures[-1].result(timeout=20)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(nap, 0)


def test_a_cancelled_call_is_not_taken_for_a_lost_worker():
    with open_executor("processes:1") as executor:
        busy, *waiting = [executor.submit(nap, 0.3) for _ in range(6)]
        assert waiting[-1].cancel()
        worker = busy.result()
        assert waiting[0].result() == worker == executor.submit(nap, 0).result()


def test_a_cluster_that_goes_away_is_unavailable_at_once_and_when_asked_again(monkeypatch):
    monkeypatch.setattr(executors, "ANSWER_SECONDS", 1.0)
    with distributed.LocalCluster(n_workers=1, processes=False, **LOOPBACK) as found:
        executor = open_executor(shown(found))
        future = executor.submit(nap, 5)
    with executor:
        with pytest.raises(Unavailable, match="cluster is gone"):
            future.result(timeout=20)
        with pytest.raises(Unavailable, match="no Dask scheduler answers"):
            executor.submit(nap, 0)


def test_a_worker_that_a_call_kills_on_a_cluster_is_unavailable(cluster):
    with open_executor(cluster) as executor:
        with pytest.raises(Unavailable, match="killed"):
            executor.submit(end).result(timeout=60)
        assert executor.submit(len, b"abc").result(timeout=60) == 3


def test_a_scheduler_without_workers_is_unavailable(monkeypatch):
    monkeypatch.setattr(executors, "ANSWER_SECONDS", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, **LOOPBACK) as found,
        pytest.raises(Unavailable, match="no worker"),
    ):
        open_executor(shown(found))


def test_without_dask_a_person_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Refused, match=r"install \"tallystick\[dask\]\""):
        open_executor("dask://127.0.0.1:8786")


@pytest.mark.parametrize(
    "setting",
    ["", "threads", "processes:", "processes:0", "processes:-1", "processes:1000", "processes: 2", "Here"],
)
def test_an_unknown_setting_is_refused_with_what_is_expected(setting):
    with pytest.raises(Refused, match=r"expected \"here\", \"processes\""):
        open_executor(setting)


@pytest.mark.parametrize(
    "setting",
    ["dask://", "dask://host", "dask://host:0", "dask://host:99999", "dask://u:p@host:1", "dask://host:1/x"],
)
def test_a_cluster_is_a_host_and_a_port(setting):
    with pytest.raises(Refused, match="dask://HOST:PORT"):
        open_executor(setting)


def test_secrets_go_to_no_cluster():
    with pytest.raises(Refused, match="secrets"):
        open_local_executor("dask://127.0.0.1:8786")
    with open_local_executor("here") as executor:
        assert executor.submit(len, b"ab").result() == 2
