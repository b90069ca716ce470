"""A server for fakes of stores: real sockets and bytes, and faults on purpose. Nothing of a real service is behind it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    method: str
    path: str
    """As it was sent, still quoted."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


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
    url: str
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, asked: Asked, where: str) -> Fault | None:
        with self.mutex:
            self.asked.append(asked)
            for fault in self.faults:
                if fault.times and fault.method == asked.method and fault.text in where:
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def serving(answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """A server on a free port of this machine. `answer` may be called from several threads at once. `tls`: it is `localhost` then."""
    made: list[Served] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            # A client that was killed is no failure of the server's.
            with suppress(ConnectionError):
                super().handle_one_request()

        def handle_expect_100(self) -> bool:
            told = super().handle_expect_100()
            self.wfile.flush()
            return told

        def _do(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(
                method=self.command,
                path=parts.path,
                query={name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self._body(),
            )
            fault = made[0].fault(asked, self.path)
            reply = fault.reply if fault is not None and fault.reply is not None else answer(asked)
            if fault is not None and fault.lost:
                self._end()
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            # What a HEAD is answered with has a length of its own.
            if reply.status not in (204, 304) and "content-length" not in {name.lower() for name in reply.headers}:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            cut = fault is not None and fault.cut
            self.wfile.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
            if cut:
                self.wfile.flush()
                self._end()

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_LOCK = do_UNLOCK = _do

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _end(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        # Each connection shakes hands in its own thread, so that none waits for another's.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    host = "http://127.0.0.1" if tls is None else "https://localhost"
    made.append(Served(url=f"{host}:{server.server_address[1]}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
