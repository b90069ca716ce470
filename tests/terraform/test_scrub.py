"""No form of a secret passes, and ordinary text does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.compiler.scrub import MASK, Scrubber


@given(secret=st.text(min_size=6).filter(lambda text: len(text.strip()) >= 6), around=st.text(max_size=20))
def test_no_form_of_a_secret_passes(secret: str, around: str) -> None:
    scrubber = Scrubber((secret,))
    for form in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), secret.replace("${", "$${")):
        told = scrubber.scrub(f"{around}{form}{around}")
        assert MASK in told and all(secret not in part for part in told.split(MASK))


def test_terraforms_json_hides_nothing() -> None:
    assert Scrubber(('a<b>&c"d',)).scrub(r"is \"a\u003cb\u003e\u0026c\"d\"") == rf"is \"{MASK}\""


def test_each_line_of_a_key() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    assert "MIIEvQ" not in Scrubber((key,)).scrub("  | MIIEvQIBADANBg\n  | …")


def test_the_longer_one_first_and_short_ones_as_words() -> None:
    assert Scrubber(("secret-a", "secret-a-and-b")).scrub("secret-a-and-b") == MASK
    assert Scrubber(("on",)).scrub("turned on: one") == f"turned {MASK}: one"


@pytest.mark.parametrize("secrets", [(), ("",), ("  \n",)])
def test_nothing_to_hide(secrets: tuple[str, ...]) -> None:
    scrubber = Scrubber(secrets)
    assert scrubber.scrub("a  \n b") == "a  \n b" and not scrubber.finds("a")
    assert "hunter2hunter2" not in repr(Scrubber(("hunter2hunter2",)))
