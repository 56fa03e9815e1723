"""Configurations of applications that run at one time."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["KINDS", "SETTLED", "USERS", "deployments"]

#: Backends of sessions. Those of one deployment share their servers.
_BACKENDS = ("securecookie", "encryptedcookie", "memcache", "datastore")

#: Kinds of worlds, by the backends that they have.
KINDS = {
    "cookies": ("securecookie", "encryptedcookie"),
    "memcached": ("securecookie", "encryptedcookie", "memcache", "memcache"),
    "Datastore": ("securecookie", "encryptedcookie", "datastore", "datastore", "memcache"),
    "Redis": ("securecookie", "encryptedcookie", "redis", "redis"),
    "Datastore and Redis": ("securecookie", "encryptedcookie", "datastore", "datastore", "redis"),
    "users in Redis": ("securecookie", "encryptedcookie", "redis", "redis", "redis"),
    "users in Datastore": ("securecookie", "memcache", "datastore", "datastore", "datastore"),
    "users in both": ("encryptedcookie", "datastore", "datastore", "redis", "redis"),
}

#: Those of them in which users sign in, and where it may be kept who was signed out.
USERS = {
    "users in Redis": ("redis",),
    "users in Datastore": ("datastore",),
    "users in both": ("datastore", "redis"),
}

#: Those whose model explains all that happens. That of users does not know yet that a sign-in asks
#: for the moment of the last sign-out, and of two at once.
SETTLED = [kind for kind in KINDS if kind not in USERS]

_base = st.fixed_dictionaries(
    {
        "first": st.sampled_from(_BACKENDS),
        "second": st.sampled_from(_BACKENDS),
        "key": st.just(0),
        "former_keys": st.just([]),
        "digest": st.sampled_from(["sha1", "sha256"]),
        "former_digests": st.just([]),
        "path": st.just("/"),
        "domain": st.sampled_from([None, "example.com"]),
        "former_paths": st.just([]),
        "session_max_age": st.sampled_from([None, 3600]),
        "refresh_after": st.sampled_from([None, 600]),
        "absolute_max_age": st.sampled_from([None, 7200]),
        "renewal_grace": st.sampled_from([10, 0]),
        "spill": st.sampled_from([None, "memcache", "datastore"]),
        "expires_damaged": st.booleans(),
        "merges": st.booleans(),
        "degrades": st.booleans(),
        "by_content": st.booleans(),
        "serializer": st.sampled_from(["pickle", "json"]),
        "cached": st.booleans(),
        "namespace": st.sampled_from([None, None, None, "fixed"]),
        "lacks_name": st.just(False),
        "begins_again": st.booleans(),
    }
)


def _next_key(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "key": 1, "former_keys": [0]}


def _next_digest(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "digest": "sha512", "former_digests": [settings["digest"]]}


def _next_path(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "path": "/app", "former_paths": ["/"]}


#: What a later version of an application may have changed.
_CHANGES = {
    "nothing": lambda settings: settings,
    "key": _next_key,
    "digest": _next_digest,
    "path": _next_path,
    "serializer": lambda settings: {**settings, "serializer": "json"},
    "merging": lambda settings: {**settings, "merges": True},
    "detection": lambda settings: {**settings, "by_content": True},
    "ages": lambda settings: {**settings, "absolute_max_age": 7200, "session_max_age": 1800},
    "spill": lambda settings: {**settings, "spill": settings["spill"] or "memcache"},
    "backend": lambda settings: {**settings, "first": _other(settings["first"])},
}


def _other(backend: str) -> str:
    return {"memcache": "datastore", "datastore": "memcache"}.get(backend, backend)


def _users(places: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw how users are followed, which is the same for all versions."""
    return st.fixed_dictionaries(
        {
            "followed": st.sampled_from([("session",), ("session", "cart")]),
            "stamps": st.booleans(),
            "revocation": st.sampled_from([None, *places]),
            "index": st.sampled_from([True, True, False]),
            "limit": st.sampled_from([None, None, 2, 1]),
        }
    )


@st.composite
def deployments(
    draw: st.DrawFn, backends: tuple[str, ...] = _BACKENDS, users: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Draw the settings of one to three applications, each a later version of the one before.

    :param users: where it may be kept which users were signed out; without any none are followed.
    """
    # One or the other: what is drawn is the same.
    uses_redis = "redis" in backends
    backends = tuple("memcache" if each == "redis" else each for each in backends)
    settings = draw(_base)
    if users:
        settings["users"] = draw(_users(users))
    for key in ("first", "second"):
        if settings[key] not in backends:
            settings[key] = draw(st.sampled_from(backends))
    if settings["spill"] not in (None, *backends):
        settings["spill"] = None
    versions = [settings]
    for change in draw(st.lists(st.sampled_from(sorted(_CHANGES)), max_size=2)):
        changed = _CHANGES[change](versions[-1])
        versions.append(changed if changed["first"] in backends else versions[-1])
    if settings["cached"] and any(version["key"] == 1 for version in versions):
        # As docs/keys.md has it: the new key is known everywhere before it signs. Who does not know
        # it reads Datastore instead of the cache, and sees a write before others do.
        versions = [
            version if version["key"] == 1 else {**version, "former_keys": [1]}
            for version in versions
        ]
    return [_in_redis(version) for version in versions] if uses_redis else versions


def _in_redis(settings: dict[str, Any]) -> dict[str, Any]:
    places = {key: settings[key] for key in ("first", "second", "spill")}
    return {**settings, **{key: "redis" for key in places if places[key] == "memcache"}}
