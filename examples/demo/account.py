"""The account: where somebody is signed in, signing out there, and another password."""

from __future__ import annotations

import time

from base import BaseHandler, FormHandler
from passwords import LONGEST, SHORTEST
from stores import REVOKER
from words import ago, utc

from webapp2_sessions.users import UserSession


class AccountHandler(BaseHandler):
    def get(self) -> None:
        self.show(
            "account.html",
            sessions=self.listed(),
            revokes=self.revokes,
            revoker=self.places[REVOKER].probe(),
            longest=LONGEST,
            shortest=SHORTEST,
            ago=lambda moment: ago(time.time() - moment.timestamp()),
            utc=lambda moment: utc(moment.timestamp()),
        )

    def listed(self) -> list[UserSession]:
        """The visitor's sessions in this place, the present one first; none if it cannot tell."""
        if not (self.visitor and self.place.lists):
            return []
        found = self.account.user_sessions(name=self.place.cookie)
        return sorted(found, key=lambda each: not each.is_current)


class AccountFormHandler(FormHandler):
    """A form of the account, which needs somebody who is signed in."""

    page = "/account"

    def act(self) -> None:
        visitor = self.visitor
        if visitor:
            self.act_for(visitor)
        else:
            self.tell("You are not signed in any more.", "error")

    def act_for(self, name: str) -> None:
        """Do it for the visitor."""
        raise NotImplementedError

    def signed_out(self, message: str) -> None:
        """Say so on the first page, whose forms have another token now."""
        self.settings.new_csrf_token()
        self.page = "/"
        self.tell(message, "info")


class EndHandler(AccountFormHandler):
    """Sign out in one other browser."""

    def act_for(self, name: str) -> None:
        if not self.place.lists:
            self.abort(400)
        # The handle is no secret: nobody ends the session of somebody else with it.
        ended = self.account.end_user_sessions(handle=self.text("handle"), name=self.place.cookie)
        if self.visitor is None:
            self.signed_out("It was this session: you are signed out.")
        elif ended:
            self.tell("You are signed out there.")
        else:
            self.tell("That session had ended already.", "info")


class EndAllHandler(AccountFormHandler):
    """Sign out in all browsers, or in all but this one."""

    def act_for(self, name: str) -> None:
        if not (self.place.lists or self.revokes):
            return self.tell("Nothing is there that could end your other sessions.", "error")
        if self.text("keep") == "this":
            self.account.end_user_sessions(keep=True, name=self.place.cookie)
            return self.tell(f"You are signed out everywhere else{self.how_far()}.")
        self.account.end_user_sessions(name=self.place.cookie)
        return self.signed_out(f"You are signed out everywhere{self.how_far()}.")

    def how_far(self) -> str:
        """Where "everywhere" ends if nothing revokes."""
        return "" if self.revokes else f" in {self.place.title}"


class PasswordHandler(AccountFormHandler):
    """Take another password. All other sessions end, which hold a seal of the former one."""

    def act_for(self, name: str) -> None:
        new = self.text("new", LONGEST)
        if not self.passwords.fits(name, self.text("present", LONGEST)):
            return self.tell("That is not your present password.", "error")
        if len(new) < SHORTEST:
            return self.tell(f"A password has {SHORTEST} characters at least.", "error")
        self.passwords.change(name, new)
        # With its new id this session stays. So does the age of somebody who is remembered.
        remembered = self.session.container.own_max_age
        self.session.regenerate_id()
        self.session.set_max_age(remembered)
        self.settings.new_csrf_token()
        return self.tell("Your password is another one now, and all your other sessions are over.")
