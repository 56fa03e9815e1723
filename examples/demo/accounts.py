"""Signing in with a new session id, being remembered, and signing out with nothing left."""

from __future__ import annotations

import forms
from base import FormHandler

#: Everybody's password. The page says so: this shows sessions, not accounts.
PASSWORD = "demo"

#: Characters of a name; even the longest one leaves room in a cookie.
MAX_NAME = 30

#: For how long a visitor is remembered who asks for it.
REMEMBERED_SECONDS = 30 * 24 * 3600


class SignInHandler(FormHandler):
    def get(self) -> None:
        self.show("sign_in.html", password=PASSWORD, max_name=MAX_NAME)

    def act(self) -> None:
        name = self.text("name", MAX_NAME)
        if not name or not forms.equal(self.text("password"), PASSWORD):
            self.tell(f"Any name will do, and the password is “{PASSWORD}”.", "error")
            self.page = "/sign-in"
            return
        # The cart stays, and the id does not: one that somebody else has planted in this browser
        # leads nowhere now.
        self.session.regenerate_id()
        self.settings.new_csrf_token()
        self.session["name"] = name
        remember = self.text("remember") == "yes"
        self.session.set_max_age(REMEMBERED_SECONDS if remember else None)
        self.tell(f"Welcome, {name}!")
        if remember:
            self.tell("You are remembered for 30 days, also when the browser is closed.", "info")


class SignOutHandler(FormHandler):
    # POST, because a link may be followed by anybody: a crawler, a preview, a prefetch.
    def act(self) -> None:
        # All of it ends, not only the name: the next person at this browser is a stranger.
        self.session.destroy()
        self.settings.new_csrf_token()
        left = "nothing of your session is left" if self.place.on_server else "the cookie is gone"
        self.tell(f"You are signed out, and {left}.", "info")
