"""Sessions in several places, side by side: each with a cookie and a counter of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from base import BaseHandler, FormHandler
from places import Place
from probes import Answer

from webapp2_sessions.errors import BackendError


@dataclass(frozen=True)
class Shelf:
    """A place, whether it can be used, and what the visitor's session there holds."""

    place: Place
    answer: Answer
    session: dict[Any, Any]


class BackendsHandler(BaseHandler):
    def get(self) -> None:
        self.show("backends.html", shelves=[self.shelf(each) for each in self.places.values()])

    def shelf(self, place: Place) -> Shelf:
        """Look into a place, if that can be done."""
        answer = place.probe()
        if not answer.usable:
            return Shelf(place, answer, {})
        try:
            return Shelf(place, answer, self.session_in(place))
        except BackendError as error:  # its server has gone just now, or Redis for what it revokes
            missing = self.missing_for(error, place)
            return Shelf(place, Answer(False, f"{missing.title} does not answer any more."), {})


class PlaceHandler(FormHandler):
    """A button that belongs to a place."""

    page = "/backends"

    def act(self) -> None:
        place = self.places.get(self.text("place"))
        if place is None:
            self.abort(400)
            return
        answer = place.probe()
        if answer.usable:
            self.act_in(place)
        else:
            self.tell(answer.reason, "error")

    def act_in(self, place: Place) -> None:
        """Do it there."""
        raise NotImplementedError


class UseHandler(PlaceHandler):
    """From now on the shop uses the session there; the one that it used stays where it is."""

    def act_in(self, place: Place) -> None:
        self.settings["place"] = place.keyword
        self.tell(f"The shop uses your session in this place now: {place.title}.")


class CountHandler(PlaceHandler):
    """Count up there, whichever session the shop uses."""

    def act_in(self, place: Place) -> None:
        session = self.session_in(place)
        session["count"] = session.get("count", 0) + 1
