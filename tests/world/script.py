"""What a handler does with a session, on the real one and on a draft of what it ought to hold."""

from __future__ import annotations

import copy
import json
from typing import Any

__all__ = ["DEEDS", "NUMBERS", "OURS", "STEPS", "WHO", "Draft", "Step", "normal"]

#: A value that fits no cookie.
BIG = "x" * 6000

#: Ages in seconds that a session may give itself.
AGES = (900, 100_000, None)

#: Numbers that are equal for Python, and not the same where they are stored.
NUMBERS = (0, 0.0, -0.0)

#: Names that the package once took for its own.
OURS = ("__max_age__", "__began__", "__spilled__", "_sid")

#: The key of a session that tells who is signed in.
WHO = "who"

Step = tuple[Any, ...]

#: What a step may be, by its name: how it is told in a story.
STEPS = {
    "set": "sets a key",
    "same": "assigns a key's value again",
    "inner": "changes the inside of a value",
    "mark": "marks the session as changed",
    "delete": "deletes a key",
    "clear": "clears the session",
    "flash": "adds a flash message",
    "flash_same": "adds the same flash message as others",
    "flashes": "shows the flash messages",
    "sign_in": "signs in",
    "renew": "renews the id",
    "sign_out": "signs out",
    "number": "stores a number",
    "max_age": "sets an age of its own",
    "grow": "stores a value that fits no cookie",
    "shrink": "removes the large value",
    "named": "stores a value of a class that later versions lack",
    "enter": "lets a user sign in",
    "leave": "lets the user sign out",
    "label": "calls the session something",
    "list": "lists the user's sessions",
    "end_all": "signs the user out everywhere",
    "end_others": "signs the user out everywhere else",
    "end_one": "ends one of the user's sessions",
    "password": "changes the user's password",
}

#: Steps that are about the sessions of a user, and not about what the session holds.
DEEDS = ("list", "end_all", "end_others", "end_one", "password")


def normal(data: Any) -> Any:
    """Return data as JSON gives it back, so that it can be compared wherever it was stored.

    Numbers become text, which tells those apart that are equal.
    """
    return json.loads(json.dumps(data), parse_int=str, parse_float=str)


class Draft:
    """A session as it ought to be during a request, by what the documentation says.

    :param data: what was opened.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.base = copy.deepcopy(data)
        self.data = copy.deepcopy(data)
        self.modified = False
        #: Whether it is written even if its data is as before.
        self.forced = False
        self.regenerates = False
        self.destroyed = False
        self.assigned: set[str] = set()
        self.max_age: int | None = None
        self.sets_max_age = False
        #: Who is signed in, as far as is followed, and whether by this request.
        self.user: str | None = self.data.get(WHO)
        self.signs_in = False
        #: In Unix milliseconds: as if the user had signed in no sooner.
        self.earliest = 0
        self.label: str | None = None
        self.sets_label = False

    def do(self, step: Step, token: str) -> None:
        """Do a step; `token` is a value that nobody else uses."""
        getattr(self, f"_{step[0]}")(token, *step[1:])

    def _touch(self, *keys: str) -> None:
        self.assigned.update(keys)
        self.modified = True

    def _set(self, token: str, key: str) -> None:
        self.data[key] = token
        self._touch(key)

    def _same(self, token: str, key: str) -> None:
        if key in self.data:
            self._touch(key)

    def _inner(self, token: str) -> None:
        if "list" in self.data:
            self.data["list"].append(token)
        else:
            self.data["list"] = [token]
            self._touch("list")

    def _mark(self, token: str) -> None:
        self.modified = self.forced = True

    def _number(self, token: str, number: float) -> None:
        self.data["number"] = normal(number)
        self._touch("number")

    def _delete(self, token: str, key: str) -> None:
        if self.data.pop(key, None) is not None:
            self._touch(key)

    def _clear(self, token: str) -> None:
        self._touch(*self.data)
        self.data.clear()

    def _flash(self, token: str) -> None:
        self.data.setdefault("_flash", []).append([token, None])
        self._touch("_flash")

    def _flash_same(self, token: str) -> None:
        self._flash("same")

    def _flashes(self, token: str) -> None:
        if self.data.pop("_flash", None) is not None:
            self._touch("_flash")

    def _renew(self, token: str) -> None:
        self.regenerates = self.modified = self.forced = True
        if not self.sets_max_age:
            self.max_age, self.sets_max_age = None, True

    def _sign_in(self, token: str) -> None:
        self._renew(token)
        self.data["user"] = token
        self._touch("user")

    def _sign_out(self, token: str) -> None:
        self.assigned.update(self.data)
        self.data.clear()
        self.destroyed = True
        self.modified = self.forced = self.regenerates = self.signs_in = self.sets_label = False
        self.user, self.label = None, None
        self.max_age, self.sets_max_age = None, True

    def _max_age(self, token: str, seconds: int | None) -> None:
        self.max_age, self.sets_max_age = seconds, True
        self.modified = self.forced = True

    def _grow(self, token: str) -> None:
        self.data["big"] = BIG
        self._touch("big")

    def _shrink(self, token: str) -> None:
        if self.data.pop("big", None) is not None:
            self._touch("big")

    def _enter(self, token: str, user: str) -> None:
        self.data[WHO] = user
        self._touch(WHO)

    def _leave(self, token: str) -> None:
        self._delete(token, WHO)

    def _label(self, token: str) -> None:
        self.label, self.sets_label = token, True
        self._mark(token)

    def follow(self) -> None:
        """Do what a save does where the user has changed."""
        before, self.user = self.user, self.data.get(WHO)
        if before == self.user:
            return
        if self.user is not None:
            self.signs_in = True
        if self.destroyed:
            return
        if self.user is not None:
            self._renew("")
        else:
            left = dict(self.data)
            self._sign_out("")
            if left:
                self.data.update(left)
                self._mark("")

    def stay(self) -> None:
        """Stay although the user is signed out everywhere else, with another id."""
        self.follow()
        self.regenerates = True
        self._mark("")

    def _named(self, token: str) -> None:
        self.data["named"] = token
        self._touch("named")


def perform(session: Any, step: Step, token: str) -> None:
    """Do the same step with a real session."""
    name, *args = step
    if name == "set":
        session[args[0]] = token
    elif name == "same":
        if args[0] in session:
            session[args[0]] = session[args[0]]
    elif name == "inner":
        if "list" in session:
            session["list"].append(token)
        else:
            session["list"] = [token]
    elif name == "mark":
        session.mark_changed()
    elif name in ("delete", "shrink"):
        session.pop(args[0] if args else "big", None)
    elif name == "clear":
        session.clear()
    elif name == "flash":
        session.add_flash(token)
    elif name == "flash_same":
        session.add_flash("same")
    elif name == "number":
        session["number"] = args[0]
    elif name == "flashes":
        session.get_flashes()
    elif name in ("sign_in", "renew"):
        session.regenerate_id()
        if name == "sign_in":
            session["user"] = token
    elif name == "sign_out":
        session.destroy()
    elif name == "max_age":
        session.set_max_age(args[0])
    elif name == "named":
        session["named"] = token
    elif name == "grow":
        session["big"] = BIG
    elif name == "enter":
        session[WHO] = args[0]
    elif name == "leave":
        session.pop(WHO, None)
    elif name == "label":
        session.set_label(token)
