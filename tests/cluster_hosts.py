"""Hosts that are network namespaces of this kernel, each plugged into a bridge."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["Network", "network"]

WHY = "needs Linux, the command `ip` and the right to make network namespaces"


class Network:
    """Some hosts. The switch between them is a namespace of its own: nothing of ours is outside.

    :param hosts: their names, which need to be unique among them only
    """

    def __init__(self, *hosts: str) -> None:
        self._run = f"aw-{secrets.token_hex(4)}"
        self._hosts = hosts
        self._made: list[str] = []  # namespaces

    def address(self, host: str) -> str:
        """The IP address of a host."""
        return f"10.77.0.{self._hosts.index(host) + 1}"

    def at(self, host: str) -> list[str]:
        """What to put before a command to run it on a host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def link(self, host: str, state: str) -> None:
        """Set the link of a host ``up`` or ``down``."""
        ip("-n", self._namespace(host), "link", "set", "eth0", state)

    def make(self) -> None:
        """Make the hosts, and connect them."""
        switch = self._add("switch")
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for host in self._hosts:
            name, port = self._add(host), f"to-{host}"
            cable = ["type", "veth", "peer", "name", "eth0", "netns", name]
            ip("-n", switch, "link", "add", port, *cable)
            ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            self.link(host, "up")

    def remove(self) -> None:
        """Remove what there is of it: with a namespace goes what is in it."""
        while self._made:
            ip("netns", "delete", self._made.pop())

    def _add(self, host: str) -> str:
        name = self._namespace(host)
        ip("netns", "add", name)
        self._made.append(name)
        return name

    def _namespace(self, host: str) -> str:
        return f"{self._run}-{host}"


@contextmanager
def network(*hosts: str) -> Iterator[Network]:
    """Have a network in the block; leave the test out where that is not allowed."""
    if shutil.which("ip") is None:
        pytest.skip(f"{WHY}: there is no `ip` here")
    net = Network(*hosts)
    try:
        try:
            net.make()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"{WHY}: `{' '.join(exc.cmd)}` says: {exc.stderr.strip()}")
        yield net
    finally:
        net.remove()


def ip(*args: str) -> str:
    """Run ``ip``."""
    command = ["ip", *args]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    return done.stdout
