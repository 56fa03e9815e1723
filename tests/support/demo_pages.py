"""The pages of the demo as they come, and the servers that it is told of."""

from __future__ import annotations

import html
import re

from support.servers import Memcached, Redis

__all__ = ["flashes_in", "levels_in", "nowhere", "options_of", "shelf_in"]


def nowhere() -> dict[str, str]:
    """Return the options that name servers, where none answers."""
    return options_of(Memcached()) | options_of(Redis())


def options_of(server: Memcached | Redis) -> dict[str, str]:
    """Return the option that names a server."""
    if isinstance(server, Redis):
        return {"redis_url": server.url}
    return {"memcached": server.address}


def flashes_in(page: str) -> list[tuple[str, str]]:
    """Return level and text of the messages on a page."""
    return re.findall(r'<li class="(\w+)"><b>\w+</b> (.*?)</li>', page)


def levels_in(page: str) -> list[str]:
    """Return the levels of the messages on a page."""
    return [level for level, _ in flashes_in(page)]


def shelf_in(page: str, place: str) -> str:
    """Return what the page of backends shows of a place, without markup."""
    found = re.search(rf'<section id="{place}".*?</section>', page, re.DOTALL)
    assert found, page
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found[0])).split())
