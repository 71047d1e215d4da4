"""The gate of the job server: nobody comes in whose key it does not know.

It is ZeroMQ's own security, CURVE: whoever connects has to prove that a key is his, and that he
knows the server's; all that is sent is encrypted. The authenticator of pyzmq then asks for each
key whether it is welcome. It works in a thread of its own, whatever event loop the server has. A
connection that is turned away gets nothing, and no part of the server sees what it sent.

While there is no authenticator ZeroMQ would let everybody in who knows the server's key, without a
word. A domain that is enforced (``ZAP_ENFORCE_DOMAIN``) lets nobody in then. No keys are asked for
by ``inproc``, which cannot be reached from other processes.

Those who are let in are trusted: one of them may take the name (``IDENTITY``) of another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import anyio
import zmq
from job_keys import clients_in, secret_key
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import parse_monitor_message

from aiowire import Call, EventLoop, Forever
from aiowire.zmq import Context, Socket

__all__ = ["Deny", "Gate"]

#: Gets how many connections were turned away, and why.
Deny: TypeAlias = Callable[[int, str], object]

DOMAIN = "jobs"

#: Somebody without a key tries again many times a second; so often, in seconds, it is told.
INTERVAL = 1.0

FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

WRONG_KEYS = "it has another key for this server, or a key that is not its own"
NO_KEY = "it shows no key"
LEFT = "it left before it had shown a key"
NO_CLIENT = "it does not talk as a client does"
PROTOCOL: dict[int, str] = {
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: WRONG_KEYS,
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: NO_KEY,
}


class Gate:
    """Lets those in whose public keys are in a folder, and tells of the others.

    :param context: that of the sockets to guard, all of which must be closed before the gate is
    :param folder: where ``job_keys.py`` has made the keys
    :raises OSError: when the server's key cannot be read
    :raises ValueError: when others can read it, or it is no key

    Clients may be added to and taken from the folder at any time. Who is connected stays so.
    """

    def __init__(self, context: Context, folder: Path) -> None:
        self._key = secret_key(folder / "server.key_secret")
        self._clients = folder / "clients"
        self._unknown: deque[str] = deque(maxlen=100)  # written in the thread
        self._monitors: list[Socket] = []
        plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(shadow=context.underlying)
        self._authenticator = ThreadAuthenticator(plain)
        self._authenticator.configure_curve_callback(DOMAIN, self)

    def __enter__(self) -> Gate:
        try:
            self._authenticator.start()
        except BaseException:
            self._authenticator.stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for monitor in self._monitors:
            monitor.close()
        self._authenticator.stop()

    def guard(self, socket: Socket) -> None:
        """Guard a socket, before it listens anywhere."""
        socket.curve_server = True
        socket.curve_secretkey = self._key
        socket.zap_domain = DOMAIN.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._monitors.append(socket.get_monitor_socket(FAILURES))

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a key is welcome; called in the thread of the authenticator."""
        try:
            welcome = key in clients_in(self._clients)
        except OSError:  # which would end the thread
            welcome = False
        if not welcome:
            self._unknown.append(key.decode())
        return welcome

    async def watch(self, deny: Deny) -> None:
        """Tell of everybody who is turned away.

        *Cancellation* ends it; those of the last second are told.
        """
        async with EventLoop() as ev:
            for monitor in self._monitors:
                ev.start(Forever(Call(self._tell, monitor, deny)))

    async def _tell(self, monitor: Socket, deny: Deny) -> None:
        """Tell of the next one at once, and of how many come after it in an interval."""
        deny(1, await self._denial(monitor))
        number, why = 0, ""
        try:
            with anyio.move_on_after(INTERVAL):
                while True:
                    why = await self._denial(monitor)
                    number += 1
        finally:
            if number:
                deny(number, why)

    async def _denial(self, monitor: Socket) -> str:
        """Wait for a connection that is turned away, and give the reason."""
        message = parse_monitor_message(await monitor.recv_multipart())
        if message["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            key = self._unknown.popleft() if self._unknown else "?"
            return f"its key is unknown: {key}"
        if message["event"] == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return PROTOCOL.get(message["value"], NO_CLIENT)
        return LEFT
