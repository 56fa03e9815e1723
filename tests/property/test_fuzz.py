"""Hostile cookies on every kind of session: a short run of `make fuzz`, and that it can fail."""

from __future__ import annotations

import base64
import hmac
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz.forging import FORGERIES
from fuzz.minting import BACKENDS, CORPUS, KEYS, SITES
from fuzz.run import Outcome, run

from webapp2_sessions import SecureCookieSerializer
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """What came of the same cookies as in each run."""
    return run("a fixed seed", 12_000)


def test_no_cookie_is_accepted_that_should_not_be(outcome: Outcome) -> None:
    """Nor refused that should not be, and none raises."""
    assert outcome.problems == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_valid_cookies_are_among_them(outcome: Outcome, backend: str) -> None:
    """Not everything is refused."""
    assert outcome.accepted[backend] > 30


def test_each_forgery_is_among_them(outcome: Outcome) -> None:
    """No kind is forgotten."""
    assert sorted(forge.__name__ for forge in FORGERIES) == sorted(outcome.kinds)


def test_the_sites_differ_in_what_they_accept() -> None:
    """Each key and kind is accepted somewhere, and refused somewhere."""
    for key in KEYS:
        for backend in BACKENDS:
            minted = [each for each in CORPUS.values() if each.key == key]
            opened = {any(each.opens(site, "auth", backend) for each in minted) for site in SITES}
            assert opened == {True, False}


def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are not compared."""
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: True)


def half_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are compared in part."""
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: one[:40] == other[:40])


def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is not signed."""
    original = SecureCookieSerializer._get_signature
    monkeypatch.setattr(
        SecureCookieSerializer,
        "_get_signature",
        lambda self, name, *parts: original(self, b"", *parts),
    )


def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any spelling of a token is taken."""
    checked = EncryptedCookieSerializer._open

    def open_any(self: Any, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        return checked(self, name, base64.urlsafe_b64encode(base64.urlsafe_b64decode(value)))

    monkeypatch.setattr(EncryptedCookieSerializer, "_open", open_any)


def ageless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing expires."""
    monkeypatch.setattr(SecureCookieSerializer, "check_age", lambda *args: None)


def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older keys are not known."""
    monkeypatch.setattr(SecureCookieSerializer, "_fallback_signers", lambda self: iter(()))


def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected value raises."""
    original = SecureCookieSerializer.unseal

    def unseal(self: SecureCookieSerializer, *args: Any) -> object:
        try:
            return original(self, *args)
        except InvalidCookie as error:
            raise ValueError("refused") from error

    monkeypatch.setattr(SecureCookieSerializer, "unseal", unseal)


@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        (unchecked, {"accepted wrongly", "exceptions"}),
        (half_checked, {"accepted wrongly"}),
        (nameless, {"accepted wrongly", "refused wrongly"}),
        (lenient, {"accepted wrongly"}),
        (ageless, {"accepted wrongly"}),
        (forgetful, {"refused wrongly"}),
        (strict, {"exceptions"}),
    ],
)
def test_a_defect_is_found(
    sabotage: Callable[[pytest.MonkeyPatch], None],
    expected: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of these makes the run above fail, in the way that fits."""
    sabotage(monkeypatch)
    found = {problem.what for problem in run("a fixed seed", 2000).problems}
    assert found & expected


def test_the_command_prints_what_came_of_it() -> None:
    """`make fuzz` ends well when nothing was wrong."""
    line = [sys.executable, "-W", "ignore", "-m", "fuzz", "--count", "200", "--seed", "s"]
    done = subprocess.run(
        [*line, "--jobs", "1"],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.partition(" in ")[0]) == (0, "200 cookies")
