# ruff: noqa: UP004
"""Classes of an application whose sessions Python 2.7 has pickled; both Pythons import them."""

import collections
import datetime


class Words(list):
    """A list of its own."""


class Options(dict):
    """A dictionary of its own."""


class Tags(set):
    """A set of its own."""


class Pair(tuple):
    """A tuple of its own."""


Point = collections.namedtuple("Point", "x y")


class Day(datetime.date):
    """A date of its own."""


class Moment(datetime.datetime):
    """A date and time of its own."""


class Clock(datetime.time):
    """A time of its own."""


class Zone(datetime.tzinfo):
    """One hour before Greenwich."""

    def utcoffset(self, moment):
        return datetime.timedelta(hours=1)

    def dst(self, moment):
        return datetime.timedelta(0)

    def __repr__(self):
        return "Zone()"


class Label(str):
    """A str of its own, which is text on Python 3 in any case."""


try:
    Text = unicode  # type: ignore[name-defined]
except NameError:
    Text = str


class Title(Text):  # type: ignore[misc, valid-type]
    """A text of its own."""


class Note(object):
    """An object with attributes."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted(object):
    """An object with slots, of which one is empty."""

    __slots__ = ("text", "unset")

    def __init__(self, text):
        self.text = text

    def __getstate__(self):  # as by default in protocol 2; Python 2 has no default in others
        return None, {"text": self.text}


class Stateful(object):
    """An object that chooses its state."""

    def __init__(self, state):
        self.state = state

    def __getstate__(self):
        return (self.state, [self.state])

    def __setstate__(self, state):
        self.state, [_] = state


class Reduced(object):
    """An object that says how it is made again."""

    def __init__(self, text, more=None):
        self.text, self.more = text, more

    def __reduce__(self):
        return Reduced, (self.text,), {"more": self.more}


class Old:
    """An object of what was an old-style class."""

    def __init__(self, text):
        self.text = text

    def __getinitargs__(self):
        return (self.text,)


class Older:
    """Another, whose attributes alone are pickled."""

    def __init__(self, text):
        self.text = text
