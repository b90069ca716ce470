"""An endpoint that refuses every AWS call for want of a permission, in the form each service has for errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ID = "00000000-0000-4000-a000-000000000000"
WHY = "<Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error>"
EC2 = f"<Response><Errors>{WHY}</Errors><RequestID>{ID}</RequestID></Response>"
S3 = f"<Error><Code>AccessDenied</Code><Message>no</Message><RequestId>{ID}</RequestId></Error>"
OTHER = (
    f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>{ID}</RequestId></ErrorResponse>"
)


class Refusal(BaseHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test's output is for its failures."""

    def refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        # The signature names the service: Credential=KEY/DATE/REGION/SERVICE/aws4_request.
        scope = (self.headers.get("authorization") or "").partition("Credential=")[2].split("/")
        service = scope[3] if len(scope) > 3 else ""
        body = {"ec2": EC2, "s3": S3}.get(service, OTHER).encode()
        self.send_response(403)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = refuse


@contextmanager
def refusing() -> Iterator[str]:
    """Its address, for as long as the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
