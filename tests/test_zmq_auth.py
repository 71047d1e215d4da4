"""PLAIN and CURVE: who has no right to a socket gets nothing, and the others are served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import zmq
from zmq.auth import create_certificates
from zmq.auth.thread import AuthenticationThread, ThreadAuthenticator

from aiowire import Poller
from aiowire.zmq import Context, Socket

from .support import run_to_end

TCP = "tcp://127.0.0.1"

Options = dict[str, Any]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert not [each for each in threading.enumerate() if isinstance(each, AuthenticationThread)]


@contextmanager
def authenticator(context: Context) -> Iterator[ThreadAuthenticator]:
    """The authenticator of pyzmq, in its thread, for the sockets of this context."""
    plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(context.underlying)
    thread = ThreadAuthenticator(plain)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def open_socket(context: Context, kind: int, options: Options) -> Socket:
    socket = context.socket(kind)
    socket.linger = 0
    socket.sndtimeo = socket.rcvtimeo = 500
    for name, value in options.items():
        setattr(socket, name, value)
    return socket


async def what_gets_through(
    context: Context, server: Options, clients: dict[str, Options]
) -> set[str]:
    """Let each client send its name, and give the names that are answered."""
    guard = {"zap_domain": b"test", "zap_enforce_domain": 1, **server}
    answered: set[str] = set()
    with open_socket(context, zmq.ROUTER, guard) as router:
        place = f"{TCP}:{router.bind_to_random_port(TCP)}"

        async def answer() -> None:
            router.rcvtimeo = -1
            while True:
                await router.send_multipart(await router.recv_multipart())

        async def ask(name: str, options: Options) -> None:
            with open_socket(context, zmq.DEALER, options) as socket:
                socket.connect(place)
                with suppress(zmq.Again):
                    await socket.send_string(name)  # no room where it was turned away already
                    answered.add(await socket.recv_string())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(answer)
                async with anyio.create_task_group() as asking:
                    for name, options in clients.items():
                        asking.start_soon(ask, name, options)
                group.cancel_scope.cancel()
    return answered


async def test_plain_lets_those_in_who_know_their_password() -> None:
    with Context() as context, authenticator(context) as thread:
        thread.configure_plain("test", {"ann": "secret", "bob": "other"})
        clients: dict[str, Options] = {
            "unknown": {"plain_username": b"cid", "plain_password": b"secret"},
            "wrong": {"plain_username": b"ann", "plain_password": b"other"},
            "nobody": {},
            "ann": {"plain_username": b"ann", "plain_password": b"secret"},
            "bob": {"plain_username": b"bob", "plain_password": b"other"},
        }
        through = await what_gets_through(context, {"plain_server": True}, clients)
    assert through == {"ann", "bob"}


async def test_curve_lets_those_in_whose_keys_are_in_a_folder(tmp_path: Path) -> None:
    create_certificates(tmp_path, "ann")
    (tmp_path / "ann.key_secret").unlink()
    create_certificates(tmp_path, "bob")
    public, secret = pair_in(tmp_path / "bob.key_secret")
    server, server_secret = zmq.curve_keypair()
    other, other_secret = zmq.curve_keypair()
    ann, _ = pair_in(tmp_path / "ann.key")
    with Context() as context, authenticator(context) as thread:
        thread.configure_curve("test", tmp_path)
        clients = {
            "unknown": keys(other, other_secret, server),
            "forged": keys(ann, other_secret, server),
            "wrong server": keys(public, secret, other),
            "nobody": {},
            "bob": keys(public, secret, server),
        }
        options = {"curve_server": True, "curve_secretkey": server_secret}
        assert await what_gets_through(context, options, clients) == {"bob"}


async def test_without_an_authenticator_an_enforced_domain_lets_nobody_in() -> None:
    server, server_secret = zmq.curve_keypair()
    with Context() as context:
        options = {"curve_server": True, "curve_secretkey": server_secret}
        clients = {"ann": keys(*zmq.curve_keypair(), server)}
        assert await what_gets_through(context, options, clients) == set()


async def test_a_poller_reads_a_guarded_socket() -> None:
    got: list[list[bytes]] = []
    with Context() as context, authenticator(context) as thread:
        thread.configure_plain("test", {"ann": "secret"})
        options = {"plain_server": True, "zap_domain": b"test"}
        with (
            open_socket(context, zmq.PULL, options) as pull,
            open_socket(context, zmq.PUSH, {"plain_username": b"eve"}) as eve,
            open_socket(
                context, zmq.PUSH, {"plain_username": b"ann", "plain_password": b"secret"}
            ) as ann,
        ):
            place = f"{TCP}:{pull.bind_to_random_port(TCP)}"
            for socket in eve, ann:
                socket.connect(place)

            async def read(ev: object) -> None:
                got.append(await pull.recv_multipart())
                if len(got) == 3:
                    poller.shutdown()

            async def send(socket: Socket, text: bytes) -> None:
                for _ in range(3):
                    await socket.send(text)

            poller = Poller({pull: read})
            async with anyio.create_task_group() as group:
                group.start_soon(send, eve, b"from eve")
                group.start_soon(send, ann, b"from ann")
                await run_to_end(poller)
                group.cancel_scope.cancel()
    assert got == [[b"from ann"]] * 3


def keys(public: bytes, secret: bytes, server: bytes) -> Options:
    """The keys of a client, as options of its socket."""
    return {"curve_publickey": public, "curve_secretkey": secret, "curve_serverkey": server}


def pair_in(file: Path) -> tuple[bytes, bytes]:
    """The keys in a file."""
    public, secret = zmq.auth.load_certificate(file)
    return public, secret or b""
