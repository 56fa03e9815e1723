"""Opening sessions by forged cookies, and comparing what is found with what may be found."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import webapp2
from support.implementations import Clock, stopped_clock

from fuzz.forging import FORGERIES, make_header
from fuzz.minting import BACKENDS, NOW, RECORDS, SITES, Site, expected
from webapp2_sessions import SessionStore, StoredSessionFactory

__all__ = ["PROBLEMS", "Outcome", "Problem", "run"]

#: What may go wrong.
PROBLEMS = ("accepted wrongly", "refused wrongly", "exceptions")


class RecordsFactory(StoredSessionFactory):
    """A server-side backend, of which the id cookies are tried."""

    def _read(self, sid: str) -> dict[str, Any] | None:
        return copy.deepcopy(RECORDS.get(sid))

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        return sid in RECORDS


class Problem(NamedTuple):
    """Something that went wrong with a cookie."""

    what: str
    backend: str
    forgery: str
    header: str
    detail: str = ""


@dataclass
class Outcome:
    """What came of a number of cookies."""

    #: How often each backend was asked.
    opened: Counter[str] = field(default_factory=Counter)
    #: How often each backend rightly found a session.
    accepted: Counter[str] = field(default_factory=Counter)
    #: How many cookies of each kind there were.
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Add what came of others."""
        self.opened += other.opened
        self.accepted += other.accepted
        self.kinds += other.kinds
        self.problems += other.problems

    def count(self, what: str, backend: str) -> int:
        """How often something went wrong with a backend."""
        return sum(each[:2] == (what, backend) for each in self.problems)


def run(seed: str, count: int) -> Outcome:
    """Try so many cookies on each backend; the same seed gives the same cookies."""
    rng, outcome = Random(seed), Outcome()
    apps = [(site, _app(site)) for site in SITES]
    logger = logging.getLogger("webapp2_sessions")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # each refusal is a warning
    try:
        with stopped_clock(Clock(float(NOW))):
            for _ in range(count):
                forge = rng.choice(FORGERIES)
                outcome.kinds[forge.__name__] += 1
                name, header = make_header(rng, forge)
                site, app = rng.choice(apps)
                for backend in BACKENDS:
                    right = expected(header, site, name, backend)
                    what, detail = _try(app, name, header, backend, right)
                    outcome.opened[backend] += 1
                    outcome.accepted[backend] += what is None and right is not None
                    if what is not None:
                        problem = Problem(what, backend, forge.__name__, header, detail)
                        outcome.problems.append(problem)
    finally:
        logger.setLevel(level)
    return outcome


def _app(site: Site) -> webapp2.WSGIApplication:
    config = {**site.config, "backends": {"stored": RecordsFactory}, "refresh_after": 1800}
    return webapp2.WSGIApplication(config={"webapp2_extras.sessions": config})


def _try(
    app: webapp2.WSGIApplication,
    name: str,
    header: str,
    backend: str,
    right: dict[str, Any] | None,
) -> tuple[str | None, str]:
    """Open a session and save it; returns what went wrong, and more about it."""
    request = webapp2.Request({"REQUEST_METHOD": "GET", "HTTP_COOKIE": header})
    request.app = app
    try:
        store = SessionStore(request)
        session = store.get_session(name, backend=backend)
        found = None if session.new else dict(session)
        if found is not None:
            store.save_sessions(webapp2.Response())  # by which an older cookie is renewed
    except Exception as error:
        return "exceptions", repr(error)
    if found == right:
        return None, ""
    return ("refused wrongly" if found is None else "accepted wrongly"), repr((found, right))
