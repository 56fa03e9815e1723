"""The command ``check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from webapp2_sessions.cli.advice import SEVERITIES, Advice, advice_on, server_backends
from webapp2_sessions.cli.output import paint, printable, write, write_json
from webapp2_sessions.cli.server_checks import unreachable
from webapp2_sessions.cli.target import Target, importing_from_here, load_target
from webapp2_sessions.errors import ConfigError

__all__ = ["run_check"]

_MANY = {"error": "errors", "warning": "warnings", "advice": "pieces of advice"}
_ONE = {"error": "error", "warning": "warning", "advice": "piece of advice"}


def run_check(options: argparse.Namespace) -> int:
    """Show the advice on a configuration, and return the exit code."""
    target = load_target(options.config)
    debug = target.is_app and bool(getattr(target.app, "debug", False))
    with importing_from_here():
        found = advice_on(target.given, target.response_class, debug)
        if not options.offline:
            found = [*_of_servers(target, options.backend), *found]
    if options.json:
        write_json({"config": options.config, "findings": [each._asdict() for each in found]})
    else:
        _write(found)
    grave = SEVERITIES if options.strict else SEVERITIES[:2]
    return 1 if any(each.severity in grave for each in found) else 0


def _of_servers(target: Target, named: Iterable[str] | None) -> list[Advice]:
    try:
        config = target.checked()
    except ConfigError:
        return []  # which the other advice tells
    backends = server_backends(target.given) if named is None else dict.fromkeys(named)
    lines = ((backend, line) for backend in backends for line in unreachable(config, backend))
    return [Advice("error", backend, line) for backend, line in lines]


def _write(found: list[Advice]) -> None:
    for each in found:
        severity = paint(f"{each.severity}:", each.severity, sys.stdout)
        write(f"{severity} {printable(each.key)}: {printable(each.text)}")
    counts = [
        (sum(each.severity == severity for each in found), severity) for severity in SEVERITIES
    ]
    named = [f"{count} {_ONE[key] if count == 1 else _MANY[key]}" for count, key in counts if count]
    write(", ".join(named) if named else paint("nothing to say", "good", sys.stdout))
