"""The small grammars: what is written is what is read."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyc.compiler.ir import Bound, Infra, decimal_text
from skyc.compiler.parse import amounts, nearest
from skyc.compiler.parse.amounts import Misread

QUICK = settings(max_examples=100, deadline=None, database=None)
AMOUNTS = st.decimals(min_value="0.001", max_value="1000000", places=3)


@QUICK
@given(AMOUNTS, st.booleans())
def test_a_bound_round_trips(amount: Decimal, exact: bool) -> None:
    assert amounts.read_bound(decimal_text(amount) + ("" if exact else "+")) == Bound(amount=amount, exact=exact)


@QUICK
@given(AMOUNTS, st.sampled_from(["", "G", "g", "GB", "Gi", "GiB", " GB"]))
def test_a_size_round_trips(amount: Decimal, unit: str) -> None:
    assert amounts.read_size(decimal_text(amount) + unit) == amount
    assert amounts.read_size(f"{decimal_text(amount)}M") == amount / 1024


@QUICK
@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 999))
def test_a_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert amounts.read_duration(f"{days}d{hours}h{minutes}m{seconds}s") == total == amounts.read_duration(str(total))


@QUICK
@given(st.text(max_size=20))
def test_any_text_is_read_or_misread(text: str) -> None:
    grammars = [value for value in vars(amounts).values() if isinstance(value, amounts.Grammar)]
    assert len(grammars) >= 12
    for grammar in grammars:
        try:
            grammar.check(text)
        except Misread as misread:
            assert misread.reason.endswith(".")


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (amounts.read_memory, "4x", (None, Bound(amount=Decimal(4), exact=True))),
        (amounts.read_memory, "512MB+", (Bound(amount=Decimal("0.5"), exact=False), None)),
        (amounts.read_hours, "1.5", Decimal("1.5")),
        (amounts.read_hours, "90m", Decimal("1.5")),
        (amounts.read_money, "$5.50", Decimal("5.50")),
        (amounts.read_infra, "Local/*/z", Infra(provider="local", region=None, zone="z")),
        (amounts.read_infra, "*", Infra()),
        (amounts.read_port, "443-443", "443"),
        (amounts.read_deadline, "2027-01-31T18:00Z", ("2027-01-31T18:00Z", None)),
        (amounts.read_deadline, "90m", ("90m", Decimal("1.5"))),
        (amounts.read_bucket_place, "Local/west", Infra(provider="local", region="west")),
        (amounts.read_flow, "CLOUD", "CLOUD"),
        (amounts.read_flow_pattern, "${PLACE}/x", "${PLACE}/x"),
    ],
)
def test_written_and_read(reader: Callable[[str], object], text: str, value: object) -> None:
    assert reader(text) == value


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (amounts.read_bound, "٣"),
        (amounts.read_bound, "-1"),
        (amounts.read_bound, "1e3"),
        (amounts.read_size, "0"),
        (amounts.read_size, "9999999999999"),
        (amounts.read_duration, "5m3"),
        (amounts.read_duration, "521w1000w"),
        (amounts.read_infra, "a//b"),
        (amounts.read_port, "0"),
        (amounts.read_port, "9-8"),
        (amounts.read_name, "a\n"),
        (amounts.read_name, "x" * 129),
        (amounts.read_variable, "A\n"),
        (amounts.read_target, "a/../b"),
        (amounts.read_deadline, "2027-01-31T18:00"),
        (amounts.read_deadline, "2027-02-31T18:00Z"),
        (amounts.read_bucket_place, "local/west/a"),
        (amounts.read_flow, "/data"),
        (amounts.read_flow, "s3:bucket"),
        (amounts.read_flow, "s3://" + "x" * 5000),
    ],
)
def test_refused(reader: Callable[[str], object], text: str) -> None:
    with pytest.raises(Misread):
        reader(text)


def test_the_nearest_word() -> None:
    assert nearest("resorces", ("resources", "run")) == "resources"
    assert nearest("nmae", ("name", "needs")) == "name"
    assert nearest("xyzzy", ("name", "run")) is None
