"""Let worlds happen; separate, because processes that are spawned do not import this module."""

from __future__ import annotations

import sys

from world.runner import main

if __name__ == "__main__":
    sys.exit(main())
