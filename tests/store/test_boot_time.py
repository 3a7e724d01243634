"""Delays and backoffs end after their duration, wherever the wall clock is set meanwhile."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from queuectl_nb import testing
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.times import format_time
from queuectl_nb.store import boot_time
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY, BootTime, NextDue
from queuectl_nb.store.edit import edit_jobs
from tests.store.conftest import StoreHarness

DAY = 86_400.0


class Clocks(StoreHarness):
    """A harness with both clocks: ``step`` sets the wall clock, ``sleep`` lets time pass, ``reboot`` starts a boot."""

    boottime = BootTime("first boot", 1000.0)

    def step(self, seconds: float) -> None:
        """Set the wall clock by so many seconds."""
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        assert self.boottime.seconds is not None
        self.boottime = self.boottime._replace(seconds=self.boottime.seconds + seconds)

    def reboot(self) -> None:
        """Start another boot, in which a worker registers."""
        self.boottime = BootTime("second boot", 5.0)
        self.store.workers.register(
            lambda _name: True, pool=1, host="here", queues=(), now=self.now, boot=self.boottime.boot
        )

    def claimed(self) -> list[str]:
        """Return the ids of the jobs that can be claimed now, after checking that all ways to ask agree."""
        self.settle_and_claim()  # records the boot
        claims = self.claims()
        ready, count = claims.find_work(self.now, self.boottime)[0], claims.count_ready(99, self.now, self.boottime)
        ids = [lease.job_id for lease in self.claim(99)]
        assert (ready, count) == (bool(ids), len(ids))
        return ids


@pytest.fixture
def clocks(harness: StoreHarness) -> Clocks:
    """Return a harness with both clocks."""
    return Clocks(harness.store)


@pytest.mark.parametrize("step", [-DAY, 0.0, DAY, 400 * DAY])
def test_a_backoff_is_a_duration(clocks: Clocks, step: float) -> None:
    """A retry runs after its delay, neither a day later nor at once, if the clock is set in between."""
    clocks.add("a")
    clocks.run("a", Exited(1))
    clocks.step(step)
    clocks.sleep(1.9)
    assert clocks.claimed() == []
    left = clocks.claims().find_work(clocks.now, clocks.boottime)[1].remaining_s(clocks.now, clocks.boottime)
    assert left == pytest.approx(0.1)
    clocks.sleep(0.2)
    assert clocks.claimed() == ["a"]
    ((due_at, started_at),) = clocks.query("SELECT due_at, started_at FROM attempts WHERE number = 2")
    assert due_at <= started_at


@pytest.mark.parametrize("step", [-DAY, 0.0, DAY])
def test_a_delay_is_a_duration(clocks: Clocks, step: float) -> None:
    """The same for ``--delay``, also of a job that waits for another one."""
    clocks.add("first")
    clocks.add("delayed", delay=60)
    clocks.enqueue({"id": "late", "command": "true", "after": ["first"], "delay": 60})
    clocks.enqueue({"id": "soon", "command": "true", "after": ["first"]})
    clocks.step(step)
    clocks.run("first")
    assert clocks.claimed() == ["soon"]
    clocks.sleep(61)
    assert clocks.claimed() == ["delayed", "late"]


def test_an_edited_delay_is_a_duration(clocks: Clocks) -> None:
    """The same for a delay that an edit sets."""
    clocks.add("a")
    edit_jobs(clocks.store.db, ["a"], {"delay": 60.0}, clocks.now, clocks.boottime)
    clocks.step(-DAY)
    clocks.sleep(59)
    assert clocks.claimed() == []
    clocks.sleep(2)
    assert clocks.claimed() == ["a"]


def test_a_dependent_whose_delay_has_ended_is_ready(clocks: Clocks) -> None:
    """A delay may end while the job is blocked."""
    clocks.add("first")
    clocks.enqueue({"id": "late", "command": "true", "after": ["first"], "delay": 60})
    clocks.step(-DAY)
    clocks.sleep(61)
    clocks.run("first")
    assert clocks.claimed() == ["late"]
    assert clocks.store.jobs.get("late").run_at == clocks.now


def test_a_time_of_day_is_one_of_the_wall_clock(clocks: Clocks) -> None:
    """``--run-at`` follows the clock when it is set: back, the job waits longer; forward, it runs at its time."""
    clocks.add("a", run_at=format_time(clocks.now + 60))
    clocks.step(-DAY)
    clocks.sleep(61)
    assert clocks.claimed() == []
    clocks.step(DAY)
    assert clocks.claimed() == ["a"]


def test_after_a_reboot_the_wall_clock_counts(clocks: Clocks) -> None:
    """The time since boot of an earlier boot means nothing: the jobs run at the time that ``run_at`` shows."""
    clocks.add("failed")
    clocks.run("failed", Exited(1))
    clocks.add("delayed", delay=60)
    clocks.add("later", delay=3000)
    clocks.step(100)
    clocks.reboot()
    assert clocks.claims().find_work(clocks.now, clocks.boottime)[0]
    assert clocks.claims().count_ready(99, clocks.now, clocks.boottime) == 2
    assert [lease.job_id for lease in clocks.claim(99)] == ["failed", "delayed"]
    clocks.add("new", delay=60)
    clocks.sleep(61)
    clocks.step(-DAY)
    assert clocks.claimed() == ["new"]


def test_a_retry_by_hand_ends_the_delay(clocks: Clocks) -> None:
    """A retried job is due now; nothing of an earlier delay is left, even if it has to wait for another job."""
    clocks.add("first")
    clocks.enqueue({"id": "a", "command": "true", "after": ["first"], "delay": 3000})
    clocks.store.jobs.cancel(["a"], clocks.now)
    clocks.store.jobs.retry(["a"], clocks.now)
    clocks.step(-DAY)
    clocks.run("first")
    assert clocks.claimed() == ["a"]


def test_a_system_without_the_clock_uses_the_wall_clock(clocks: Clocks) -> None:
    """A queue that was copied to such a system works there, too."""
    clocks.add("a", delay=60)
    clocks.boottime = WALL_CLOCK_ONLY
    assert clocks.claims().find_work(clocks.now, clocks.boottime)[1] == NextDue(None, 1060.0)
    assert clocks.claim() == []
    clocks.add("b", delay=60)
    clocks.step(60)
    assert clocks.claimed() == ["a", "b"]
    assert NextDue(None, 5.0).remaining_s(0.0, WALL_CLOCK_ONLY) == math.inf


def test_the_clock_does_not_follow_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing: a job fails, the clock is set back by a day, and the retry comes after its second."""
    before = boot_time.read_boot_time()
    if before == WALL_CLOCK_ONLY:
        pytest.skip("no clock since boot here")
    with testing.temporary_queue() as queue:
        queue.set("backoff_base", 1)
        job = queue.enqueue("exit 1", max_retries=2)
        testing.run_pending(queue)
        assert job.state == "failed"
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - DAY)
        deadline = time.monotonic() + 60
        while not testing.run_pending(queue):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert job.state == "dead"
    after: Any = boot_time.read_boot_time()
    assert after.boot == before.boot
    assert after.seconds - before.seconds >= 1


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="needs /proc")
def test_time_since_boot() -> None:
    """It names the boot, and counts on."""
    first, second = boot_time.read_boot_time(), boot_time.read_boot_time()
    assert first.boot.startswith(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    assert first.boot == second.boot
    assert first.seconds is not None
    assert second.seconds is not None
    assert 0 < first.seconds <= second.seconds <= time.clock_gettime(time.CLOCK_BOOTTIME)
    if os.path.islink("/proc/self/ns/time"):
        assert first.boot.split()[1:] == [os.readlink("/proc/self/ns/time")]


def test_a_kernel_without_time_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot alone says whether times can be compared; without an id of it the wall clock counts."""
    monkeypatch.setattr(boot_time, "_boot_id", boot_time._boot_id.__wrapped__)
    boot = boot_time.read_boot_time().boot.partition(" ")[0]
    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    assert boot_time.read_boot_time().boot == boot
    monkeypatch.setattr(Path, "read_text", lambda *_: os.stat("/proc/nowhere"))
    assert boot_time.read_boot_time() == WALL_CLOCK_ONLY
