"""What all handlers have in common: the sessions, pages, and what can go wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import forms
import jinja2
from passwords import Passwords
from places import DEFAULT, Place
from stores import Store, look_for_revoker
from words import duration

from webapp2_sessions import SessionDict, SessionHandler, SessionStore, get_store
from webapp2_sessions.errors import BackendError, MissingDependency

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
)
TEMPLATES.filters["duration"] = duration

#: Name of the small session that is always a cookie.
SETTINGS = "settings"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # The pages show a visitor's own session: no cache is to keep them, nor the Back button.
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class BaseHandler(SessionHandler):
    """A page. It has two sessions: the visitor's, in the chosen place, and the settings."""

    def dispatch(self) -> Any:
        self.response.headers.update(HEADERS)
        look_for_revoker(self.app, self.places)
        try:
            return super().dispatch()
        except (BackendError, MissingDependency) as error:
            # Reading or saving: a server has gone that the visitor's session needs.
            logging.getLogger(__name__).warning("%s", error)
            return self.unavailable(self.missing_for(error, self.place))

    @property
    def session_store(self) -> Store:
        """The stores of the request."""
        return get_store(Store, request=self.request)

    @property
    def places(self) -> dict[str, Place]:
        """Where sessions can be, by the backend's keyword."""
        places: dict[str, Place] = self.app.registry["places"]
        return places

    @property
    def passwords(self) -> Passwords:
        """The passwords of all visitors."""
        passwords: Passwords = self.app.registry["passwords"]
        return passwords

    @property
    def settings(self) -> SessionDict:
        """The chosen place, the messages, and the token that forms send back.

        It is a cookie, so it is there when the visitor's session cannot be reached, and is still
        there after that has ended.
        """
        return self.get_session(name=SETTINGS, backend=DEFAULT)

    @property
    def place(self) -> Place:
        """Where the visitor's session is."""
        return self.places.get(self.settings.get("place", ""), self.places[DEFAULT])

    @property
    def session(self) -> SessionDict:
        """The visitor's session."""
        return self.session_in(self.place)

    def session_in(self, place: Place) -> SessionDict:
        """The session in a place.

        Each has a cookie of its own: within a request the first backend of a name wins.
        """
        return self.session_store.of(place).get_session(place.cookie, backend=place.keyword)

    @property
    def visitor(self) -> str | None:
        """Who is signed in."""
        return self.session.get("name")

    @property
    def account(self) -> SessionStore:
        """The store that ends the visitor's sessions, with the present one open in it."""
        return self.session.container.session_store  # type: ignore[no-any-return]

    @property
    def revokes(self) -> bool:
        """Whether sessions can be ended that no place lists."""
        return self.session_store.config.get("revocation") is not None

    def show(self, template: str, **values: Any) -> None:
        """Answer with a page, on which the messages are shown once."""
        self.render(
            template,
            visitor=self.visitor,
            in_cart=sum(self.session.get("cart", {}).values()),
            flashes=self.settings.get_flashes(),
            **values,
        )

    def render(self, template: str, **values: Any) -> None:
        """Answer with a page that needs no visitor's session."""
        page = TEMPLATES.get_template(template)
        token = self.settings.get_csrf_token()
        html = page.render(csrf=token, place=self.place, path=self.request.path, **values)
        self.response.write(html)

    def missing_for(self, error: Exception, place: Place) -> Place:
        """The place whose server has failed: it may be the one that knows of revoked sessions."""
        return self.places.get(getattr(error, "backend", ""), place)

    def unavailable(self, missing: Place) -> None:
        """Offer a way out when a server does not answer that the visitor's session needs."""
        self.response.clear()
        for header in ("Location", "Set-Cookie"):  # of what was not done after all
            if header in self.response.headers:
                del self.response.headers[header]
        self.response.status = 503
        self.render("unavailable.html", missing=missing, answer=missing.probe())
        self.settings.container.save_session(self.response)


class FormHandler(BaseHandler):
    """What a form does, if it came from the demo itself; afterwards the browser is sent to a page.

    So nothing is sent twice when that page is loaded again.
    """

    #: Where to go afterwards.
    page = "/"

    def post(self) -> Any:
        if not forms.has_token(self.request, self.settings):
            self.response.status = 403
            return self.render("refused.html")
        self.act()
        return self.redirect(self.page, code=303)

    def act(self) -> None:
        """Do what the form is for."""
        raise NotImplementedError

    def tell(self, message: str, level: str = "success") -> None:
        """Leave a message for the next page."""
        self.settings.add_flash(message, level=level)

    def text(self, field: str, length: int = 100) -> str:
        """What was typed into a field."""
        return forms.text_in(self.request, field, length)
