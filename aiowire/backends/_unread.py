"""How much input waits at a descriptor: a value that changes when some of it is read.

For streams that is the count of unread bytes, which the system tells. For a datagram socket it
tells the size of the next datagram only, so the content of that is looked at too. For a
listening TCP socket Linux tells how many callers wait. For all else, and for other listening
sockets, there is nothing.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import sys
import termios
from typing import Any

__all__ = ["Unread"]

# In Linux's struct tcp_info, which starts with 8 bytes and 4 numbers; of a listening socket it
# is the length of the queue of callers.
TCPI_UNACKED = 24


class Unread:
    """The unread input at one descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._count = self._count_bytes
        self._is_marked = False  # whether input below some amount is not told of
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as sock:
                self._is_marked = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) > 1
                if sock.type != socket.SOCK_STREAM:
                    self._count = self._next_datagram
                elif sys.platform == "linux" and sock.getsockopt(
                    socket.SOL_SOCKET, socket.SO_ACCEPTCONN
                ):
                    self._count = self._count_callers

    def count(self) -> Any:
        """Give a value that is another one when something was read; 0 and ``None`` tell nothing."""
        try:
            return self._count()
        except OSError:
            return None

    @property
    def is_bytes(self) -> bool:
        """Whether the value is the number of bytes that there are to read."""
        return self._count == self._count_bytes and not self._is_marked

    @property
    def is_exact(self) -> bool:
        """Whether the value stays the same only if nothing was read, or as much has come."""
        return self._count != self._next_datagram

    def _count_bytes(self) -> int:
        number: int = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4))[0]
        return number

    def _next_datagram(self) -> Any:
        if not self._count_bytes():
            return 0
        with socket.socket(fileno=os.dup(self._fd)) as sock:
            return sock.recvfrom(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT)

    def _count_callers(self) -> int:
        with socket.socket(fileno=os.dup(self._fd)) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCPI_UNACKED + 4)
        number: int = struct.unpack_from("I", info, TCPI_UNACKED)[0]
        return number
