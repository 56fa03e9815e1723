"""The inspector: what the browser holds of a session, and what the server does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import cookie_view
from backends import PlaceHandler
from base import SETTINGS, BaseHandler
from cookie_view import CookieView
from places import Place
from record_view import RecordView, record_of
from words import ago, hide_middle, utc

from webapp2_sessions import SessionDict
from webapp2_sessions.errors import BackendError

#: What a cookie is good for, by what became of it.
VERDICTS = {
    "opens": "It opens your session.",
    "settings": "It holds the chosen place, the messages, and the token of the forms.",
    "ended": "It was signed here, and opens nothing: its session has ended.",
    "refused": "It is not accepted: it is too old, or another key has signed it.",
    "unknown": "A server that is needed to open its session does not answer.",
    "foreign": "It is not ours, and we do not read it. Cookies do not tell ports apart.",
}


@dataclass(frozen=True)
class Sight:
    """A cookie, and what it leads to."""

    cookie: CookieView
    title: str
    #: A key of `VERDICTS`.
    state: str
    #: Where its session is; None for cookies that belong to no place.
    place: Place | None = None
    #: The attributes that we set it with.
    flags: tuple[str, ...] = ()
    #: The session's data, as JSON.
    data: str | None = None
    #: The session's id, its middle hidden.
    sid: str | None = None
    record: RecordView | None = None
    #: When the record was written, in Unix seconds.
    written_at: float | None = None

    @property
    def verdict(self) -> str:
        """The state in words."""
        return VERDICTS[self.state]


class InspectorHandler(BaseHandler):
    def get(self) -> None:
        header = self.request.environ.get("HTTP_COOKIE", "")
        sights = [self.sight(cookie_view.view(*pair)) for pair in cookie_view.received(header)]
        mine = self.place.cookie
        # The shop's session first, then those in other places, the settings, and what is not ours.
        sights.sort(key=lambda sight: (sight.cookie.name != mine, sight.place is None, sight.title))
        self.show(
            "inspector.html",
            sights=sights,
            has_session=any(sight.place for sight in sights),
            total=sum(sight.cookie.size for sight in sights),
            utc=utc,
            ago=lambda moment: ago(time.time() - moment),
        )

    def sight(self, cookie: CookieView) -> Sight:
        """Look at one of the cookies that came with the request."""
        if cookie.name == SETTINGS:
            return self.sight_of(cookie, "Settings of this demo", None, self.settings)
        places = {place.cookie: place for place in self.places.values()}
        place = places.get(cookie.name)
        if place is None:
            return Sight(cookie, "Not of this demo", "foreign")
        if not place.probe().usable:
            return Sight(cookie, place.title, "unknown", place)
        try:
            session = self.session_in(place)
        except BackendError:
            return Sight(cookie, place.title, "unknown", place)
        return self.sight_of(cookie, place.title, place, session)

    def sight_of(
        self, cookie: CookieView, title: str, place: Place | None, session: SessionDict
    ) -> Sight:
        """Look at a cookie and the session of its name."""
        if session.new:
            is_signed = self.session_store.get_secure_cookie(cookie.name, max_age=None)
            return Sight(cookie, title, "ended" if is_signed else "refused", place)
        sid = getattr(session.container, "sid", None)
        record = None
        if place and sid:
            record = record_of(place.keyword, sid, **self.app.registry["servers"])
        return Sight(
            cookie,
            title,
            "opens" if place else "settings",
            place,
            flags=tuple(flags_of(session)),
            data=cookie_view.as_json(cookie_view.without_secrets(dict(session))),
            sid=hide_middle(sid) if sid else None,
            record=record,
            # memcached and Redis do not tell; the cookie is signed when the record is written.
            written_at=(record and record.written_at) or cookie.signed_at,
        )


def flags_of(session: SessionDict) -> list[str]:
    """The attributes of a session's cookie; a browser does not send them back."""
    args: dict[str, Any] = session.container.session_args
    flags = ["Path=" + args["path"]]
    if args["httponly"]:
        flags.append("HttpOnly")
    if args["samesite"]:
        flags.append(f"SameSite={args['samesite'].title()}")
    max_age = session.container.own_max_age or args.get("max_age")
    flags.append(f"Max-Age={max_age}" if max_age else "no Max-Age")
    if not args.get("secure"):
        flags.append("no Secure")
    return flags


class RenewHandler(PlaceHandler):
    """Give the session a new id; the data stays."""

    page = "/inspector"

    def act_in(self, place: Place) -> None:
        session = self.session_in(place)
        if session.new:
            return self.tell("There is no session to renew.", "warning")
        session.regenerate_id()
        if place.on_server:
            return self.tell("Your session has a new id. The old one leads nowhere any more.")
        return self.tell("A session in a cookie has no id. It was signed again.")


class DestroyHandler(PlaceHandler):
    """End the session: nothing of it is left where it is stored."""

    page = "/inspector"

    def act_in(self, place: Place) -> None:
        self.session_in(place).destroy()
        if place.on_server:
            return self.tell("The record is deleted, and the cookie too.", "info")
        return self.tell(
            "The cookie is deleted. A copy of it would be good until it is too old: "
            "only a server can end one for good.",
            "info",
        )
