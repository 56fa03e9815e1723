"""A tea shop that shows what sessions do, and lets you look inside yours.

Sign in and out, fill a cart, keep your session in a cookie, memcached, Redis or Datastore, and see
what your browser holds of it and what the server does::

    python examples/demo/app.py

then open http://127.0.0.1:8080. Nothing else has to run. These variables are read:

* PORT and SECRET_KEY;
* MEMCACHED, the memcached server, by default ``127.0.0.1:11211``;
* REDIS_URL, the Redis or Valkey server, by default ``redis://127.0.0.1:6379/0``;
* DATASTORE_EMULATOR_HOST for the Datastore emulator, or GOOGLE_CLOUD_PROJECT for Datastore.

Here everything is put together; each other module has one concern:

* ``base``: what all handlers have in common; ``forms``: tokens against forged forms;
* ``sign_in``: signing in, being remembered, signing out;
* ``account``: where one is signed in, signing out there, another password; ``passwords``: theirs;
* ``shop``: the cart; ``backends``: sessions in several places, side by side;
* ``inspector``: the page that looks inside, with ``cookie_view`` and ``record_view``, which take
  apart what browser and server hold, and ``words``, which says it;
* ``places``: where a session can be; ``probes``: which of these answer now; ``stores``: the two
  session stores of a request, and what they know of users;
* ``files``: style sheet and icon.
"""

from __future__ import annotations

import logging
import os
import secrets

import account
import backends
import files
import inspector
import places
import shop
import sign_in
import stores
import waitress
import webapp2
from passwords import Passwords

#: Seconds after which a session that was not written is over. "Remember me" goes before it.
SESSION_SECONDS = 8 * 3600


def make_app(
    secret_key: str,
    memcached: str = "127.0.0.1:11211",
    project: str | None = None,
    probe_seconds: float = 3.0,
    redis_url: str = "redis://127.0.0.1:6379/0",
) -> webapp2.WSGIApplication:
    """The WSGI application.

    Args:
        secret_key: signs and encrypts the cookies.
        memcached: the memcached server, as ``host:port``.
        project: the Google Cloud project; the emulator takes any, so it may be None there.
        probe_seconds: how long the answer of a probe is used again.
        redis_url: the Redis or Valkey server.
    """
    passwords = Passwords()
    all_places = places.all_places(memcached, redis_url, project, probe_seconds)
    common = {
        "secret_key": secret_key,
        "session_max_age": SESSION_SECONDS,
        # With HTTPS add "secure": True.
        "cookie_args": {"path": "/", "httponly": True, "samesite": "lax"},
        # Of messages that nobody comes to read, these many are kept.
        "max_flashes": 5,
        # A backend is imported when a session of it is opened for the first time, so these three
        # cost nothing where they are not used.
        "memcache": {"servers": [memcached]},
        "redis": {"url": redis_url},
        "datastore": {"project": project or places.EMULATED_PROJECT, "timeout": 2.0},
    }
    app = webapp2.WSGIApplication(
        [
            ("/", shop.ShopHandler),
            ("/cart", shop.CartHandler),
            ("/sign-in", sign_in.SignInHandler),
            ("/sign-out", sign_in.SignOutHandler),
            ("/leave", sign_in.LeaveHandler),
            ("/account", account.AccountHandler),
            ("/account/end", account.EndHandler),
            ("/account/end-all", account.EndAllHandler),
            ("/account/password", account.PasswordHandler),
            ("/backends", backends.BackendsHandler),
            ("/backends/use", backends.UseHandler),
            ("/backends/count", backends.CountHandler),
            ("/inspector", inspector.InspectorHandler),
            ("/inspector/renew", inspector.RenewHandler),
            ("/inspector/destroy", inspector.DestroyHandler),
            (r"/(style\.css|icon\.svg)", files.FileHandler),
        ],
        config=stores.configured(common, all_places.values(), passwords.stamp),
    )
    app.registry["passwords"] = passwords
    app.registry["places"] = all_places
    app.registry["servers"] = {
        "memcached": memcached,
        "redis_url": redis_url,
        "project": project,
    }
    return app


if __name__ == "__main__":
    app = make_app(
        # A key made at start is good for a demonstration only: with the next start, or in a
        # second process, there is another one, and all sessions signed with the first are void.
        os.environ.get("SECRET_KEY") or secrets.token_hex(32),
        memcached=os.environ.get("MEMCACHED", "127.0.0.1:11211"),
        project=os.environ.get("GOOGLE_CLOUD_PROJECT"),
        redis_url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
