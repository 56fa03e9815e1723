"""CONTRACT section 4 and what section 5 keeps on purpose: surprises that applications rely on."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import webapp2
from support.implementations import (
    OURS,
    SIDES,
    Side,
    cookie_pair,
    outcome,
    records_factory,
    save,
    set_cookies,
    stopped_clock,
)

pytestmark = pytest.mark.parametrize("side", SIDES, ids=str)


def documented_app(side: Side, handlers: dict[str, Any], **open_with: Any) -> Any:
    """Return an application with the documented dispatch; handlers get ``(self, session)``."""

    class Handler(webapp2.RequestHandler):
        def dispatch(self) -> None:
            self.session_store = side.sessions.get_store(request=self.request)
            try:
                webapp2.RequestHandler.dispatch(self)
            finally:
                self.session_store.save_sessions(self.response)

        def get(self, name: str) -> Any:
            return handlers[name](self, self.session_store.get_session(**open_with))

    app = side.app()
    app.router.add(("/(.*)", Handler))
    return app


def test_nothing_is_written_unless_modified(side: Side) -> None:
    """Opening and reading a session sends no cookie."""
    store = side.store(side.app())
    session = store.get_session()
    assert session.get("a") is None
    assert save(store) == []


def test_saving_twice_writes_twice(side: Side) -> None:
    """``modified`` stays, and so does each Set-Cookie header (b17)."""
    store = side.store(side.app())
    session = store.get_session()
    session["a"] = 1
    response = webapp2.Response()
    with stopped_clock():
        store.save_sessions(response)
        store.save_sessions(response)
    headers = set_cookies(response)
    assert (len(headers), len(set(headers)), session.modified) == (2, 1, True)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), 1j])
def test_value_that_json_refuses_is_a_type_error_of_save(side: Side, value: Any) -> None:
    """It comes out of ``save_session``, and sets no cookie; ours says where the value is."""
    store = side.store(side.app())
    store.get_session()["a"] = value
    response = webapp2.Response()
    with pytest.raises(TypeError) as caught:
        store.save_sessions(response)
    expected = "session['a']" if side is OURS else "is not JSON serializable"
    assert expected in str(caught.value)
    assert set_cookies(response) == []


def test_json_changes_types(side: Side) -> None:
    """From a cookie tuples come back as lists and keys as text (b34)."""
    app = side.app()
    store = side.store(app)
    store.get_session().update({"t": (1, 2), 5: {1: "a", None: "b"}})
    store.get_session().add_flash("m", "info")
    session = side.store(app, cookie_pair(save(store)[0])).get_session()
    assert session == {"t": [1, 2], "5": {"1": "a", "null": "b"}, "_flash": [["m", "info"]]}


def test_nan_and_infinity_are_written_as_python_does(side: Side) -> None:
    """They are no valid JSON, and every Python reads them back (b35)."""
    app = side.app()
    store = side.store(app)
    store.get_session()["inf"] = float("inf")
    assert side.store(app, cookie_pair(save(store)[0])).get_session() == {"inf": float("inf")}


def test_cookie_args_replace_the_defaults(side: Side) -> None:
    """``cookie_args`` of the application are taken as they are, without the default path."""
    store = side.store(side.app(cookie_args={"secure": True}))
    assert store.get_session().container.session_args == {"secure": True}


def test_unknown_keys_are_kept(side: Side) -> None:
    """Applications keep values of their own in the session configuration."""
    assert side.store(side.app(of_my_own=[1])).config["of_my_own"] == [1]


@pytest.mark.parametrize("secret", ["plain", "schlüssel", "\U0001f511", b"\x00\xff bytes"])
def test_secret_may_be_text_or_bytes(side: Side, secret: Any) -> None:
    """A cookie comes back with each; text and its UTF-8 bytes are the same key."""
    app = side.app(secret_key=secret)
    store = side.store(app)
    store.get_session()["a"] = 1
    encoded = secret.encode() if isinstance(secret, str) else secret
    app = side.app(secret_key=encoded)
    assert side.store(app, cookie_pair(save(store)[0])).get_session() == {"a": 1}


@pytest.mark.parametrize("name", [None, "", 0])
def test_falsy_name_is_the_configured_one(side: Side, name: Any) -> None:
    """``get_session(name="")`` is the default session."""
    store = side.store(side.app(cookie_name="own"))
    assert store.get_session(name) is store.get_session("own")


def test_first_backend_of_a_name_wins(side: Side) -> None:
    """A later ``factory`` or ``backend`` for an open session is ignored (b06)."""
    store = side.store(side.app())
    session = store.get_session("a")
    assert store.get_session("a", factory=side.sessions.CustomBackendSessionFactory) is session


def test_unknown_backend_is_a_key_error_even_for_an_open_session(side: Side) -> None:
    """The keyword is looked up on each call."""
    store = side.store(side.app())
    store.get_session()
    with pytest.raises(KeyError):
        store.get_session(backend="missing")


def test_backend_that_cannot_be_imported(side: Side) -> None:
    """It raises webapp2's ImportStringError, as ``webapp2.import_string`` does."""
    store = side.store(side.app(backends={"mine": "no.such.module.Factory"}))
    with pytest.raises(webapp2.ImportStringError):
        store.get_session(backend="mine")


def test_first_max_age_of_a_name_wins(side: Side) -> None:
    """A stricter ``max_age`` after a lax call does not end the session (b07)."""
    with stopped_clock() as clock:
        app = side.app()
        store = side.store(app)
        store.get_session()["a"] = 1
        cookie = cookie_pair(save(store)[0])
        clock.advance(100)
        assert side.store(app, cookie).get_session(max_age=10) == {}
        store = side.store(app, cookie)
        store.get_session()
        assert store.get_session(max_age=10) == {"a": 1}


def test_session_max_age_compares_the_cookies_timestamp(side: Side) -> None:
    """It counts from the last write; ``max_age=None`` switches the check off (b31)."""
    with stopped_clock() as clock:
        app = side.app(session_max_age=10)
        store = side.store(app)
        store.get_session()["a"] = 1
        cookie = cookie_pair(save(store)[0])
        clock.advance(10)
        assert side.store(app, cookie).get_session() == {"a": 1}
        clock.advance(1)
        assert side.store(app, cookie).get_session() == {}
        assert side.store(app, cookie).get_session(max_age=None) == {"a": 1}


def test_timestamp_in_the_future_is_taken(side: Side) -> None:
    """A cookie made under a clock that was ahead is valid (b32)."""
    with stopped_clock() as clock:
        app = side.app(session_max_age=10)
        store = side.store(app)
        store.get_session()["a"] = 1
        cookie = cookie_pair(save(store)[0])
        clock.advance(-1_000_000)
        assert side.store(app, cookie).get_session() == {"a": 1}


def test_changes_inside_values_are_not_seen(side: Side) -> None:
    """``session["cart"].append(1)`` sends no cookie (b09)."""
    app = side.app()
    store = side.store(app)
    store.get_session()["cart"] = []
    store = side.store(app, cookie_pair(save(store)[0]))
    store.get_session()["cart"].append(1)
    assert save(store) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.setdefault("a", 2),
        lambda session: session.update(),
        lambda session: session.update({}),
        lambda session: session.__setitem__("a", 1),
        lambda session: session.clear(),
    ],
)
def test_changes_without_effect_modify(side: Side, change: Any) -> None:
    """Upstream compares nothing, and neither do we (b12)."""
    session = side.sessions.SessionDict(None, {"a": 1})
    change(session)
    assert session.modified is True


def test_flash_on_a_key_that_holds_no_list(side: Side) -> None:
    """It is an AttributeError, after which the session counts as modified (b11)."""
    session = side.sessions.SessionDict(None, {"_flash": "text"})
    assert outcome(session.add_flash, "m")[0] == "AttributeError"
    assert session.modified is True


def test_set_secure_cookie_options_stick(side: Side) -> None:
    """They stay on the session for the rest of the request (b27)."""
    store = side.store(side.app())
    store.set_secure_cookie("own", {"a": 1}, max_age=60)
    store.set_secure_cookie("own", {"b": 2})
    assert "; Max-Age=60; " in save(store)[0]


def test_set_secure_cookie_writes_into_an_open_session(side: Side) -> None:
    """Also where that session is not kept in a cookie (b26)."""

    class Factory(side.sessions.SecureCookieSessionFactory):
        pass

    store = side.store(side.app())
    session = store.get_session("own", factory=Factory)
    store.set_secure_cookie("own", {"a": 1})
    assert session == {"a": 1}


def test_get_secure_cookie_gives_whatever_was_signed(side: Side) -> None:
    """A list that the application signed itself comes back (b56)."""
    app = side.app()
    response = webapp2.Response()
    side.store(app).save_secure_cookie(response, "own", ["x"])
    store = side.store(app, cookie_pair(response.headers["Set-Cookie"]))
    assert store.get_secure_cookie("own") == ["x"]


def test_new_tells_of_the_request_not_of_the_save(side: Side) -> None:
    """It stays True after saving and is False for an emptied session (b46)."""
    app = side.app()
    store = side.store(app)
    session = store.get_session()
    session.clear()
    cookie = cookie_pair(save(store)[0])
    assert session.new is True
    assert side.store(app, cookie).get_session().new is False
    assert side.store(app, "session=forged|1|x").get_session().new is True


def test_attributes_of_any_name_are_taken(side: Side) -> None:
    """A session takes attributes, misspelt ones too (b47)."""
    session = side.sessions.SessionDict(None)
    session.modifed = True
    assert session.__dict__ == {"modifed": True}


def test_default_cookie_has_no_flags(side: Side) -> None:
    """HttpOnly, Secure and SameSite are the application's choice (b54)."""
    store = side.store(side.app())
    store.get_session()["a"] = 1
    assert save(store)[0].partition("; ")[2] == "Path=/"


def test_overwrite_leaves_one_cookie(side: Side) -> None:
    """``cookie_args={"overwrite": True}`` is passed on to WebOb (b64)."""
    store = side.store(side.app(cookie_args={"overwrite": True}))
    store.get_session()["a"] = 1
    response = webapp2.Response()
    store.save_sessions(response)
    store.save_sessions(response)
    assert len(set_cookies(response)) == 1


def test_two_stores_on_one_request_do_not_know_each_other(side: Side) -> None:
    """``SessionStore(request)`` made twice gives two sessions of one name (b62)."""
    app = side.app()
    one = side.store(app)
    two = side.sessions.SessionStore(one.request)
    assert one.get_session() is not two.get_session()


def test_cookies_set_before_an_abort_are_lost(side: Side) -> None:
    """With the documented dispatch the HTTPException's response has no cookie (b13)."""

    def finish_by(finish: Any) -> Any:
        def handler(handler: Any, session: Any) -> None:
            session["a"] = 1
            finish(handler)

        return handler

    ends = {
        "ok": lambda handler: None,
        "redirect": lambda handler: handler.redirect("/"),
        "abort": lambda handler: handler.abort(403),
    }
    app = documented_app(side, {name: finish_by(finish) for name, finish in ends.items()})
    sent = [name for name in ends if set_cookies(app.get_response(f"/{name}"))]
    assert sent == ["ok", "redirect"]


def test_backends_are_imported_when_used(side: Side) -> None:
    """Importing the module brings in no backend's library."""
    code = (
        f"import sys, {side.sessions.__name__}; "
        "print([name for name in ('pymemcache', 'google.cloud.ndb', 'cryptography')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_failed_request_writes_the_stored_session(side: Side) -> None:
    """After abort() the record is there and the cookie is not (b14)."""
    records: dict[str, Any] = {}

    def fail(handler: Any, session: Any) -> None:
        session["a"] = 1
        handler.abort(403)

    app = documented_app(side, {"fail": fail}, factory=records_factory(side, records))
    assert set_cookies(app.get_response("/fail")) == []
    assert list(records.values()) == [{"a": 1}]


def test_value_that_json_refuses_replaces_the_handlers_answer(side: Side) -> None:
    """abort(404) is answered as 500, because saving raises in the finally (b15)."""

    def fail(handler: Any, session: Any) -> None:
        session["a"] = {1}
        handler.abort(404)

    app = documented_app(side, {"fail": fail})
    assert app.get_response("/fail").status_int == 500


def test_clear_sends_an_empty_session_and_the_old_cookie_stays_valid(side: Side) -> None:
    """A cookie session cannot be ended on the server (b28)."""
    app = side.app()
    store = side.store(app)
    store.get_session()["user"] = 1
    old = cookie_pair(save(store)[0])
    store = side.store(app, old)
    store.get_session().clear()
    session = side.store(app, cookie_pair(save(store)[0])).get_session()
    assert (session, session.new) == ({}, False)
    assert side.store(app, old).get_session() == {"user": 1}


def test_id_and_record_stay_when_the_session_is_cleared(side: Side) -> None:
    """Nothing renews the id of a stored session (b29)."""
    records: dict[str, Any] = {}
    app, factory = side.app(), records_factory(side, records)
    store = side.store(app)
    store.get_session(factory=factory)["cart"] = 1
    cookie = cookie_pair(save(store)[0])
    [sid] = records
    store = side.store(app, cookie)
    store.get_session(factory=factory).clear()
    save(store)
    assert records == {sid: {}}


def test_documented_dispatch_drops_a_returned_response(side: Side) -> None:
    """A handler that returns its own response gets an empty 200 (b50)."""
    app = documented_app(side, {"own": lambda handler, session: webapp2.Response("own")})
    response = app.get_response("/own")
    assert (response.status_int, response.body) == (200, b"")


def test_copy_of_a_session(side: Side) -> None:
    """``copy.copy`` shares the container and is modified; ``.copy()`` is a plain dict (b58)."""
    session = side.sessions.SessionDict("container", {"a": 1})
    duplicate = copy.copy(session)
    assert type(duplicate) is side.sessions.SessionDict
    assert (duplicate, duplicate.container, duplicate.modified) == ({"a": 1}, "container", True)
    assert type(session.copy()) is dict


def test_error_handler_with_a_response_of_its_own_loses_the_cookie(side: Side) -> None:
    """The cookies stay only where it writes to the response that it is given (b60)."""

    def fail(handler: Any, session: Any) -> None:
        session["a"] = 1
        handler.abort(404)

    sent = []
    for answer in (
        lambda request, response, error: response.set_status(404),
        lambda request, response, error: webapp2.Response("own", status=404),
    ):
        app = documented_app(side, {"fail": fail})
        app.error_handlers[404] = answer
        sent.append(bool(set_cookies(app.get_response("/fail"))))
    assert sent == [True, False]
