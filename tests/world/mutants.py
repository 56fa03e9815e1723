"""Faults that are put into the package one at a time, to prove that the world sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from world.configurations import KINDS
from world.machine import WorldMachine, machine_of, world_settings
from world.model import Violation

__all__ = [
    "ELSEWHERE",
    "MUTANTS",
    "PACKAGE",
    "SEEDS",
    "WORLDS",
    "Found",
    "Mutant",
    "live",
    "mutate",
]

#: Worlds of these are tried, one after the other: within one, what Hypothesis draws is alike.
SEEDS = (2026, 2027, 2028)

#: How many worlds of each kind there are. What Hypothesis draws depends on it.
WORLDS = dict.fromkeys(KINDS, 400)

#: The package itself.
PACKAGE = Path(__file__).parents[2] / "webapp2_sessions"

#: Seconds after which worlds are given up.
_PATIENCE = 3600


class Mutant(NamedTuple):
    """A fault, as a change of the package's text.

    :param kind: a key of ``KINDS``: of the worlds that find it.
    :param file: of the package.
    :param old: what stands there once.
    :param new: what takes its place.
    :param also: the same for a place that has to agree with it.
    """

    name: str
    kind: str
    file: str
    old: str
    new: str
    also: tuple[str, str] | None = None


class Found(NamedTuple):
    """What came of some worlds."""

    #: What happened that must not; empty if there was nothing.
    violation: str
    worlds: int
    requests: int


def mutate(mutant: Mutant) -> str:
    """Return the text of the file with the fault.

    :raises ValueError: a text to be replaced does not stand there once.
    """
    text = (PACKAGE / mutant.file).read_text("utf-8")
    for old, new in filter(None, ((mutant.old, mutant.new), mutant.also)):
        if text.count(old) != 1:
            raise ValueError(f"{mutant.file} has the text {text.count(old)} times")
        text = text.replace(old, new)
    return text


def live(kind: str, folder: Path = PACKAGE.parent, worlds: int | None = None) -> Found:
    """Live through worlds of a kind by the package in a folder, until something is found.

    :param worlds: how many at least, of each seed; by default those of `WORLDS`.
    """
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(folder), tests])
    command = [
        sys.executable,
        "-m",
        "world.mutants",
        kind,
        str(worlds or WORLDS[kind]),
        str(folder),
    ]
    done = subprocess.run(
        command,
        cwd=folder,  # which "-m" puts before all
        env={**os.environ, "PYTHONPATH": path, "NOSHRINK": "1"},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Found(*json.loads(done.stdout.splitlines()[-1]))


def _live_here(kind: str, worlds: int, folder: str) -> Found:
    """Live through worlds in this process, which has the package from a folder."""
    import webapp2_sessions

    assert str(webapp2_sessions.__file__).startswith(folder), "the package is another one"
    violation = ""
    with machine_of(kind, _Machine) as machine:
        try:
            for number in SEEDS:
                run_state_machine_as_test(seed(number)(machine), settings=world_settings(worlds))
        except _Enough as enough:
            violation = str(enough)
    return Found(violation, machine.totals.worlds, machine.totals.requests)


class _Enough(KeyboardInterrupt):
    """Something was found. Hypothesis would try it again, and this passes through it."""


class _Machine(WorldMachine):
    def teardown(self) -> None:
        error = sys.exc_info()[1]
        super().teardown()
        if isinstance(error, Violation):
            raise _Enough(str(error))


_COOKIE = "sessions/cookie.py"
_FACTORIES = "sessions/factories.py"
_SIGNED = "sessions/signed_cookies.py"
_STORED = "stored/factory.py"
_FOLLOWING = "users/following.py"
_ACCOUNTS = "users/accounts.py"
_INDEX = "users/index.py"
_REDIS_FACTORY = "sessions_redis/factory.py"
_MERGING = "stored/merging.py"
_CACHE = "stored/cache.py"
_KEYED = "stored/keyed.py"
_MEMCACHED = "sessions_memcache/records.py"
_REDIS = "sessions_redis/records.py"
_ENTITIES = "sessions_ndb/records.py"
_CACHE_IN_REDIS = "sessions_redis/cache.py"
_SERVER = "sessions_redis/servers.py"

#: Faults that applications have met, in the order in which they became known.
_FORMER = (
    Mutant(
        "1.1: a shared response gets the cookie",
        "cookies",
        "cookies/copying.py",
        "        copy = copy_response(sent)\n",
        "        copy = sent\n",
    ),
    Mutant(
        "1.2: a name at the end of another one counts",
        "cookies",
        "cookies/request.py",
        "key.strip(_WHITESPACE) == name:",
        "key.endswith(name):",
    ),
    Mutant(
        "1.2: any whitespace around a name is stripped",
        "cookies",
        "cookies/request.py",
        "key.strip(_WHITESPACE) == name:",
        "key.strip() == name:",
    ),
    Mutant(
        "1.3: a renewal writes under the former id first",
        "memcached",
        _STORED,
        "                if not self.merged(session):  # with what others have saved by now\n",
        "                if self._merger and not self._save_merged(self._merger, session):\n",
    ),
    Mutant(
        "1.4: a late request with the former id begins a session",
        "memcached",
        _STORED,
        "            if self._was_superseded_now(sid):\n",
        "            if False:\n",
    ),
    Mutant(
        "1.5: what saves travels with a copied environ",
        "cookies",
        "middleware.py",
        "        return id(environ) == self._environ_id\n",
        "        return True\n",
    ),
    Mutant(
        "1.6: an age is taken from the data",
        "cookies",
        _FACTORIES,
        "            self.own_max_age = attributes.get(MAX_AGE)\n",
        "            data = cookie.data if isinstance(cookie.data, dict) else {}\n"
        '            self.own_max_age = attributes.get(MAX_AGE, data.get("__max_age__"))\n',
    ),
    Mutant(
        "1.6: the id of a spilled session is taken from the data",
        "memcached",
        _COOKIE,
        "        sid = cookie.attributes.get(SPILLED)\n",
        '        sid = cookie.attributes.get(SPILLED) or cookie.data.get("__spilled__")\n',
    ),
    Mutant(
        "1.8: of several cookies the last in the header counts",
        "cookies",
        _SIGNED,
        "            opened.sort(key=_time_of, reverse=True)\n",
        "",
    ),
    Mutant(
        "1.8: a cookie that opens nothing displaces others",
        "memcached",
        _SIGNED,
        "            del opened[_MOST_TRIED:]\n",
        "            del opened[1:]\n",
    ),
    Mutant(
        "1.8: former cookies stay",
        "cookies",
        _FACTORIES,
        "        cookies.expire_others(response, self.name, self.session_args, former)\n",
        "        pass\n",
    ),
    Mutant(
        "2.1: a session is saved in another place than it was loaded from",
        "memcached",
        _KEYED,
        "        records, namespace = self._opened or self._pin_place()\n",
        "        records, namespace = self._pin_place()\n",
    ),
    Mutant(
        "2.2: sameness is what == says",
        "cookies",
        "sessions/sameness.py",
        "    if one is other:\n        return True\n",
        "    return bool(one == other)\n",
    ),
    Mutant(
        "2.3: a late fill of the cache brings back an ended session",
        "Datastore",
        _CACHE,
        "_TOMBSTONE, _LONGEST_LIFETIME)\n        except BackendUnavailable:\n",
        "_TOMBSTONE, _LONGEST_LIFETIME)\n            self.store.drop(key)\n"
        "        except BackendUnavailable:\n",
    ),
    Mutant(
        "2.4: after a time-out the other idle connections stay",
        "memcached",
        "stored/connections.py",
        "                self._drop()\n                if is_pooled",
        "                self._count_loss()\n                if is_pooled",
    ),
    Mutant(
        "2.4: a connection is used again though an answer may come",
        "memcached",
        "stored/connections.py",
        "                if connection is not None:\n                    connection.close()\n"
        "                if not isinstance(error, self._failures):\n"
        "                    self._count_loss()  # it can no longer tell of a restart\n"
        "                    raise\n"
        "                self._drop()\n",
        "                if connection is not None and not isinstance(error, TimeoutError):\n"
        "                    connection.close()\n"
        "                if not isinstance(error, self._failures):\n"
        "                    self._count_loss()\n"
        "                    raise\n"
        "                self._drop()\n"
        "                if isinstance(error, TimeoutError) and connection is not None:\n"
        "                    self._idle.append((time.monotonic(), connection))\n",
    ),
    Mutant(
        "2.4: a load is not sent again where an idle connection was silent",
        "memcached",
        "sessions_memcache/connection.py",
        "        resend: int = IF_SILENT,\n",
        "        resend: int = IF_CLOSED,\n",
    ),
    Mutant(
        "2.4: a command is not sent again where an idle connection was closed",
        "memcached",
        "stored/connections.py",
        "                if not is_pooled or resend < IF_CLOSED:\n",
        "                if True:\n",
    ),
    Mutant(
        "2.6: a session's own age is not kept in its record",
        "memcached",
        _KEYED,
        "beside = self.own_max_age, self._details_to_write()",
        "beside = None, self._details_to_write()",
    ),
    Mutant(
        "2.6: a session's own age is not kept in its entity",
        "Datastore",
        _ENTITIES,
        "            entity.own_max_age = _bounded_age(self._operation.own_max_age)\n",
        "            entity.own_max_age = None\n",
    ),
    Mutant(
        "2.7: threads of one request get sessions of their own",
        "memcached",
        "sessions/store.py",
        "        with self._request_lock():  # threads of one request get one session\n"
        "            config = self.config\n",
        "        if True:\n            config = self.config\n",
    ),
    Mutant(
        "2.9: an unreadable session stays when another one is begun",
        "memcached",
        _STORED,
        "            self._former_sids[sid] = True\n            return None\n",
        "            return None\n",
    ),
    Mutant(
        "2.9: on_unreadable is ignored",
        "memcached",
        _STORED,
        '            if self.session_store.config.get("on_unreadable") != "new":\n',
        "            if True:\n",
    ),
    Mutant(
        "2.10: the record of a spilled session outlives destroy()",
        "memcached",
        _COOKIE,
        "            if self._spill is not None:\n                self._spill.discard()\n",
        "",
    ),
    Mutant(
        "2.10: a planted age survives a renewal",
        "cookies",
        _FACTORIES,
        "            self.own_max_age, self.sets_max_age = None, True\n\n    def _should_refresh",
        "            pass\n\n    def _should_refresh",
    ),
    Mutant(
        "2.10: a session outlives destroy() where the handler fails",
        "memcached",
        "handlers.py",
        "            deleted = self._delete_destroyed(response)\n",
        "            deleted = None\n",
    ),
    Mutant(
        "2.11: a session opens in each namespace",
        "memcached",
        _KEYED,
        'records.key(f"{namespace}/{sid}" if namespace else sid)',
        "records.key(sid)",
    ),
)

#: Mistakes that somebody might make.
_MISTAKES = (
    Mutant(
        "the age of a cookie is not checked",
        "cookies",
        _SIGNED,
        "                if limit is not None:\n                    signer.check_age",
        "                if False:\n                    signer.check_age",
    ),
    Mutant(
        "a cookie's own age is ignored",
        "cookies",
        _SIGNED,
        "                limit = cookie.attributes.get(MAX_AGE, max_age)\n                if",
        "                limit = max_age\n                if",
    ),
    Mutant(
        "a refused cookie is logged with its value",
        "cookies",
        _SIGNED,
        'logger.warning("The cookie %r was not accepted: %s", name, refused)',
        'logger.warning("The cookie %r was not accepted: %s", values, refused)',
    ),
    Mutant(
        "a cookie expires one second early",
        "cookies",
        "securecookie/__init__.py",
        "        if signed_at < self._get_timestamp() - max_age:\n",
        "        if signed_at <= self._get_timestamp() - max_age:\n",
    ),
    Mutant(
        "former keys are not accepted",
        "cookies",
        "securecookie/__init__.py",
        "(self.secret_key, *self.fallbacks):\n",
        "(self.secret_key,):\n",
    ),
    Mutant(
        "a signature does not cover the cookie's name",
        "cookies",
        "securecookie/__init__.py",
        'hmac_of(self.secret_key, b"|".join(parts), self.digest)',
        'hmac_of(self.secret_key, b"|".join(parts[1:]), self.digest)',
    ),
    Mutant(
        "an encryption key does not depend on the cookie's name",
        "cookies",
        "sessions/encrypted.py",
        '"encryptedcookie:" + name.decode("latin-1")',
        '"encryptedcookie:"',
    ),
    Mutant(
        "cookies of one second are tried in the order of the header",
        "cookies",
        "cookies/request.py",
        "    found.reverse()\n",
        "",
    ),
    Mutant(
        "a cookie is expired without its path and domain",
        "cookies",
        "cookies/response.py",
        '    set_cookie(response, name, b"", {**kept, "max_age": 0})\n',
        '    set_cookie(response, name, b"", {"secure": kept.get("secure"), "max_age": 0})\n',
    ),
    Mutant(
        "a cookie is set by the template of other arguments",
        "cookies",
        "cookies/response.py",
        "template is None or template[0] != args or",
        "template is None or",
    ),
    Mutant(
        "valid cookies expire as damaged ones",
        "cookies",
        "sessions/store.py",
        "            if not is_valid and not cookies.is_set(response, name):\n",
        "            if not cookies.is_set(response, name):\n",
    ),
    Mutant(
        "absolute_max_age is not checked",
        "cookies",
        _FACTORIES,
        "        return self._began is None or time.time() - self._began <= limit\n",
        "        return True\n",
    ),
    Mutant(
        "absolute_max_age counts from the last signing",
        "cookies",
        _FACTORIES,
        "attributes.get(BEGAN, cookie.signed_at)",
        "cookie.signed_at",
    ),
    Mutant(
        "a session after destroy() keeps the age of the one before",
        "cookies",
        _FACTORIES,
        "        self._began = self.own_max_age = self._signed_at = self._sent_at = None\n",
        "        self._began = self._signed_at = self._sent_at = None\n",
    ),
    Mutant(
        "mark_changed() is ignored where content is compared",
        "cookies",
        "sessions/session_dict.py",
        "        self.modified = self._forced = True\n",
        "        self.modified = True\n",
    ),
    Mutant(
        "a refresh saves changes inside of values",
        "cookies",
        _COOKIE,
        "self._set_cookie(response, dict(cookie.data), **attributes)",
        "self._set_cookie(response, dict(self.session or ()), **attributes)",
    ),
    Mutant(
        "a refresh forgets where a session is spilled",
        "memcached",
        _COOKIE,
        "            attributes[SPILLED] = self._spill.sid\n",
        "",
    ),
    Mutant(
        "a session that fits again is taken back though another request has ended it",
        "memcached",
        _COOKIE,
        "            if not spill.retire():\n                return None\n",
        "            spill.retire()\n",
    ),
    Mutant(
        "a renewal does not renew a spilled session",
        "memcached",
        _COOKIE,
        "stored._regenerates, stored._flash_keys = session._regenerates, session._flash_keys",
        "stored._flash_keys = session._flash_keys",
    ),
    Mutant(
        "regenerate_id() alone is not saved",
        "cookies",
        "sessions/session_dict.py",
        "            forget_inherited_age()\n        self.mark_changed()\n",
        "            forget_inherited_age()\n",
    ),
    Mutant(
        "a removed key does not count as a change",
        "memcached",
        "sessions/session_dict.py",
        "            self._changed()\n            return value\n",
        "            return value\n",
    ),
    Mutant(
        "a former id stays after a renewal",
        "memcached",
        _STORED,
        "        if self._former_sids:\n",
        "        if False:\n",
    ),
    Mutant(
        "data after destroy() goes into the record that has ended",
        "memcached",
        _STORED,
        "        self._former_sids, self._replaced_sids = {}, []\n        self._begin_id()\n",
        "        self._former_sids, self._replaced_sids = {}, []\n",
    ),
    Mutant(
        "a cookie is refreshed though its session has ended",
        "memcached",
        _STORED,
        "            elif self._is_stored and self._should_refresh() and self.keep():\n",
        "            elif self._is_stored and self._should_refresh():\n",
    ),
    Mutant(
        "a degraded session is saved",
        "memcached",
        _STORED,
        "            if session._degraded:\n                return\n",
        "",
    ),
    Mutant(
        "an id that led nowhere does not end with the session",
        "memcached",
        _STORED,
        "            self._replaced_sids.append(sid)\n",
        "            pass\n",
    ),
    Mutant(
        "a sign-in counts as lost where its former id had ended before",
        "memcached",
        _STORED,
        "            if not (is_first or was_tried):\n",
        "            if not is_first:\n",
    ),
    Mutant(
        "a merge drops what others have changed",
        "memcached",
        _MERGING,
        "    if not differences(old, others):\n        return dict(mine)\n",
        "    return dict(mine)\n",
    ),
    Mutant(
        "flash messages are merged as any value",
        "memcached",
        _MERGING,
        "        if key == _FLASH or key in flash_keys:\n",
        "        if False:\n",
    ),
    Mutant(
        "a key that was assigned again does not win",
        "memcached",
        _MERGING,
        "    for form in dict.fromkeys([*differences(old, ours), *named]):\n",
        "    for form in differences(old, ours):\n",
    ),
    Mutant(
        "a merge brings removed keys back",
        "memcached",
        _MERGING,
        "            merged.pop(form, None)\n",
        "            pass\n",
    ),
    Mutant(
        "a merge brings an ended session back",
        "memcached",
        _MERGING,
        "            if current is None:\n                return None\n            token",
        "            if current is None:\n                current = Version(NEW, dict)\n"
        "            token",
    ),
    Mutant(
        "of equal flash messages all count as shown",
        "memcached",
        _MERGING,
        "            counts[form] -= 1\n",
        "            pass\n",
    ),
    Mutant(
        "an entry of the cache is replaced without a look at its token",
        "Datastore",
        _CACHE,
        "            is_stored = self.store.fill(key, data, token, seconds)\n",
        "            self.store.set(key, data, seconds)\n            is_stored = True\n",
    ),
    Mutant(
        "the second of two writers leaves the first one's entry",
        "Datastore",
        _CACHE,
        "        if not self._fill(key, value, lifetime, token, started):\n"
        "            self._mark_stale(key)\n",
        "        self._fill(key, value, lifetime, token, started)\n",
    ),
    Mutant(
        "a write without an answer leaves the former entry",
        "Datastore",
        _CACHE,
        "        except BaseException:\n            self._try_to_bury(key)\n            raise\n"
        "        if not",
        "        except BaseException:\n            raise\n        if not",
    ),
    Mutant(
        "memcached: a record that was ended is written again without a look",
        "memcached",
        _MEMCACHED,
        "        if self.is_revoked(key):\n            return False\n        self.set(",
        "        self.set(",
    ),
    Mutant(
        "memcached: a write brings back what was ended",
        "memcached",
        _MEMCACHED,
        "        return not self.discard_if_revoked(key)\n",
        "        return True\n",
    ),
    Mutant(
        "memcached: the end of a session leaves no mark",
        "memcached",
        _MEMCACHED,
        'node.call("add", key + _REVOKED, mark, _REVOKED_SECONDS)',
        "True",
    ),
    Mutant(
        "memcached: the second of two renewals counts as first",
        "memcached",
        _MEMCACHED,
        'return is_marked and node.call("get", key + _REVOKED) in (mark, None)',
        "return True",
    ),
    Mutant(
        "memcached: the own age of a record is not read",
        "memcached",
        _KEYED,
        "        self._note_max_age(max_age)\n        self._note_details(details)\n",
        "        self._note_details(details)\n",
    ),
    Mutant(
        "Datastore: the end of a session leaves no tombstone",
        "Datastore",
        _ENTITIES,
        "            tombstone.put(**self._datastore.options)\n",
        "            pass\n",
    ),
    Mutant(
        "Datastore: a tombstone does not tell of a renewal",
        "Datastore",
        _ENTITIES,
        '"is_superseded": is_superseded or None',
        '"is_superseded": None',
    ),
    Mutant(
        "Datastore: two tombstones of one moment are the same",
        "Datastore",
        _ENTITIES,
        '"mark": os.urandom(9)',
        '"mark": b""',
    ),
    Mutant(
        "Datastore: a merge writes without a look at the version",
        "Datastore",
        "sessions_ndb/factory.py",
        "        expected = ABSENT if token is NEW else token\n",
        "        expected = ABSENT if token is NEW else PRESENT\n",
    ),
    Mutant(
        "Datastore: a write asks for no entity",
        "Datastore",
        "sessions_ndb/factory.py",
        "data, lifetime, *self._beside(), PRESENT)",
        "data, lifetime, *self._beside())",
    ),
    Mutant(
        "a handler that fails saves all the same",
        "cookies",
        "handlers.py",
        "                if not (is_http or self.save_on_error):\n",
        "                if False:\n",
    ),
    Mutant(
        "cookies are not copied to another response",
        "cookies",
        "handlers.py",
        "            sent = self._copy_cookies_to(sent, added)\n",
        "",
    ),
    Mutant(
        "the middleware sends no cookies",
        "cookies",
        "middleware.py",
        "saver.add_cookies(headers), *exc_info)",
        "headers, *exc_info)",
    ),
    Mutant(
        "the middleware saves though the handler fails",
        "cookies",
        "middleware.py",
        "            return self._save_on_error or isinstance(error, HTTPException)\n",
        "            return True\n",
    ),
)

#: Mistakes that somebody might make in Redis.
_IN_REDIS = (
    Mutant(
        "Redis: a write brings back what was ended",
        "Redis",
        _REDIS,
        'lifetime, "XX")',
        "lifetime)",
    ),
    Mutant(
        "Redis: the second of two renewals counts as first",
        "Redis",
        _REDIS,
        "return answer != 0 and self._checked(answer, 1)",
        "return answer is not None",
    ),
    Mutant(
        "Redis: a renewal leaves no mark",
        "Redis",
        _REDIS,
        "        if superseded_at:\n",
        "        if False:\n",
    ),
    Mutant(
        "Redis: a merge writes without a look",
        "Redis",
        _REDIS,
        "return self.server.compare_and_set(key, token, data, milliseconds(lifetime))",
        "return self.replace(key, data, lifetime)",
    ),
    Mutant(
        "Redis: what is gone is stored again by a merge",
        "Redis",
        _REDIS,
        'and is not, has been deleted."""\n        return True',
        'and is not, has been deleted."""\n        return False',
    ),
    Mutant(
        "Redis: a refresh keeps no record",
        "Redis",
        _REDIS,
        'return bool(self.server.call(IF_SILENT, "PEXPIRE", key, expiry))',
        'return bool(self.server.call(IF_SILENT, "DEL", key))',
    ),
    Mutant(
        "Redis: a late fill of the cache brings back an ended session",
        "Datastore and Redis",
        _CACHE_IN_REDIS,
        'arguments = "SET", place, entry, "PX", expiry, "NX"',
        'arguments = "SET", place, entry, "PX", expiry',
    ),
    Mutant(
        "Redis: a cached entry is replaced without a look",
        "Datastore and Redis",
        _CACHE_IN_REDIS,
        "return self._server.compare_and_set(place, token.cas, entry, expiry)",
        'return bool(self._server.call(IF_CLOSED, "SET", place, entry, "PX", expiry))',
    ),
    Mutant(
        "Redis: what is cached outlives the process that has it",
        "Datastore and Redis",
        _CACHE_IN_REDIS,
        'self.process = connection.process = b"".join(found)',
        'self.process = connection.process = b"any"',
        ("local place = process .. role .. ':' .. ARGV[1]", "local place = 'any:' .. ARGV[1]"),
    ),
    Mutant(
        "Redis: what is cached outlives a failover and the way back",
        "Datastore and Redis",
        _CACHE_IN_REDIS,
        '(("server", b"run_id"), ("replication", b"master_replid"))',
        '(("server", b"run_id"),)',
        ("local place = process .. role .. ':'", "local place = process .. ':'"),
    ),
    Mutant(
        "Redis: connections to a replica are kept",
        "Redis",
        _SERVER,
        "            self._connections().close()\n        return super()._refused(error)\n",
        "            pass\n        return super()._refused(error)\n",
    ),
    Mutant(
        "Redis: connections to a replica are kept until it refuses a write",
        "Redis",
        _SERVER,
        "isinstance(error, (exceptions.ReadOnlyError, exceptions.MasterDownError))",
        "isinstance(error, exceptions.ReadOnlyError)",
    ),
)

#: Mistakes that somebody might make in following users.
_OF_USERS = (
    Mutant(
        "users: a sign-in gives no new id",
        "users in both",
        _FOLLOWING,
        "        if now is not None:\n            session.regenerate_id()\n",
        "        if now is not None:\n            session.mark_changed()\n",
    ),
    Mutant(
        "users: stamps are not compared",
        "users in both",
        _FOLLOWING,
        "        if self._stamped is not _UNKNOWN and not stamps.fits(",
        "        if False and not stamps.fits(",
    ),
    Mutant(
        "users: it counts when the cookie was signed",
        "users in both",
        _FOLLOWING,
        "attributes.get(SIGNED_IN, (signed_at or 0) * 1000)",
        "(signed_at or 0) * 1000",
    ),
    Mutant(
        "users: a save counts as a sign-in",
        "users in both",
        _FOLLOWING,
        "            attributes[SIGNED_IN] = self._signed_in\n",
        "            attributes[SIGNED_IN] = max(self._signed_in, _milliseconds())\n",
    ),
    Mutant(
        "users: a sign-in of the same millisecond does not count",
        "users in both",
        _FOLLOWING,
        "max(self._signed_in, self._moment(is_fresh=True) + 1)",
        "self._signed_in",
    ),
    Mutant(
        "users: the session that stays keeps its id",
        "users in both",
        _FOLLOWING,
        "        session._regenerates = True\n        session.mark_changed()\n",
        "        session.mark_changed()\n",
    ),
    Mutant(
        "users: the session of the request does not stay",
        "users in both",
        _ACCOUNTS,
        "        stays = is_mine and keep is not None and keep in (True, own)\n",
        "        stays = False\n",
    ),
    Mutant(
        "users: who has just signed in stays although all end",
        "users in Redis",
        _ACCOUNTS,
        "and not stays and (handle is None or",
        "and not stays and (revokes or",
    ),
    Mutant(
        "users: an id is noted after its record is written",
        "users in Redis",
        _STORED,
        ".note()\n        if self._merger is None:\n",
        ".details()\n        if self._merger is None:\n",
        (
            "        self._is_stored = True\n        size = self._size\n",
            "        self._is_stored = True\n"
            "        size = self._size\n"
            "        if self._following is not None and self._following.user is not None:\n"
            "            self._following.note()\n",
        ),
    ),
    Mutant(
        "users: an id without a record is dropped at once",
        "users in Redis",
        _INDEX,
        "_DROPPED_AFTER = 600\n",
        "_DROPPED_AFTER = -1\n",
    ),
    Mutant(
        "users: what got a new id while all end stays",
        "users in Redis",
        _INDEX,
        "        if not absent or (absent == was_absent and not found):\n",
        "        if True:\n",
    ),
    Mutant(
        "users: the newest sessions end where there are too many",
        "users in Redis",
        _INDEX,
        "key=order)[:",
        "key=order, reverse=True)[:",
    ),
    Mutant(
        "users: sessions of all names are listed together",
        "users in Redis",
        _REDIS_FACTORY,
        'f"users/{self.name}/{user}"',
        'f"users/{user}"',
    ),
    Mutant(
        "users: who cannot be asked about is signed out",
        "users in both",
        _FACTORIES,
        "            self._following.user = None",
        "            pass",
    ),
)

MUTANTS = (*_FORMER, *_MISTAKES, *_IN_REDIS, *_OF_USERS)

#: Faults that applications have met and that no world has, each with the test that finds it. 1.7,
#: that webapp2_extras.auth gives no new id, is documented behaviour.
ELSEWHERE = {
    "tests/unit/sessions_memcache/test_client_check.py": Mutant(
        "1.9: a client decodes what is stored before its signature is checked",
        "memcached",
        "sessions_memcache/client_check.py",
        "    if not all(map(_returns_bytes, parts)):\n",
        "    if False:\n",
    ),
    "tests/faults/test_network.py": Mutant(
        "2.5: a proxy has to tell how large a session may be",
        "memcached",
        "sessions_memcache/servers.py",
        "            with contextlib.suppress(AttributeError, BackendError, LookupError, "
        "TypeError):\n",
        "            if True:\n",
    ),
    "tests/docs/test_configuration_page.py": Mutant(
        "2.8: flash messages have no limit",
        "cookies",
        "config/__init__.py",
        '"max_flashes": 1000',
        '"max_flashes": None',
    ),
}


if __name__ == "__main__":
    kind_, worlds_, folder_ = sys.argv[1:]
    print(json.dumps(_live_here(kind_, int(worlds_), folder_)))  # noqa: T201
