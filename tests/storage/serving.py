"""A server for fakes of stores, with faults on purpose."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests import serving as http
from tests.serving import Asked, Reply

__all__ = ["Asked", "Fault", "Reply", "Served", "as_json", "serving"]


def as_json(value: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


@dataclass(kw_only=True)
class Fault:
    """What happens to the next `times` requests of the method whose path or query holds the text. `lost`: the request has its effect,
    and the connection ends without an answer. `cut`: the answer ends in its middle."""

    method: str
    text: str = ""
    times: int = 1
    reply: Reply | None = None
    lost: bool = False
    cut: bool = False


@dataclass
class Served:
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, asked: Asked) -> Fault | None:
        with self.mutex:
            self.asked.append(asked)
            for fault in self.faults:
                if fault.times and fault.method == asked.method and fault.text in asked.target:
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def serving(answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """`answer` may be called from several threads at once. `tls`: the server is `localhost` then."""
    served = Served()

    def faulty(asked: Asked) -> Reply:
        fault = served.fault(asked)
        if fault is None:
            return answer(asked)
        return replace(fault.reply or answer(asked), lost=fault.lost, cut=fault.cut)

    with http.serving(faulty, tls) as served.url:
        yield served
