"""Keys that somebody who guesses would try: published ones, placeholders and patterns."""

from __future__ import annotations

import itertools
import re

__all__ = ["is_pattern", "is_placeholder", "is_published"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Keys of documentation and public programs that are no words, without anything but their letters
#: and digits: of webapp2, of a framework for App Engine, of Flask and of Tornado.
_PUBLISHED = frozenset(
    b"widjeesobzp5nonprhdzsp40aba7stuqc6zry 9a788030837b11e1b0c40800200c9a66"
    b" 192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf a0zr98j3yxrxhhjmnlwxrt"
    b" 61oetzkxqagaydkl5gemgejjfuyh7eqnp2xdtp1ovo".split()
)

#: Words that tell a placeholder.
_TELLING = _words(
    "change changed changeme changethis cookie default demo dummy enter example fixme guess "
    "guessable guessed insecure insert key keys passphrase passwd password placeholder put "
    "random replace replaceme sample secret secrets secure security session sessions string "
    "test testing tests todo token unguessable your"
)
#: Words that stand beside them.
_OTHERS = _words(
    "a about after all also an and another any app application as at bad be before benchmark "
    "benchmarks better bit but by bytes can characters dev development different do does else "
    "elsewhere enough ever every extra file flask for former from generate generated good hard "
    "has have here hidden hide highly how i in is it its just keep known knows last least less "
    "letters little local long longer made make many me more most much must my never new next "
    "nice no nobody none not now of old older on one only or other our own please private prod "
    "production public really safe server should signing site so some somebody something stuff "
    "such super sure text than that the them then these they thing this those to too top "
    "totally true unique unknown unsafe us use used user uses value very want web webapp "
    "website what which who will with word words work works xxx year you yours"
)
_WORDS = _TELLING | _OTHERS
#: Words of so many letters are found within others as well, as in "mysupersecretkey".
_SHORTEST_INSIDE = 3
_LONGEST = max(map(len, _WORDS))

#: Of the steps from one character to the next in a key, at how many it counts as a sequence.
_MOST_STEPS = 0.7


def is_published(key: bytes) -> bool:
    """Whether it is a key of documentation or of a public program, however it is spelt."""
    return re.sub(rb"[^a-z0-9]", b"", key.lower()) in _PUBLISHED


def is_placeholder(key: bytes) -> bool:
    """Whether half of its letters and digits belong to words such as *your secret key*."""
    text = key.decode("utf-8", "replace")
    tokens = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[^\W_]", text)
    known = [(_known_letters(each.lower()), each) for each in tokens]
    is_telling = any(is_told for (_, is_told), _ in known)
    letters = sum(count for (count, _), _ in known)
    # The last condition is for random bytes, few of which are letters.
    return is_telling and 2 * letters >= sum(map(len, tokens)) and 3 * letters >= len(key)


def _known_letters(token: str) -> tuple[int, bool]:
    """How many letters of a token belong to words, and whether one of these is telling."""
    if token in _WORDS:
        return len(token), token in _TELLING
    # For each beginning of the token the most letters that belong to words.
    best: list[tuple[int, bool]] = [(0, False)]
    for end in range(1, len(token) + 1):
        found = best[-1]
        for start in range(max(0, end - _LONGEST), end - _SHORTEST_INSIDE + 1):
            word = token[start:end]
            if word in _WORDS:
                count, is_telling = best[start]
                found = max(found, (count + len(word), is_telling or word in _TELLING))
        best.append(found)
    return best[-1]


def is_pattern(key: bytes, shortest: int) -> bool:
    """Whether it repeats fewer than ``shortest`` bytes, or runs through an alphabet."""
    if (key + key).find(key, 1) < min(shortest, len(key)):
        return True
    steps = [after - before for before, after in itertools.pairwise(key)]
    # From "9" to "a" is one as well.
    return sum(step in (1, -1, 40) for step in steps) >= _MOST_STEPS * len(steps) > 0
