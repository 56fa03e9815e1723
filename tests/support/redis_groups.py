"""Several Redis servers that belong together: a cluster, and a primary that Sentinel watches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from support.processes import HOST, free_port, wait_until
from support.servers import Redis, ServerError

__all__ = ["Cluster", "Watched"]

#: Seconds within which servers have found each other, and a failover is done.
PATIENCE = 30.0

#: How many slots a cluster has.
_SLOTS = 16384

Launch = Callable[[Redis], Redis]


class _Node(Redis):
    """One server of a cluster."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.bus_port = free_port()

    def command(self, folder: Path) -> list[str]:
        """With a port for the other ones."""
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
        # A part of the keys is better than none.
        partly = ["--cluster-require-full-coverage", "no", "--cluster-node-timeout", "2000"]
        return [*super().command(folder), *cluster, *partly]


class Cluster:
    """Three servers, each of which has a third of the keys.

    :param launch: starts a server, and stops it after the test.
    """

    def __init__(self, launch: Launch) -> None:
        self.nodes = [launch(_Node()) for _ in range(3)]
        ends = [_SLOTS * number // 3 for number in range(4)]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", ends[number], ends[number + 1] - 1)
            assert isinstance(node, _Node)
            self.nodes[0].ask("CLUSTER", "MEET", HOST, node.port, node.bus_port)
        if not wait_until(lambda: all(map(self._is_complete, self.nodes)), PATIENCE):
            raise ServerError("the nodes of the cluster did not find each other")

    @staticmethod
    def _is_complete(node: Redis) -> bool:
        """Return whether a node knows who has which slots."""
        state = node.ask("CLUSTER INFO")["cluster_state"]
        return bool(state == "ok") and len(node.ask("CLUSTER", "SLOTS")) == 3

    def client(self, **options: Any) -> Any:
        """Return a client of the application's own."""
        return redis.RedisCluster(host=HOST, port=self.nodes[0].port, **options)

    def node_of(self, key: str) -> Redis:
        """Return the server that has a key."""
        slot = self.nodes[0].ask("CLUSTER", "KEYSLOT", key)
        return self.nodes[min(2, slot * 3 // _SLOTS)]


class _Sentinel(Redis):
    """A Sentinel that watches one primary."""

    def __init__(self, primary: Redis, quorum: int) -> None:
        super().__init__()
        self.primary = primary
        self.quorum = quorum

    def command(self, folder: Path) -> list[str]:
        """It needs a file that it can write."""
        configuration = folder / "sentinel.conf"
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"dir {folder}",
            f"sentinel monitor shop {HOST} {self.primary.port} {self.quorum}",
            "sentinel down-after-milliseconds shop 500",
            "sentinel failover-timeout shop 3000",
        ]
        configuration.write_text("".join(f"{line}\n" for line in lines), "ascii")
        return [self.program, str(configuration), "--sentinel"]


class Watched:
    """A primary and its replica, watched by three Sentinels.

    :param launch: starts a server, and stops it after the test.
    """

    def __init__(self, launch: Launch) -> None:
        self.primary = launch(Redis())
        follow = ("--replicaof", f"{HOST} {self.primary.port}")
        self.primary.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        self.replica = launch(Redis(*follow, "--repl-diskless-sync-delay", "0"))
        self.sentinels = [launch(_Sentinel(self.primary, quorum=2)) for _ in range(3)]
        if not wait_until(self._is_ready, PATIENCE):
            raise ServerError("the Sentinels did not find each other")

    def _is_ready(self) -> bool:
        """Return whether each Sentinel knows the other two and the replica, which follows."""
        for sentinel in self.sentinels:
            state = sentinel.ask("SENTINEL MASTER", "shop")
            if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                return False
        found = self.replica.ask("INFO", "replication")
        return bool(found["master_link_status"] == "up")

    def client(self, **options: Any) -> Any:
        """Return a client of the application's own."""
        addresses = [(HOST, sentinel.port) for sentinel in self.sentinels]
        return redis.Sentinel(addresses, sentinel_kwargs=options).master_for("shop", **options)

    def replicate(self) -> None:
        """Wait until the replica has all that the primary has."""
        self.primary.ask("PING")
        wanted = self.primary.ask("INFO", "replication")["master_repl_offset"]

        def has_all() -> bool:
            return bool(self.replica.ask("INFO", "replication")["slave_repl_offset"] >= wanted)

        assert wait_until(has_all, PATIENCE)

    def cut_off(self) -> None:
        """Let nothing more reach the replica, until it is told to follow again."""
        self.replica.freeze()
        self.primary.ask("CLIENT", "KILL", "TYPE", "replica")

    def fail_over(self) -> None:
        """Kill the primary, and wait until the replica has taken its place."""
        self.primary.kill()
        with contextlib.suppress(ServerError):
            self.replica.thaw()
        assert wait_until(lambda: self.replica.ask("ROLE")[0] == b"master", PATIENCE)
