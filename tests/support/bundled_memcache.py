"""The contract of backends on App Engine's bundled memcache, as the SDK's testbed has it.

`CONTRACT=support.bundled_memcache:config` runs it, where the SDK is installed.
"""

from __future__ import annotations

from typing import Any

from google.appengine.ext import testbed

__all__ = ["config"]

_testbed = testbed.Testbed()


def config() -> dict[str, Any]:
    """Return the session configuration of an application that uses it."""
    if not _testbed._activated:
        _testbed.activate()
        _testbed.init_memcache_stub()
    factory = "webapp2_sessions.sessions_memcache.MemcacheSessionFactory"
    return {"backends": {"own": factory}, "memcache": {"client": "appengine"}}
