"""A fake HTTP server for price lists and other services: real sockets, documented shapes from a test, and faults on purpose.

Nothing of a real cloud is behind it. Each cloud's fake beside this file builds the routes.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close the connection after half of the body."""
    silent: float = 0.0
    """Seconds before anything is sent."""
    drip: float = 0.0
    """Seconds between single bytes."""
    unannounced: bool = False
    """No length is sent; the end of the connection is the end of the body."""


Route = Callable[[Asked], Any]
"""Gives a Reply, or a value that is sent as JSON."""


@dataclass
class FakeServer:
    """`faults`: replies that are given first, in turn, to requests whose path holds the given text."""

    url: str
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
    """A server on a free port of this machine, for the length of the context."""
    made: list[FakeServer] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one segment; apart, each answer would wait 40 ms for an acknowledgement.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._do("GET")

        def do_POST(self) -> None:
            self._do("POST")

        def do_PUT(self) -> None:
            self._do("PUT")

        def do_DELETE(self) -> None:
            self._do("DELETE")

        def _do(self, method: str) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            reply = made[0].answer(Asked(method=method, path=parts.path, query=query, headers=dict(self.headers), body=body))
            # A client that has given up is no failure of the server's.
            with suppress(OSError):
                self._send(reply)

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.silent)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if not reply.unannounced:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            body = reply.body[: len(reply.body) // 2] if reply.cut else reply.body
            if reply.drip:
                for position in range(len(body)):
                    self.wfile.write(body[position : position + 1])
                    self.wfile.flush()
                    time.sleep(reply.drip)
            else:
                self.wfile.write(body)
            if reply.cut or reply.unannounced:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.append(FakeServer(url=f"http://127.0.0.1:{server.server_address[1]}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
