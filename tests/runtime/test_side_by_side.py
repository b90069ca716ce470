"""Several sites are planned at once: order, errors of all, and an interrupt that ends every run. The drivers are fakes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from skyc.compiler.diagnostics import SkycError, error
from skyc.compiler.terraform import Terraform
from skyc.runtime.backend.faults import NotCompared
from skyc.runtime.side_by_side import AT_ONCE, side_by_side


class Driver:
    def __init__(self) -> None:
        self.stopped = threading.Event()

    def stop(self, *, force: bool = False) -> None:
        self.stopped.set()


def work(*todo: Callable[[], Any]) -> list[tuple[Terraform, Callable[[], Any]]]:
    return [(cast(Terraform, Driver()), do) for do in todo]


def fail(slug: str, exit_code: int = 1) -> Callable[[], Any]:
    def do() -> None:
        raise SkycError(error(slug, "It failed", "It did."), exit_code=exit_code)

    return do


def test_at_once_and_in_order() -> None:
    together = threading.Barrier(AT_ONCE, timeout=20)

    def at(number: int) -> Callable[[], int]:
        def do() -> int:
            together.wait()
            time.sleep(0.02 * (AT_ONCE - number))
            return number

        return do

    assert side_by_side(work(*map(at, range(AT_ONCE)))) == list(range(AT_ONCE))


def test_one_is_done_where_signals_come() -> None:
    assert side_by_side(work(threading.current_thread)) == [threading.main_thread()]
    assert side_by_side(work()) == []


def test_errors_of_all_are_said_in_order() -> None:
    with pytest.raises(SkycError) as failed:
        side_by_side(work(fail("first"), lambda: 1, fail("second", 4), fail("first")))
    assert [item.slug for item in failed.value.diagnostics] == ["first", "second"]
    assert failed.value.exit_code == 4


def test_an_error_somebody_waits_for_stays_what_it_is() -> None:
    def elsewhere() -> None:
        raise NotCompared(error("applied-elsewhere", "It is not here", "It is not."))

    with pytest.raises(NotCompared):
        side_by_side(work(fail("first"), elsewhere))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_run(number: signal.Signals) -> None:
    drivers = [Driver() for _ in range(3)]
    ended: list[Driver] = []
    meeting = threading.Barrier(len(drivers) + 1, timeout=20)

    def press() -> None:
        meeting.wait()
        os.kill(os.getpid(), number)

    def waits(driver: Driver) -> Callable[[], None]:
        def do() -> None:
            meeting.wait()
            assert driver.stopped.wait(20), "nobody asked it to end"
            ended.append(driver)

        return do

    before = signal.getsignal(number)
    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([(cast(Terraform, driver), waits(driver)) for driver in drivers])
    assert len(ended) == 3
    assert signal.getsignal(number) == before
