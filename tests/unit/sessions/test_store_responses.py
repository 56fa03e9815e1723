"""What a store puts on a response: Vary, and a warning when the cookies are too much together."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import webapp2
from support.stores import NOW, make_request, make_store, sign, sign_payload
from support.visits import make_app

from webapp2_sessions import CustomBackendSessionFactory, SessionDict, SessionStore


def saved(store: SessionStore) -> webapp2.Response:
    """The response to which all sessions were saved."""
    response = webapp2.Response()
    store.save_sessions(response)
    return response


def test_page_that_reads_a_secure_cookie_varies() -> None:
    """It depends on the visitor's cookies, as one that opens a session does."""
    store = make_store(f"other={sign('other', {'a': 1})}")
    assert store.get_secure_cookie("other") == {"a": 1}
    assert saved(store).headers.get("Vary") == "Cookie"


def test_page_that_reads_no_cookie_does_not_vary() -> None:
    """A cache may hand it to anybody."""
    assert "Vary" not in saved(make_store(f"other={sign('other', {'a': 1})}")).headers


def test_page_that_expires_a_damaged_cookie_varies() -> None:
    """Only those who sent the cookie are told to forget it."""
    store = make_store("session=damaged", on_damaged_cookie="expire")
    store.get_secure_cookie("session")
    response = saved(store)
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert response.headers["Vary"] == "Cookie"


def test_vary_can_be_switched_off() -> None:
    """For all of these."""
    store = make_store("session=damaged", vary=False, on_damaged_cookie="expire")
    store.get_secure_cookie("session")
    store.get_session("other")["a"] = 1
    assert "Vary" not in saved(store).headers


@pytest.mark.parametrize("end", ["save", "destroy"])
def test_session_that_is_saved_by_its_container(end: str) -> None:
    """As libraries do, past ``save_sessions()``."""
    store = make_store(f"session={sign('session', {'a': 1})}")
    session = store.get_session()
    session["b"] = 1
    if end == "destroy":
        session.destroy()
    response = webapp2.Response()
    session.container.save_session(response)
    assert response.headers["Vary"] == "Cookie"


def test_session_of_an_own_backend_that_is_saved_by_its_container() -> None:
    """It sets its cookie by the store, as backends for upstream do."""

    class Factory(CustomBackendSessionFactory):
        def _get_by_sid(self, sid: Any) -> SessionDict:
            self.sid = self._get_new_sid()
            return SessionDict(self, new=True)

        def save_session(self, response: Any) -> None:
            self.session_store.save_secure_cookie(
                response, self.name, {"_sid": self.sid}, **self.session_args
            )

    session = make_store(backends={"mine": Factory}).get_session(backend="mine")
    response = webapp2.Response()
    session.container.save_session(response)
    assert response.headers["Vary"] == "Cookie"


def test_secure_cookie_that_is_no_session_does_not_make_a_page_vary() -> None:
    """As upstream: who gets the cookie does not depend on cookies."""
    store, response = make_store(), webapp2.Response()
    store.save_secure_cookie(response, "other", {"a": 1})
    assert "Vary" not in response.headers


def test_sessions_that_are_too_large_together(caplog: pytest.LogCaptureFixture) -> None:
    """Each fits into its cookie, and servers refuse the header with all of them."""
    store = make_store()
    for number, size in enumerate((2600, 2500, 2400)):
        store.get_session(f"shop{number}")["items"] = "x" * size
    with caplog.at_level(logging.WARNING):
        saved(store)
    [record] = caplog.records
    assert "The cookies of this visitor have 10" in record.message
    assert "'shop0' (" in record.message
    assert "xx" not in record.message


def test_cookies_that_came_count_too(caplog: pytest.LogCaptureFixture) -> None:
    """They will come again with the next request; those that are replaced do not."""
    big = "x" * 3900
    header = f"theme={big}; session={'y' * 3500}"
    for name, warnings in (("session", 0), ("shop", 1)):
        store = SessionStore(make_request(make_app(), header))
        store.get_session(name)["items"] = "z" * 2800
        with caplog.at_level(logging.WARNING, "webapp2_sessions.sessions.signed_cookies"):
            caplog.clear()
            saved(store)
        mine = [each for each in caplog.records if each.name.endswith("sessions.signed_cookies")]
        assert len(mine) == warnings


def test_time_that_no_clock_shows_is_no_time() -> None:
    """A signed one of 400 digits neither raises nor makes a cookie the newest."""
    huge = sign_payload("session", b"eyJhIjoxfQ==", b"9" * 400)
    good = sign("session", {"a": 2}, NOW)
    for header in (f"session={huge}; session={good}", f"session={good}; session={huge}"):
        store = make_store(header, refresh_after=60)
        assert store.get_session() == {"a": 2}
        saved(store)
    store = make_store(f"session={huge}", refresh_after=60, absolute_max_age=60)
    assert store.get_session() == {"a": 1}
    saved(store)
