"""Signing in with a new session id, being remembered, and signing out with nothing left."""

from __future__ import annotations

from base import FormHandler
from passwords import FIRST, LONGEST
from words import browser_in

#: Characters of a name; even the longest one leaves room in a cookie.
MAX_NAME = 30

#: For how long a visitor is remembered who asks for it.
REMEMBERED_SECONDS = 30 * 24 * 3600


class SignInHandler(FormHandler):
    def get(self) -> None:
        self.show("sign_in.html", password=FIRST, max_name=MAX_NAME)

    def act(self) -> None:
        name = self.text("name", MAX_NAME)
        if not name or not self.passwords.fits(name, self.text("password", LONGEST)):
            self.tell(f"Any name will do, with “{FIRST}” until it is changed.", "error")
            self.page = "/sign-in"
            return
        # The cart stays, and the id does not: one that somebody else has planted in this browser
        # leads nowhere now.
        self.session.regenerate_id()
        self.settings.new_csrf_token()
        self.session["name"] = name
        # For the page of the account; where sessions are not listed it is not kept.
        self.session.set_label(browser_in(self.request.headers.get("User-Agent", "")))
        remember = self.text("remember") == "yes"
        self.session.set_max_age(REMEMBERED_SECONDS if remember else None)
        self.tell(f"Welcome, {name}!")
        if remember:
            self.tell("You are remembered for 30 days, also when the browser is closed.", "info")


class LeaveHandler(FormHandler):
    """Forget the session's cookie, where the session itself cannot be opened to end it."""

    def act(self) -> None:
        self.response.delete_cookie(self.place.cookie, path="/")
        self.settings.new_csrf_token()


class SignOutHandler(FormHandler):
    # POST, because a link may be followed by anybody: a crawler, a preview, a prefetch.
    def act(self) -> None:
        # All of it ends, not only the name: the next person at this browser is a stranger.
        self.session.destroy()
        self.settings.new_csrf_token()
        left = "nothing of your session is left" if self.place.on_server else "the cookie is gone"
        self.tell(f"You are signed out, and {left}.", "info")
