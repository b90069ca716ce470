"""Terraform runs of several sites at once: results in the order of the sites, errors of all of them.

Contract: `work` changes nothing in the world, as a plan does not. An interrupt asks every run to end, and is raised when all have; a second
one kills them. One site's work is done in the caller's thread, where the driver sees to signals itself.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import FrameType
from typing import TypeVar

from ..compiler.diagnostics import SkycError
from ..compiler.terraform import Terraform

AT_ONCE = 4
"""Each is Terraform with its providers: some hundred megabytes."""
LONGEST_SLEEP = 0.5
"""Seconds in which an interrupt may be overlooked."""
T = TypeVar("T")


def side_by_side(work: Sequence[tuple[Terraform, Callable[[], T]]]) -> list[T]:
    """Raises SkycError with what all of them said, KeyboardInterrupt."""
    if len(work) < 2:
        return [do() for _, do in work]
    with _terminated_like_ctrl_c(), ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        futures: list[Future[T]] = []
        try:
            for _, do in work:
                futures.append(pool.submit(do))
            _wait(futures)
        except BaseException:
            _end(futures, [terraform for terraform, _ in work])
            raise
    _raise_all([failure for future in futures if (failure := future.exception()) is not None])
    return [future.result() for future in futures]


def _end(futures: Sequence[Future[T]], drivers: Sequence[Terraform]) -> None:
    for future in futures:
        future.cancel()
    for driver in drivers:
        driver.stop()
    try:
        _wait(futures)
    except BaseException:
        for driver in drivers:
            driver.stop(force=True)
        raise


def _wait(futures: Sequence[Future[T]]) -> None:
    """Until all are done. Looked up now and then: Python acts on a signal between two of its own steps, so one that comes right before the
    thread lies down to wait would be acted on when it gets up, which is when a run has ended by itself."""
    while wait(futures, timeout=LONGEST_SLEEP).not_done:
        pass


def _raise_all(failures: Sequence[BaseException]) -> None:
    """What is more than a plain error is raised as it is: who catches it means that one."""
    for failure in failures:
        if type(failure) is not SkycError:
            raise failure
    errors = [failure for failure in failures if isinstance(failure, SkycError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SkycError.of(errors) from errors[0]


@contextlib.contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM interrupts the waiting, as the driver has it for one run. A handler that somebody else has set is left alone."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
