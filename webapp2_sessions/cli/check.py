"""The command ``check``: what is wrong with a configuration, or risky, or could be better."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from webapp2_sessions.cli.output import echo, echo_json, printable, style
from webapp2_sessions.cli.target import Target, importing_from_here, load_target, server_backends
from webapp2_sessions.config import SessionConfig, default_config
from webapp2_sessions.config.checks import CHECKS, weak_keys
from webapp2_sessions.config.foreign import foreign_value
from webapp2_sessions.config.imports import import_object
from webapp2_sessions.config.oversights import SEVERITIES, Advice, oversights
from webapp2_sessions.errors import ConfigError, MissingDependency
from webapp2_sessions.securecookie.keys import new_key
from webapp2_sessions.stored.factory import StoredSessionFactory

#: How findings are counted, with the ending of a plural.
_COUNTED = {"error": "{} error{}", "warning": "{} warning{}", "advice": "{} piece{} of advice"}

#: How the addresses of memcached servers on this machine begin.
_LOCAL = ("127.", "localhost", "[::1]", "unix:")

#: URLs of a Redis that nobody on the way can read: by TLS, or on this machine.
_NOT_OVERHEARD = re.compile(
    r"rediss:|unix:|redis://(?:[^/]*@)?(?![^/]*@)(?:localhost|127\.[\d.]+|\[::1\])?(?:[:/?]|$)"
)


def run_check(options: argparse.Namespace) -> int:
    """Show the advice on a configuration, and return the exit code."""
    target = load_target(options.config)
    debug = bool(getattr(target.app, "debug", False))
    with importing_from_here():
        found = advice_on(target.given, target.response_class, debug)
        if not options.offline:
            found = [*_ping_all(target, options.backend), *found]
    if options.json:
        echo_json({"config": options.config, "findings": [each._asdict() for each in found]})
    else:
        _echo(found)
    failures = SEVERITIES if options.strict else SEVERITIES[:2]
    return 1 if any(each.severity in failures for each in found) else 0


def _ping_all(target: Target, backends: Iterable[str] | None) -> Iterator[Advice]:
    try:
        config = target.checked()
    except ConfigError:
        return  # which is part of the advice
    for backend in dict.fromkeys(server_backends(target.given) if backends is None else backends):
        try:
            yield from (Advice("error", backend, problem) for problem in ping(config, backend))
        except ConfigError:  # an application's own that has no servers
            if backends is not None:
                raise


def _echo(found: list[Advice]) -> None:
    for each in found:
        severity = style(f"{each.severity}:", each.severity)
        echo(f"{severity} {printable(each.key)}: {printable(each.text)}")
    counts = Counter(each.severity for each in found)
    texts = [
        text.format(counts[severity], "" if counts[severity] == 1 else "s")
        for severity, text in _COUNTED.items()
        if counts[severity]
    ]
    echo(", ".join(texts) or style("nothing to improve", "good"))


def advice_on(given: Mapping[str, Any], response_class: Any, debug: bool = False) -> list[Advice]:
    """Return the advice on a session configuration, the most severe first; ask no server.

    :param given: the configuration as the application has it.
    :param response_class: the class of the application's responses.
    :param debug: whether the application is in debug mode.
    """
    sound = {**given}
    found = list(_errors(sound, response_class))
    if debug:
        text = "is on: visitors see tracebacks of errors; switch it off in production"
        found.append(Advice("warning", "debug", text))
    config = SessionConfig(sound, response_class)
    dropped = given.keys() - sound.keys()
    more = oversights(config)
    for rule in (_keys, _cookie, _storage, _servers, _backends):
        more += rule(config, sound)
    found.extend(each for each in more if each.key.partition("[")[0] not in dropped)
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def _errors(sound: dict[str, Any], response_class: Any) -> Iterator[Advice]:
    """Yield an error for each wrong key and remove it: SessionConfig raises only the first."""
    for key, check in CHECKS.items():
        value = {**default_config, **sound}[key]
        try:
            check(key, value)
        except ConfigError as error:
            if foreign_value(key, value) is None:
                yield Advice("error", *error.args)
                sound.pop(key, None)
    if not sound.get("secret_key"):
        sound["secret_key"] = new_key(32)  # so that the rest can be checked
    while True:
        try:
            SessionConfig(sound, response_class)
        except ConfigError as error:
            yield Advice("error", *error.args)
            # The name as well, because it may be what the arguments do not go with.
            wrong = {error.key.partition("[")[0], "cookie_name"} & sound.keys()
            if not wrong:
                raise  # a default that the application has changed
            for key in wrong:
                del sound[key]
            sound.setdefault("secret_key", new_key(32))
        else:
            return


def _keys(config: SessionConfig, _: Mapping[str, Any]) -> Iterator[Advice]:
    for weak in weak_keys(config):
        key, problem = weak.split(" ", 1)
        text = f"{problem}: who guesses it can sign in as anybody; make one with the command keygen"
        yield Advice("warning", key, text)
    if config["digest"] == "sha1":
        text = "is 'sha1', as webapp2_extras signs; 'sha256' is what policies ask for"
        yield Advice("advice", "digest", text)


def _cookie(config: SessionConfig, _: Mapping[str, Any]) -> Iterator[Advice]:
    args, name = config["cookie_args"], str(config["cookie_name"])
    if not args.get("secure"):
        text = "is off: the cookie is sent over plain HTTP too, where it can be read"
        yield Advice("warning", "cookie_args['secure']", text)
    if not args.get("httponly"):
        text = "is off: a script that gets into a page can read the cookie"
        yield Advice("warning", "cookie_args['httponly']", text)
    if not args.get("samesite"):
        text = "is not set: what other sites do with the cookie is each browser's decision"
        yield Advice("advice", "cookie_args['samesite']", f"{text}; 'lax' suits most")
    if args.get("domain"):
        text = "is set: every host below it gets the cookie, and can set one of that name"
        yield Advice("advice", "cookie_args['domain']", text)
    if config["session_max_age"] is None:
        text = "is None: a cookie is valid for ever, also one that was stolen; set it in seconds"
        yield Advice("warning", "session_max_age", text)
    if config["on_oversize"] == "warn":
        text = "is 'warn': browsers drop a cookie that is too large, and only the log tells"
        yield Advice("advice", "on_oversize", f"{text}; 'raise' or a backend is safer")
    could_be_host = args.get("secure") and not args.get("domain") and args.get("path", "/") == "/"
    if could_be_host and not name.lower().startswith("__host-"):
        text = f"could be '__Host-{name}', which no other host of the domain can set"
        yield Advice("advice", "cookie_name", text)


def _storage(config: SessionConfig, given: Mapping[str, Any]) -> Iterator[Advice]:
    if config["serializer"] != "pickle" and "pickle" not in config["serializer_fallbacks"]:
        return
    used = server_backends(given)
    key = "serializer" if config["serializer"] == "pickle" else "serializer_fallbacks"
    if "datastore" in used:
        text = "has 'pickle': who can write to Datastore can run code in the application"
        yield Advice("warning", key, f"{text}; 'json' runs none")
    elif "memcache" in used or "redis" in used:
        server = "memcached" if "memcache" in used else "Redis"
        text = f"has 'pickle': in {server} it is signed, and nothing but the key keeps it from"
        yield Advice("advice", key, f"{text} running code that others wrote; 'json' runs none")


def _servers(config: SessionConfig, _: Mapping[str, Any]) -> Iterator[Advice]:
    memcache = config["memcache"]
    remote = [server for server in memcache["servers"] if not server.startswith(_LOCAL)]
    if remote and memcache["tls_context"] is None and memcache["client"] is None:
        text = "is not set: on the way to servers elsewhere others can read sessions"
        yield Advice("advice", "memcache['tls_context']", text)
    redis = config["redis"]
    if redis["client"] is None and not _NOT_OVERHEARD.match(redis["url"]):
        text = "is without TLS: on the way others can read sessions; 'rediss://' encrypts them"
        yield Advice("advice", "redis['url']", text)


def _backends(config: SessionConfig, given: Mapping[str, Any]) -> Iterator[Advice]:
    """Import the application's own backends, and the one of ``on_oversize``."""
    spill = config["on_oversize"]
    usual = default_config["backends"]
    own = given.get("backends") or {}
    named = {keyword for keyword, backend in own.items() if backend != usual.get(keyword)}
    for keyword in (each for each in config["backends"] if each in named or each == spill):
        factory, problem = _import(config["backends"][keyword])
        if problem is not None:
            yield Advice("error", f"backends[{keyword!r}]", problem)
            continue
        stores = isinstance(factory, type) and issubclass(factory, StoredSessionFactory)
        if keyword == spill and not stores:
            text = f"names {keyword!r}, which is no StoredSessionFactory and has to be one"
            yield Advice("error", "on_oversize", text)
        if stores and config["on_conflict"] == "merge" and not factory._can_merge():
            text = f"is 'merge', and {factory.__name__} cannot compare and set"
            yield Advice("error", "on_conflict", text)


def _import(backend: Any) -> tuple[Any, str | None]:
    """Return a backend's factory, and the problem if it cannot be imported."""
    try:
        return import_object(backend) if isinstance(backend, str) else backend, None
    except MissingDependency as error:
        return None, str(error)
    except Exception as error:  # whatever a module of the application raises
        return None, f"cannot be imported ({type(error).__name__})"


def ping(config: Mapping[str, Any], backend: str) -> list[str]:
    """Ask each server of a backend whether it works, without touching a session.

    memcached gets a value as large as a session may be, for a moment.

    :param config: a checked configuration.
    :param backend: the backend's keyword.
    :returns: the problems, one line for each server that has one.
    :raises ConfigError: there is no such backend, or it has no servers that could be asked.
    """
    backends = config["backends"]
    if backend not in backends:
        known = ", ".join(map(repr, backends))
        raise ConfigError("--backend", f"{backend!r} is unknown; known are {known}")
    factory, problem = _import(backends[backend])
    if problem is not None:
        return [problem]
    if not hasattr(factory, "_ping"):
        raise ConfigError("--backend", f"{backend!r} keeps no sessions on a server of its own")
    try:
        return list(factory._ping(config))
    except MissingDependency as error:  # with the command that installs it
        return [str(error)]
    except Exception as error:  # of a client of the application, or of a backend
        return [f"cannot be asked ({type(error).__name__})"]
