"""An HTTP server for fakes of services: real sockets and bytes, and answers that are late, cut off or lost on purpose.

Nothing of a real service is behind it: what is asked goes to a function.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it arrived. `path`: still quoted. `target`: path and query, as they were sent. `headers`: their case is ignored."""

    method: str
    path: str
    target: str
    query: Mapping[str, str]
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def with_headers(self, **changed: str | None) -> Asked:
        """The same request with these headers, an underscore for each hyphen of their names; None takes one away."""
        headers = Message()
        for name, value in self.headers.items():
            headers[name] = value
        for name, given in changed.items():
            del headers[name.replace("_", "-")]
            if given is not None:
                headers[name.replace("_", "-")] = given
        return replace(self, headers=headers)


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    """The connection ends without an answer."""
    cut: bool = False
    """The connection ends after half of the body."""
    silent: float = 0.0
    """Seconds before anything is sent."""
    drip: float = 0.0
    """Seconds between single bytes."""
    unannounced: bool = False
    """No length is sent; the end of the connection is the end of the body."""


@contextmanager
def serving(answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """URL of a server on a free port of this machine, for the length of the context. `answer` may be called from several threads.

    tls: with the certificate of `localhost`, which is then the server's name.
    """

    class Handler(_Handler):
        def answer(self, asked: Asked) -> Reply:
            return answer(asked)

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        # Each connection shakes hands in its own thread, so that none waits for another's.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    host = "http://127.0.0.1" if tls is None else "https://localhost"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one segment; apart, each answer would wait 40 ms for an acknowledgement.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def answer(self, asked: Asked) -> Reply:
        raise NotImplementedError

    def handle_one_request(self) -> None:
        # A client that was killed, or has given up, is no failure of the server's.
        with suppress(OSError):
            super().handle_one_request()

    def handle_expect_100(self) -> bool:
        # What is written waits in a buffer, and the client waits for this word.
        told = super().handle_expect_100()
        self.wfile.flush()
        return told

    def _do(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            path=parts.path,
            target=self.path,
            query={name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
            headers=self.headers,
            body=self._body(),
        )
        reply = self.answer(asked)
        time.sleep(reply.silent)
        if reply.lost:
            self._end()
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        # What a HEAD is answered with has a length of its own.
        announced = "content-length" in {name.lower() for name in reply.headers}
        if reply.status not in (204, 304) and not reply.unannounced and not announced:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self._send(reply.body[: len(reply.body) // 2] if reply.cut else reply.body, reply.drip)
        if reply.cut or reply.unannounced:
            self.wfile.flush()
            self._end()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_LOCK = do_UNLOCK = _do

    def _send(self, body: bytes, drip: float) -> None:
        if not drip:
            self.wfile.write(body)
            return
        for position in range(len(body)):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            time.sleep(drip)

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
