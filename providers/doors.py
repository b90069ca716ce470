"""The doors of a node's Ray, asked over HTTP: they must answer 401 to who has no token."""

from __future__ import annotations

import http.client

LOOPBACK = "127.0.0.1"
AGENT = ("POST", "/api/job_agent/jobs/")
"""The node's agent executes commands for whom it lets in. An empty request is refused, or understood and not carried out."""
DASHBOARD = ("GET", "/api/version")


SILENT = -1
"""In place of a status: something holds the port and did not answer in time."""


def http_status(port: int, method: str, path: str, *, token: str | None = None, timeout: float = 3.0) -> int | None:
    """The status code of one request to a loopback port, or None when there is no HTTP answer."""
    status = asked(port, method, path, token=token, timeout=timeout)
    return None if status == SILENT else status


def asked(port: int, method: str, path: str, *, token: str | None = None, timeout: float = 3.0) -> int | None:
    """As `http_status`, and SILENT told apart from nobody being there."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    except TimeoutError:
        return SILENT
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
