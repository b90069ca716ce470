"""A server for fakes of price lists and other services: routes in documented shapes, and faults on purpose.

Nothing of a real cloud is behind it. Each cloud's fake beside this file builds the routes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests import serving as http
from tests.serving import Asked, Reply

__all__ = ["Asked", "FakeServer", "Reply", "Route", "as_json", "serving"]

Route = Callable[[Asked], Any]
"""Gives a Reply, or a value that is sent as JSON."""


@dataclass
class FakeServer:
    """`faults`: replies that are given first, in turn, to requests whose path holds the given text."""

    url: str = ""
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    faults: list[tuple[str, Reply]] = field(default_factory=list)
    otherwise: Route | None = None
    """Answers what has no route."""
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, route: Route) -> None:
        self.routes["GET", path] = route

    def post(self, path: str, route: Route) -> None:
        self.routes["POST", path] = route

    def answer(self, asked: Asked) -> Reply:
        with self.mutex:
            self.asked.append(asked)
            for position, (text, reply) in enumerate(self.faults):
                if text in asked.path:
                    del self.faults[position]
                    return reply
        route = self.routes.get((asked.method, asked.path), self.otherwise)
        made = route(asked) if route else Reply(status=404)
        return made if isinstance(made, Reply) else as_json(made)


def as_json(value: Any) -> Reply:
    text = json.dumps(value, default=lambda number: float(number) if isinstance(number, Decimal) else str(number))
    return Reply(body=text.encode(), headers={"Content-Type": "application/json"})


@contextmanager
def serving() -> Iterator[FakeServer]:
    server = FakeServer()
    with http.serving(server.answer) as server.url:
        yield server
