"""An HTTP proxy between AWS's clients and a pretended account: it refuses calls, loses replies, and tells of every call.

AWS's query protocol (EC2, IAM, STS) names the operation in the request's body, so a rule is about an operation and its arguments.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

READS = ("Describe", "Get", "List")
ERROR = (
    "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    "<RequestID>00000000-0000-4000-a000-000000000000</RequestID></Response>"
)
IAM_ERROR = (
    '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>{code}</Code>'
    "<Message>{message}</Message></Error><RequestId>00000000-0000-4000-a000-000000000000</RequestId></ErrorResponse>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `zone`: of the subnet a machine is asked for in; empty for everything else."""

    number: int
    """Counts all calls from 1."""
    operation: str
    arguments: dict[str, str]
    zone: str
    seconds: float
    """Since the proxy started."""

    @property
    def changes(self) -> bool:
        return bool(self.operation) and not self.operation.startswith(READS)


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error, and ask nobody."""

    code: str
    status: int = 400
    message: str = "refused by the test"


class LoseReply:
    """Pass the request on and close the connection without an answer."""


Rule = Callable[[Call], Refuse | LoseReply | None]


def nothing(call: Call) -> None:
    """The rule that lets everything pass."""


@dataclass
class Proxy:
    """`rule` and `before` may be set at any time; `before` is called with each call ahead of anything else."""

    url: str = ""
    rule: Rule = nothing
    before: Callable[[Call], object] = nothing
    after: Callable[[Call], object] = nothing
    calls: list[Call] = field(default_factory=list)
    zones: dict[str, str] = field(default_factory=dict)
    mutex: Any = field(default_factory=threading.Lock)
    started: float = field(default_factory=time.monotonic)

    def forget(self) -> None:
        """Begin anew: no rule, no calls."""
        self.rule, self.before, self.after, self.calls = nothing, nothing, nothing, []
        self.started = time.monotonic()

    def heard(self, body: bytes) -> Call:
        arguments = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        subnet = arguments.get("SubnetId") or arguments.get("NetworkInterface.1.SubnetId") or ""
        with self.mutex:
            call = Call(
                number=len(self.calls) + 1,
                operation=arguments.get("Action", ""),
                arguments=arguments,
                zone=self.zones.get(subnet, ""),
                seconds=time.monotonic() - self.started,
            )
            self.calls.append(call)
        return call

    def made(self, call: Call, answer: bytes) -> None:
        if call.operation == "CreateSubnet":
            found = re.search(rb"<subnetId>([^<]+)", answer)
            if found:
                self.zones[found[1].decode()] = call.arguments.get("AvailabilityZoneId", "")


def _handler(proxy: Proxy, upstream: str) -> type[BaseHTTPRequestHandler]:
    target = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: a test's output is for its failures."""

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            call = proxy.heard(body)
            proxy.before(call)
            chosen = proxy.rule(call)
            if isinstance(chosen, Refuse):
                form = ERROR if "Version=2016-11-15" in body.decode(errors="replace") else IAM_ERROR
                self.answer(chosen.status, form.format(code=chosen.code, message=chosen.message).encode())
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection",)}
            with closing(http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)) as connection:
                connection.request(self.command, self.path, body, headers)
                reply = connection.getresponse()
                content = reply.read()
            proxy.made(call, content)
            proxy.after(call)
            if isinstance(chosen, LoseReply):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(reply.status, content, reply.getheader("content-type"))

        def answer(self, status: int, content: bytes, kind: str | None = "text/xml") -> None:
            try:
                self.send_response(status)
                self.send_header("content-type", kind or "text/xml")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                # Who asked was killed meanwhile.
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients are killed here on purpose."""


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A proxy on a free port of this machine, in front of `upstream`."""
    proxy = Proxy()
    server = _Server(("127.0.0.1", 0), _handler(proxy, upstream))
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True, name="fault proxy").start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
