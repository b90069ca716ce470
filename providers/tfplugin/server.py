"""The provider process: a gRPC server that Terraform starts itself (spawned) or is told to use (attached).

Contract of both ways:
- The server listens on a unix socket in a directory of mode 0700, which it removes at the end. There is no other door.
- It ends when its user is gone, and never before its running calls have finished: a resource being made when Terraform is
  killed gets made, and says so in its own records. Nothing but SIGKILL cuts a call short.
- Attached, its working directory is that empty directory, never the caller's.
- SIGTERM: stop, finish, end. SIGINT: the same when attached; spawned it only stops, since a terminal sends it to Terraform and
  its providers alike, and Terraform decides when it needs its provider no more.

Spawned, the user is the parent process; the connection is encrypted with a certificate made for this one start, as Terraform
demands it. Terraform's own certificate (on the curve P-521) cannot be checked by gRPC's TLS; the directory's mode is what keeps
others out. Attached, the user is whoever holds the write end of the lifeline pipe.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

# gRPC reads these when it is imported. A resource starts programs, which needs no support for bare forks.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from .definitions import SOCKET_NAME
from .logfile import open_log, start_logging
from .resource import ProviderDefinition
from .service import Draining, ProviderService, default_home

LOG = logging.getLogger("skyc.tfplugin")

PROTOCOL_VERSION = 6
MAGIC_COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
"""How a plugin knows that Terraform started it. Not a secret."""

THREADS = 256
"""Calls at a time. Several runs at -parallelism=64 fit, with room for the StopProvider that must get through to them."""

LONGEST_SOCKET_PATH = 100
"""Linux permits 107 bytes, macOS 103."""

FLUSH_SECONDS = 3.0
"""After the last call has finished, for its answer to leave the process."""

FOREVER = 10 * 365 * 86400.0

END = 0
"""Byte on the wake-up pipe that asks the main thread to end; signals write their number."""


class Server:
    """A listening gRPC server for one provider. Made and closed on the main thread, which must also call `run`."""

    def __init__(self, definition: ProviderDefinition, *, credentials: grpc.ServerCredentials | None, directory: Path) -> None:
        self.service = ProviderService(definition)
        self.socket = directory / SOCKET_NAME
        self._directory = directory
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        self._grpc = grpc.server(
            self._pool,
            options=(("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)),
        )
        self._grpc.add_generic_rpc_handlers((_provider_handlers(self.service), *_plugin_handlers(self.end)))
        address = f"unix:{self.socket}"
        if credentials is None:
            self._grpc.add_insecure_port(address)
        else:
            self._grpc.add_secure_port(address, credentials)
        self._grpc.start()

    def end(self) -> None:
        """Ask the main thread to end. From any thread."""
        with suppress(OSError):  # full, or closed already: then it is ending
            self._wake_writer.send(bytes((END,)))

    def run(self, user: int | None, *, interrupt_ends: bool) -> None:
        """Serve until the user is gone (its descriptor becomes readable), a signal, or `end`; then finish and clean up."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _ignore)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if user is not None:
            poll.register(user, select.POLLIN | select.POLLHUP)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if user is not None and user in ready and _is_gone(user):
                LOG.info("ending: whoever used this provider is gone")
                break
            woken = self._wake_reader.recv(64) if self._wake_reader.fileno() in ready else b""
            if END in woken or signal.SIGTERM in woken or (interrupt_ends and signal.SIGINT in woken):
                LOG.info("ending: %s", "Terraform is done" if END in woken else "told to by a signal")
                break
            if signal.SIGINT in woken:
                LOG.info("stopping: interrupted at the terminal")
                self.service.stop()
        signal.set_wakeup_fd(-1)
        self.close()

    def close(self) -> None:
        """Finish running calls, however long they take, answer them, and remove the socket."""
        # Refuses new calls and leaves running ones alone. gRPC forgets a call whose client is gone; `drain` does not.
        self._grpc.stop(FOREVER)
        self.service.drain()
        self._grpc.stop(FLUSH_SECONDS).wait(FLUSH_SECONDS * 2)
        self._pool.shutdown()
        self._wake_reader.close()
        self._wake_writer.close()
        with suppress(OSError):
            self.socket.unlink(missing_ok=True)
            self._directory.rmdir()


def serve_spawned(definition: ProviderDefinition) -> int:
    """Serve the Terraform that started this process. Returns the exit code.

    Prints one handshake line on stdout. Afterwards nothing is written to Terraform's pipes: they break when it is killed.
    """
    name, value = MAGIC_COOKIE
    if os.environ.get(name) != value:
        print(
            "This program is a Terraform provider; Terraform starts it. See `skyc --help` for commands to run.", file=sys.stderr
        )
        return 1
    offered = os.environ.get("PLUGIN_PROTOCOL_VERSIONS", str(PROTOCOL_VERSION)).split(",")
    if str(PROTOCOL_VERSION) not in offered:
        print(f"This provider speaks protocol 6; this engine offers {', '.join(offered)}.", file=sys.stderr)
        return 1
    user = _watch_parent()
    credentials, certificate = (None, "")
    if os.environ.get("PLUGIN_CLIENT_CERT"):
        credentials, certificate = _one_time_credentials()
    server = Server(definition, credentials=credentials, directory=socket_directory())
    log = open_log(default_home() / "logs" / "provider.log")
    handshake = f"1|{PROTOCOL_VERSION}|unix|{server.socket}|grpc|{certificate}\n"
    os.write(1, handshake.encode())
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    start_logging()
    server.run(user, interrupt_ends=False)
    return 0


def serve_attached(definition: ProviderDefinition, *, ready_file: Path, lifeline: int) -> int:
    """Serve until the write end of the pipe `lifeline` is closed everywhere. Returns the exit code.

    Once the server answers, `ready_file` (0600) holds one JSON line with `pid`, `socket` and `protocol_version`.
    """
    os.set_inheritable(lifeline, False)
    start_logging()
    ready_file = ready_file.absolute()
    directory = socket_directory()
    server = Server(definition, credentials=None, directory=directory)
    try:
        # An empty directory of its own: a relative path in a resource, always a defect, then leads to no file of the user's.
        os.chdir(directory)
        line = json.dumps({"pid": os.getpid(), "socket": str(server.socket), "protocol_version": PROTOCOL_VERSION}) + "\n"
        unfinished = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(line)
        unfinished.replace(ready_file)
    except OSError:
        server.close()
        raise
    server.run(lifeline, interrupt_ends=True)
    return 0


def socket_directory() -> Path:
    """A new directory of mode 0700 whose path leaves room for a socket's name."""
    places = (os.environ.get("PLUGIN_UNIX_SOCKET_DIR"), tempfile.gettempdir(), "/tmp")  # noqa: S108
    for place in places:
        if (
            place
            and len(os.fsencode(place)) + len("/skyc-tf-xxxxxxxx/s") <= LONGEST_SOCKET_PATH
            and os.access(place, os.W_OK | os.X_OK)
        ):
            return Path(tempfile.mkdtemp(prefix="skyc-tf-", dir=place))
    raise OSError("no writable directory with a path short enough for a socket; set TMPDIR to one")


def _provider_handlers(service: ProviderService) -> grpc.GenericRpcHandler[Any, Any]:
    handlers = {}
    for name, (request_class, method) in service.methods().items():
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            _answering(method), request_deserializer=request_class.FromString, response_serializer=_bytes_of
        )
    return grpc.method_handlers_generic_handler("tfplugin6.Provider", handlers)


def _answering(method: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request)
        except Draining:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the provider is ending")

    return answer


def _plugin_handlers(end: Callable[[], None]) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
    """The three services every plugin offers Terraform beside its own. Only `Shutdown` does anything here.

    Terraform opens the other two as streams at once. Their handlers return at once: one that waited for its stream to end would
    hold a thread for each connection.
    """

    def shutdown(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        end()
        return b""

    def nothing(_request: Any, _context: grpc.ServicerContext) -> tuple[bytes, ...]:
        return ()

    return (
        grpc.method_handlers_generic_handler(
            "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}
        ),
        grpc.method_handlers_generic_handler(
            "plugin.GRPCStdio", {"StreamStdio": grpc.unary_stream_rpc_method_handler(nothing)}
        ),
        grpc.method_handlers_generic_handler(
            "plugin.GRPCBroker", {"StartStream": grpc.stream_stream_rpc_method_handler(nothing)}
        ),
    )


def _bytes_of(message: Any) -> bytes:
    content: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return content


def _one_time_credentials() -> tuple[grpc.ServerCredentials, str]:
    """Credentials from a fresh key that is only ever in memory, and the certificate as the handshake line carries it."""
    from .certificate import one_time_certificate

    made = one_time_certificate()
    credentials = grpc.ssl_server_credentials([(made.key_pem, made.certificate_pem)])
    return credentials, base64.b64encode(made.certificate_der).decode().rstrip("=")


def _watch_parent() -> int:
    """A descriptor that becomes readable when the parent process is gone."""
    parent = os.getppid()
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            descriptor = os.pidfd_open(parent)
            if os.getppid() == parent:
                return descriptor
            os.close(descriptor)
    return _poll_parent(parent)


def _poll_parent(parent: int) -> int:
    """The same for systems without pidfd: a pipe that a thread closes."""
    import threading
    import time

    reader, writer = os.pipe()

    def watch() -> None:
        while os.getppid() == parent and parent != 1:
            time.sleep(0.5)
        os.close(writer)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    return reader


def _is_gone(user: int) -> bool:
    """A readable lifeline means its end, unless somebody wrote to it; a pidfd cannot be read."""
    try:
        return os.read(user, 512) == b""
    except OSError:
        return True


def _ignore(_number: int, _frame: object) -> None:
    """The signal's number comes through the wake-up pipe."""
