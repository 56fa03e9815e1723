"""``python -m webapp2_sessions``: the command line."""

from __future__ import annotations

import sys

from webapp2_sessions.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main(prog="python -m webapp2_sessions"))
