"""How a promise was broken, in words."""

from __future__ import annotations

from typing import Any

from world.explorer import Found
from world.processes import BREAKS, FAILS, REFUSES, version_of
from world.protocol import STALE, STORES, TOMBSTONE


def story(found: Found) -> str:
    """Tell in words how a promise was broken."""
    return "\n".join([*map(_sentence, found.path), f"Then {found.problem}."])


_DEEDS = {
    "get": "asks the cache",
    "gets": "looks what is in the cache",
    "add": "fills the cache with",
    "cas": "replaces what it saw by",
    "set": "puts",
    "send": "sends, and does not wait,",
    "delete": "removes the entry",
    "load": "reads the record",
    "put": "writes the record",
    "erase": "deletes the record",
    "end": "marks the session as ended",
}


def _sentence(step: tuple[Any, ...]) -> str:
    if len(step) < 4:
        return f"{' '.join(step)}."
    name, question, effect, answer = step
    operation = question[0]
    if operation == "is ended":
        return f"{name} asks whether the session was ended: {'yes' if answer is True else 'no'}."
    if operation == "gets" and answer != FAILS:
        answer = answer[0]
    what = f" {_named(question[1])}" if operation in STORES and len(question) > 1 else ""
    told = {True: "", False: ": in vain", FAILS: ": fails", BREAKS: ": fails"}.get(answer)
    if told is None:
        is_told = operation in ("get", "gets", "load", "put")
        told = f": {answer if answer == REFUSES else _named(answer)}" if is_told else ""
    if effect == "arrives":
        return f"Late, {name} {_DEEDS[operation]}{what}{told}."
    return f"{name} {_DEEDS[operation]}{what}{told}{effect and f' ({effect})'}."


def _named(data: bytes | int | None) -> str:
    if data is None:
        return "nothing"
    if isinstance(data, int):
        return f"version {data}"
    return {STALE: "a mark", TOMBSTONE: "a tombstone"}.get(data, f"version {version_of(data)}")
