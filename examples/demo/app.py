"""A small web application that shows what sessions do, on your own data.

Sign in and out, leave notes, see what your cookie holds, and move between the backends whose
servers answer::

    python examples/demo/app.py

then open http://127.0.0.1:8080. These variables are read:

* PORT and SECRET_KEY;
* MEMCACHED, the memcached server, by default ``127.0.0.1:11211``;
* DATASTORE_EMULATOR_HOST for the Datastore emulator, or GOOGLE_CLOUD_PROJECT for Datastore.

The handlers are here; `probes` finds out which servers answer, `cookie_view` takes cookies
apart, the pages are in ``templates/``.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cookie_view
import jinja2
import probes
import waitress
import webapp2

from webapp2_sessions import sessions
from webapp2_sessions.errors import BackendError

HERE = Path(__file__).parent
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True)

#: Backend keyword and what people call it.
BACKENDS = {
    "securecookie": "Signed cookie",
    "memcache": "memcached",
    "datastore": "Datastore",
}

#: Everybody's password. The page says so: this shows sessions, not accounts.
PASSWORD = "demo"

# With these even the longest input fits in a cookie, where JSON and base64 can make sixteen
# bytes of one character.
MAX_NAME = 30
MAX_NOTE = 50
MAX_NOTES = 3

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def new_token() -> str:
    """Random text that nobody guesses."""
    return secrets.token_urlsafe(16)


def equal(given: str, expected: str) -> bool:
    """Compare in a time that does not tell how much of it was right."""
    return hmac.compare_digest(given.encode(), expected.encode())


class BaseHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    """Sessions, pages, and the two things that can go wrong with every request."""

    def dispatch(self) -> Any:
        self.session_store: sessions.SessionStore = sessions.get_store(request=self.request)
        self.response.headers.update(HEADERS)
        try:
            try:
                if self.request.method == "POST" and not self.has_csrf_token():
                    return self.refuse()
                return super().dispatch()
            finally:
                self.session_store.save_sessions(self.response)
        except BackendError as error:
            # Reading or saving: the server that holds the visitor's session has gone.
            logging.getLogger(__name__).warning("%s", error)
            return self.unavailable()

    @cached_property
    def settings(self) -> sessions.SessionDict:
        """A small session of its own: the chosen backend, and the token that forms send back.

        It is always a cookie, so it is there when the visitor's session cannot be reached. It
        is opened, and so saved, before that one.
        """
        settings = self.session_store.get_session(name="demo")
        if "csrf" not in settings:
            settings["csrf"] = new_token()
        return settings

    @property
    def backend(self) -> str:
        """The backend that the visitor chose."""
        chosen = self.settings.get("backend")
        return chosen if chosen in BACKENDS else "securecookie"

    @property
    def session(self) -> sessions.SessionDict:
        """The visitor's session in the chosen backend."""
        return self.session_in(self.backend)

    def session_in(self, backend: str) -> sessions.SessionDict:
        """The session in `backend`.

        Each has a cookie of its own: within a request the first backend of a name wins.
        """
        return self.session_store.get_session(name=f"session_{backend}", backend=backend)

    def has_csrf_token(self) -> bool:
        """Whether the form came from one of our pages, as other sites cannot read the token."""
        return equal(self.request.POST.get("csrf", ""), self.settings["csrf"])

    def render(self, template: str, **values: Any) -> None:
        """Answer with a page."""
        page = TEMPLATES.get_template(template)
        self.response.write(page.render(csrf=self.settings["csrf"], **values))

    def refuse(self) -> None:
        """A form without the right token changes nothing."""
        self.response.status = 403
        self.render("refused.html")

    def unavailable(self) -> None:
        """Offer a way out when the server with the visitor's session does not answer."""
        self.response.clear()
        self.response.headers.pop("Location", None)
        self.response.status = 503
        self.render("unavailable.html", backend=BACKENDS[self.backend])

    def back(self, message: str, level: str = "success") -> Any:
        """Send the visitor back to the page, where the message is shown once."""
        self.session.add_flash(message, level=level)
        return self.redirect("/", code=303)


class PageHandler(BaseHandler):
    def get(self) -> None:
        self.session["visits"] = self.session.get("visits", 0) + 1
        flashes = self.session.get_flashes()
        self.render(
            "page.html",
            session=self.session,
            flashes=flashes,
            backend=self.backend,
            backends=BACKENDS,
            answers={name: probe() for name, probe in self.app.registry["probes"].items()},
            data=json.dumps(self.session, indent=2, ensure_ascii=False),
            cookie=self.sent_cookie(),
            limits={"name": MAX_NAME, "note": MAX_NOTE, "notes": MAX_NOTES},
            password=PASSWORD,
        )

    def sent_cookie(self) -> cookie_view.CookieView | None:
        """The session cookie that came with this request, if its signature is right."""
        name = f"session_{self.backend}"
        if self.session_store.get_secure_cookie(name) is None:
            return None
        return cookie_view.view(name, self.request.cookies[name])


class SignInHandler(BaseHandler):
    def post(self) -> Any:
        name = self.request.POST.get("name", "").strip()[:MAX_NAME]
        password = self.request.POST.get("password", "")
        if not name or not equal(password, PASSWORD):
            return self.back(f"Any name will do, and the password is “{PASSWORD}”.", "error")
        self.session["name"] = name
        # A new id for a server-side session: with the old one, which somebody may have planted
        # in this browser before, nobody gets to what is signed in now.
        container = self.session.container
        if isinstance(container, sessions.CustomBackendSessionFactory):
            container.sid = container._get_new_sid()
        return self.back(f"Welcome, {name}!")


class SignOutHandler(BaseHandler):
    def post(self) -> Any:
        # Everything goes, not only the name: the next person at this browser is a stranger.
        self.session.clear()
        self.settings["csrf"] = new_token()
        return self.back("You are signed out, and your session is empty.", "info")


class NoteHandler(BaseHandler):
    def post(self) -> Any:
        note = self.request.POST.get("note", "").strip()[:MAX_NOTE]
        if not note:
            return self.back("That note was empty.", "error")
        # A new list: the session would not notice a change inside of the old one.
        self.session["notes"] = [*self.session.get("notes", []), note][-MAX_NOTES:]
        return self.back("Noted.")


class BackendHandler(BaseHandler):
    def post(self) -> Any:
        chosen = self.request.POST.get("backend", "")
        if chosen not in BACKENDS:
            self.abort(400)
        answer = self.app.registry["probes"][chosen]()
        if not answer.usable:
            return self.back(answer.reason, "error")
        # The server may go just now, so that this or saving it fails: see unavailable().
        message = f"{BACKENDS[chosen]}: your session is kept here now."
        self.session_in(chosen).add_flash(message, level="success")
        self.settings["backend"] = chosen
        return self.redirect("/", code=303)


class StyleHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    """The style sheet. It opens no session, so it can be cached for all."""

    def get(self) -> None:
        self.response.content_type = "text/css"
        self.response.body = (HERE / "style.css").read_bytes()
        self.response.cache_control = "public, max-age=60"
        self.response.md5_etag()
        self.response.conditional_response = True


def make_app(
    secret_key: str,
    memcached: str = "127.0.0.1:11211",
    project: str | None = None,
    probe_seconds: float = 3.0,
) -> webapp2.WSGIApplication:
    """The WSGI application.

    Args:
        secret_key: signs the cookies.
        memcached: the memcached server, as ``host:port``.
        project: the Google Cloud project; the emulator takes any, so it may be None there.
        probe_seconds: how long the answer of a probe is used again.
    """
    config = {
        "webapp2_extras.sessions": {
            "secret_key": secret_key,
            # With HTTPS add "secure": True.
            "cookie_args": {"httponly": True, "samesite": "Lax"},
            "memcache": {"servers": [memcached]},
            "datastore": {"project": project or "demo", "timeout": 2.0},
        }
    }
    app = webapp2.WSGIApplication(
        [
            ("/", PageHandler),
            ("/sign-in", SignInHandler),
            ("/sign-out", SignOutHandler),
            ("/note", NoteHandler),
            ("/backend", BackendHandler),
            ("/style.css", StyleHandler),
        ],
        config=config,
    )
    app.registry["probes"] = {
        "securecookie": probes.securecookie,
        "memcache": probes.Remembered(partial(probes.memcached, memcached), probe_seconds),
        "datastore": probes.Remembered(partial(probes.datastore, project), probe_seconds),
    }
    return app


if __name__ == "__main__":
    app = make_app(
        # A key made at start is good for a demonstration only: with the next start, or in a
        # second process, there is another one, and all sessions signed with the first are void.
        os.environ.get("SECRET_KEY") or secrets.token_hex(32),
        memcached=os.environ.get("MEMCACHED", "127.0.0.1:11211"),
        project=os.environ.get("GOOGLE_CLOUD_PROJECT"),
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
