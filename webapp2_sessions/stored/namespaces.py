"""The current namespace of google-cloud-ndb or the App Engine SDK.

Neither library is imported here: an application that has not loaded it has not set a namespace.
"""

from __future__ import annotations

import sys
from typing import Any

_NDB = "google.cloud.ndb"
_SDK = "google.appengine.api.namespace_manager"


def current_namespace() -> str:
    """Return the namespace of the active ndb context, or else App Engine's, or else ``""``.

    A context without an explicit namespace uses App Engine's, or else its client's.
    """
    get_context = getattr(sys.modules.get(_NDB), "get_context", None)
    context = None if get_context is None else get_context(raise_context_error=False)
    chosen = chosen_namespace(context)
    if chosen is not None:
        return chosen
    return "" if context is None else context.client.namespace or ""


def chosen_namespace(context: Any) -> str | None:
    """Return the explicit namespace of the active ndb context, or else App Engine's.

    ``None`` if neither is set, so that the client's namespace is used. ``""`` is the default
    namespace, which a context may choose explicitly.

    :param context: the active context, ``None`` if there is none.
    """
    if context is not None and isinstance(context.namespace, str):  # else a sentinel or None
        return context.namespace
    ask = getattr(sys.modules.get(_SDK), "get_namespace", None)
    return (ask() if ask is not None else None) or None
