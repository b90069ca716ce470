"""What the HTTP client does with servers that are slow, broken, busy or hostile."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Secret
from skyc.providers.http import Answer, Http, Request, endpoint, same_origin
from skyc.providers.refresh import key_from
from skyc.providers.retry import Refused, Schedule, SourceFailure

from .fakes.server import FakeServer, Reply

KEY = "sk-THE-KEY-ITSELF"


def ask(http: Http, server: FakeServer, path: str = "/list") -> object:
    return http.json(
        Request(url=server.url + path, params=(("q", "x"),), secret_headers={"Authorization": ("Bearer ", Secret(KEY))})
    )


@pytest.fixture
def good(server: FakeServer) -> FakeServer:
    server.get("/list", lambda _: {"fine": True})
    return server


@pytest.mark.parametrize(
    "fault",
    [
        Reply(status=500),
        Reply(status=503, headers={"Retry-After": "0"}),
        Reply(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Reply(status=429, headers={"Retry-After": "soon"}),
        Reply(body=b'{"fine": true, "more": "0123456789"}', cut=True),
        Reply(body=b'{"fine": tr', unannounced=True),
        Reply(body=b"<html>proxy</html>"),
        Reply(body=b"\xff\xfe\x00"),
        Reply(body=b'{"fine": true}', headers={"Content-Encoding": "gzip"}),
        Reply(silent=3.0),
        Reply(body=b'{"fine": true}' + b" " * 40, drip=0.2),
    ],
    ids=lambda fault: f"{fault.status}-{fault.body[:8]!r}-{fault.silent}-{fault.drip}-{fault.cut}",
)
def test_what_passes_is_asked_again(http: Http, good: FakeServer, fault: Reply) -> None:
    good.faults.append(("/list", fault))
    assert ask(http, good) == {"fine": True}
    assert len(good.asked) == 2


@pytest.mark.parametrize(("status", "kind"), [(400, SourceFailure), (404, SourceFailure), (401, Refused), (403, Refused)])
def test_what_does_not_pass_is_not_asked_again(http: Http, server: FakeServer, status: int, kind: type[SourceFailure]) -> None:
    server.get("/list", lambda asked: Reply(status=status, body=f"no: {asked.headers['Authorization']}".encode()))
    with pytest.raises(kind, match=f"GET 127.0.0.1/list answered {status}") as caught:
        ask(http, server)
    assert len(server.asked) == 1
    assert KEY not in str(caught.value)
    assert "q=x" not in str(caught.value)


def test_a_redirect_does_not_take_the_key_elsewhere(http: Http, server: FakeServer) -> None:
    server.get("/list", lambda _: Reply(status=302, headers={"Location": f"{server.url}/other"}))
    with pytest.raises(SourceFailure, match="a redirect"):
        ask(http, server)
    assert [asked.path for asked in server.asked] == ["/list"]


def test_it_gives_up_and_says_how_often_it_tried(http: Http, server: FakeServer) -> None:
    server.get("/list", lambda _: Reply(status=502))
    with pytest.raises(SourceFailure, match=r"answered 502 \(4 attempts\)"):
        ask(http, server)
    assert len(server.asked) == 4


def test_an_unreachable_server_is_given_up_sooner(http: Http) -> None:
    with pytest.raises(
        SourceFailure, match=r"127\.0\.0\.1:9 cannot be reached: nothing takes connections there \(3 attempts\)"
    ):
        http.json(Request(url="http://127.0.0.1:9/x"))


@pytest.mark.parametrize(
    ("header", "slept"),
    [("7", [7.0, 5.0]), ("2", [3.0, 5.0]), ("Wed, 25 Nov 2026 12:00:20 GMT", [20.0, 5.0]), (None, [3.0, 5.0])],
)
def test_pauses_are_the_schedules_or_what_the_server_asks(good: FakeServer, header: str | None, slept: list[float]) -> None:
    made: list[float] = []
    schedule = Schedule(pauses=(3.0, 5.0), sleep=made.append)
    good.faults += [
        ("/list", Reply(status=429, headers={"Retry-After": header} if header else {})),
        ("/list", Reply(status=500)),
    ]
    with Http(schedule=schedule, now=lambda: datetime(2026, 11, 25, 12, tzinfo=UTC)) as http:
        assert ask(http, good) == {"fine": True}
    assert made == slept


def test_a_server_that_asks_for_an_hour_is_given_up(http: Http, server: FakeServer) -> None:
    server.get("/list", lambda _: Reply(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(SourceFailure, match="asks to wait 3600 s"):
        ask(http, server)
    assert len(server.asked) == 1


def test_lines_arrive_whole_and_a_broken_attempt_leaves_nothing(http: Http, server: FakeServer) -> None:
    body = "".join(f"line {number}\n" for number in range(2000)).encode()
    server.get("/list", lambda _: Reply(body=body))
    server.faults += [("/list", Reply(body=body, cut=True)), ("/list", Reply(body=body[:-3], unannounced=True))]
    got = http.lines(Request(url=server.url + "/list"), lambda lines: list(lines))
    assert "".join(got).encode() == body
    assert len(server.asked) == 3


def test_prices_never_pass_through_a_float(http: Http, server: FakeServer) -> None:
    server.get("/list", lambda _: Reply(body=b'{"price": 0.10000000000000000001}'))
    answer = ask(http, server)
    assert isinstance(answer, dict)
    assert str(answer["price"]) == "0.10000000000000000001"


def test_no_log_line_holds_a_key_or_a_query(http: Http, good: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(http, good)
        http.json(Request(url=good.url + "/list", secret_form={"apikey": Secret(KEY)}))
    assert KEY not in caplog.text
    assert "q=x" not in caplog.text


def test_a_key_that_no_header_can_hold_counts_as_missing() -> None:
    """httpx would repeat it in its error."""
    for bad in ("a\nb", "a b", "schlüssel", "a\x00b", "", "  "):
        assert key_from({"K": bad}, "K") is None
    key = key_from({"K": " good\n"}, "K")
    assert key is not None
    assert key.reveal() == "good"
    assert "good" not in f"{key} {key!r}"


@pytest.mark.parametrize(
    "place", ["http://prices.example.com", "ftp://127.0.0.1/x", "prices.example.com", "http://127.0.0.1.evil.com"]
)
def test_keys_leave_this_machine_through_tls_only(place: str) -> None:
    with pytest.raises(SkycError) as caught:
        endpoint({"V": place}, "V", "https://x")
    assert caught.value.diagnostics[0].slug == "bad-endpoint"


@pytest.mark.parametrize("place", ["https://prices.example.com/", "http://127.0.0.1:80", "http://localhost:1/"])
def test_an_endpoint_can_be_replaced(place: str) -> None:
    assert endpoint({"V": place}, "V", "https://x") == place.rstrip("/")
    assert endpoint({}, "V", "https://x") == "https://x"


def test_the_next_page_must_be_of_the_same_server() -> None:
    assert same_origin("https://a.com:443/x?y", "https://a.com")
    for other in ("http://a.com/x", "https://b.com/x", "https://a.com:444/", "https://a.com:x/", "//a.com", ""):
        assert not same_origin(other, "https://a.com")


def test_a_stopped_command_asks_nothing_more(good: FakeServer) -> None:
    with Http(schedule=Schedule(pauses=(), stopped=lambda: True)) as http, pytest.raises(SourceFailure, match="stopped"):
        ask(http, good)
    assert good.asked == []


def test_an_answer_without_a_body_and_a_status_that_is_asked_for(http: Http, server: FakeServer) -> None:
    server.get("/bare", lambda _: Reply(status=202))
    server.get("/full", lambda _: {"fine": True})
    gone = frozenset({404})
    assert http.ask(Request(url=f"{server.url}/bare")) == Answer(status=202)
    assert http.ask(Request(url=f"{server.url}/full")) == Answer(status=200, body={"fine": True})
    assert http.ask(Request(url=f"{server.url}/none", accepts=gone)).status == 404
    with pytest.raises(SourceFailure, match="answered 404"):
        http.ask(Request(url=f"{server.url}/none"))
    with pytest.raises(SourceFailure, match="not JSON"):
        http.json(Request(url=f"{server.url}/bare"))
