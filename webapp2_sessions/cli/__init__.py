"""The command line ``webapp2-sessions``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from webapp2_sessions.cli.output import echo_error
from webapp2_sessions.cli.parser import make_parser
from webapp2_sessions.errors import ConfigError, SessionError

__all__ = ["main"]

_FAILED, _USAGE, _INTERRUPTED, _BROKEN_PIPE = 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None, prog: str = "webapp2-sessions") -> int:
    """Run a command.

    :param arguments: by default those of the process.
    :param prog: the name of the command line, for its messages.
    :returns: the exit code.
    :raises SystemExit: the arguments are wrong, or only help was asked for.
    """
    # The commands report themselves what the package logs for operators.
    logging.getLogger("webapp2_sessions").addHandler(logging.NullHandler())
    options = make_parser(prog).parse_args(arguments)
    try:
        code = _run(options.run, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes at exit once more, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return code


def _run(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return run(options)
    except KeyboardInterrupt:
        echo_error("interrupted")
        return _INTERRUPTED
    except SessionError as error:
        echo_error(f"error: {error}")
        return _USAGE if isinstance(error, ConfigError) else _FAILED
