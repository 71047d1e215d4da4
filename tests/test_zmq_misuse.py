"""Awaitable sockets that are closed while tasks wait, misused, or left behind."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest
import zmq

import aiowire.zmq
from aiowire.backends import _owned
from aiowire.zmq import Context, Socket

from .support import Log, immediately, on_asyncio, open_descriptors

#: Every coroutine, called so that nothing but the socket can be wrong.
CALLS: dict[str, Callable[[Socket], Any]] = {
    "recv": lambda s: s.recv(),
    "recv without a copy": lambda s: s.recv(copy=False),
    "recv_multipart": lambda s: s.recv_multipart(),
    "recv_string": lambda s: s.recv_string(),
    "recv_json": lambda s: s.recv_json(),
    "recv_pyobj": lambda s: s.recv_pyobj(),
    "recv_serialized": lambda s: s.recv_serialized(lambda parts: parts),
    "recv_into": lambda s: s.recv_into(bytearray(9)),
    "recv at once": lambda s: s.recv(zmq.DONTWAIT),
    "send": lambda s: s.send(b"x"),
    "send_multipart": lambda s: s.send_multipart([b"a", b"b"]),
    "send_string": lambda s: s.send_string("x"),
    "send_json": lambda s: s.send_json(1),
    "send_pyobj": lambda s: s.send_pyobj(1),
    "send_serialized": lambda s: s.send_serialized(b"x", lambda x: [x]),
    "send at once": lambda s: s.send(b"x", zmq.DONTWAIT),
    "poll": lambda s: s.poll(),
    "poll for room": lambda s: s.poll(None, zmq.POLLOUT),
    "poll at once": lambda s: s.poll(0),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
WAITING = {name: call for name, call in CALLS.items() if "at once" not in name}
waiting_calls = pytest.mark.parametrize("call", WAITING.values(), ids=WAITING)

#: What is called as ever.
PLAIN_CALLS: dict[str, Callable[[Socket], Any]] = {
    "get": lambda s: s.get(zmq.EVENTS),
    "an attribute": lambda s: s.rcvtimeo,
    "set": lambda s: s.set(zmq.RCVTIMEO, -1),
    "an attribute to set": lambda s: setattr(s, "rcvtimeo", -1),
    "bind": lambda s: s.bind("inproc://another"),
    "unbind": lambda s: s.unbind("inproc://test"),
    "connect": lambda s: s.connect("inproc://test"),
    "disconnect": lambda s: s.disconnect("inproc://test"),
    "monitor": lambda s: s.monitor("inproc://monitor"),
    "get_monitor_socket": lambda s: s.get_monitor_socket(),
}
plain_calls = pytest.mark.parametrize("call", PLAIN_CALLS.values(), ids=PLAIN_CALLS)


@contextmanager
def full_pair() -> Iterator[tuple[Socket, Socket]]:
    """A socket that can neither send nor receive, and the peer that can help it."""
    with (
        Context() as context,
        context.socket(zmq.PAIR) as socket,
        context.socket(zmq.PAIR) as peer,
    ):
        socket.hwm = peer.hwm = 1
        socket.bind("inproc://test")
        peer.connect("inproc://test")
        plain = zmq.Socket(socket)
        with suppress(zmq.Again):
            while True:
                plain.send(b"first", zmq.DONTWAIT)
        yield socket, peer


def drain(socket: Socket) -> list[list[bytes]]:
    """Receive all there is."""
    messages = []
    with suppress(zmq.Again):
        while True:
            messages.append(zmq.Socket(socket).recv_multipart(zmq.DONTWAIT))
    return messages


async def parked(socket: Socket, n: int = 1) -> None:
    """Wait until so many tasks wait for a socket."""
    while len(socket._waiters) != n:
        await anyio.lowlevel.checkpoint()


async def failure(log: Log, call: Callable[[Socket], Any], socket: Socket) -> None:
    """Note what a call raises."""
    try:
        log.append(await call(socket))
    except Exception as exc:
        log.append(exc)


def name_of(socket: Socket) -> str:
    return repr(socket).removesuffix(" closed>").removesuffix(">")


def assert_closed(exc: Any, socket: Socket) -> None:
    assert type(exc) is anyio.ClosedResourceError
    assert name_of(socket) in str(exc)
    assert "was closed" in str(exc)


# Closed.


@pytest.mark.parametrize("linger", [None, 0, 10])
async def test_closing_a_socket_wakes_everybody_who_waits_for_it(linger: int | None) -> None:
    log = Log()
    waiting = [call for name, call in CALLS.items() if "at once" not in name]
    with full_pair() as (socket, _):
        async with anyio.create_task_group() as tasks:
            for call in waiting * 2:
                tasks.start_soon(failure, log, call, socket)
            await parked(socket, len(waiting) * 2)
            socket.close(linger)
            await immediately(lambda: log.reach(len(waiting) * 2))
        assert socket.closed
        assert len(socket._waiters) == 0
    for exc in log:
        assert_closed(exc, socket)


@waiting_calls
async def test_who_waits_alone_is_woken_when_the_socket_is_closed(call: Any) -> None:
    log = Log()
    with full_pair() as (socket, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failure, log, call, socket)
            await parked(socket)
            socket.close()
            socket.close()
            await immediately(lambda: log.reach(1))
    assert_closed(log[0], socket)


@pytest.mark.parametrize("times", range(10))
async def test_a_socket_is_closed_by_a_task_that_was_just_woken(times: int) -> None:
    log = Log()
    with full_pair() as (socket, peer):

        async def receive_and_close() -> None:
            await socket.recv()
            for _ in range(times % 3):
                await anyio.lowlevel.checkpoint()
            socket.close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive_and_close)
            await parked(socket)
            for _ in range(3):
                tasks.start_soon(failure, log, CALLS["recv"], socket)
            await parked(socket, 4)
            drain(peer)
            for _ in range(2):
                zmq.Socket(peer).send(b"x")
            await immediately(lambda: log.reach(3))
    closed = [exc for exc in log if exc != b"x"]
    assert len(closed) >= 2
    for exc in closed:
        assert_closed(exc, socket)


@calls
@pytest.mark.parametrize("was_used", [False, True])
async def test_a_closed_socket_cannot_be_used(call: Any, was_used: bool) -> None:
    with full_pair() as (socket, _):
        if was_used:
            await socket.poll(1)
        socket.close()
        with pytest.raises(anyio.ClosedResourceError) as caught, anyio.fail_after(1):
            await call(socket)
    assert_closed(caught.value, socket)


@plain_calls
def test_what_is_not_awaited_fails_on_a_closed_socket_as_pyzmq_does(call: Any) -> None:
    with full_pair() as (socket, _):
        socket.close()
        with pytest.raises(zmq.ZMQError, match=r"on non-socket|not supported"):
            call(socket)
        socket.close()


async def test_a_socket_that_was_closed_by_another_name_is_closed() -> None:
    with full_pair() as (socket, _):
        await socket.poll(1)
        zmq.Socket(socket).close()
        assert socket.closed
        assert socket._waiters._fd >= 0
        socket.close()
        assert socket._waiters._fd == -1


# Threads.


def in_thread(call: Callable[[], Any]) -> Any:
    """Call in another thread; give what is returned, or raised."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as exc:
            results.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


@calls
async def test_a_socket_is_not_awaited_in_another_thread(call: Any, anyio_backend: Any) -> None:
    name, options = anyio_backend
    with full_pair() as (socket, _):
        await socket.poll(1)  # so it belongs to this thread
        run = lambda: anyio.run(call, socket, backend=name, backend_options=options)  # noqa: E731
        exc = in_thread(run)
        assert type(exc) is RuntimeError
        assert name_of(socket) in str(exc)
        assert "belongs to another thread" in str(exc)
        assert len(socket._waiters) == 0


@plain_calls
async def test_a_socket_is_not_called_in_another_thread(call: Any) -> None:
    with full_pair() as (socket, _):
        await socket.poll(1)
        exc = in_thread(lambda: call(socket))
        assert type(exc) is RuntimeError
        assert "belongs to another thread" in str(exc)


async def test_what_another_thread_tries_disturbs_nobody(anyio_backend: Any) -> None:
    log = Log()
    name, options = anyio_backend
    with full_pair() as (socket, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failure, log, CALLS["recv"], socket)
            await parked(socket)
            for call in (
                socket.close,
                socket.refresh,
                lambda: anyio.run(socket.recv, backend=name, backend_options=options),
                *(lambda call=call: call(socket) for call in PLAIN_CALLS.values()),
            ):
                assert type(in_thread(call)) is RuntimeError
            assert len(socket._waiters) == 1
            assert not socket.closed
            drain(peer)
            await peer.send(b"x")
            await immediately(lambda: log.reach(1))
    assert log == [b"x"]


async def test_a_socket_belongs_to_the_thread_that_awaits_it_first(anyio_backend: Any) -> None:
    name, options = anyio_backend
    with full_pair() as (socket, _):
        run = lambda: anyio.run(socket.poll, 1, backend=name, backend_options=options)  # noqa: E731
        assert in_thread(run) == 0
        with pytest.raises(RuntimeError, match="belongs to another thread"):
            await socket.recv()


async def test_nobody_waits_so_any_thread_may_close_a_socket() -> None:
    with full_pair() as (socket, _):
        await socket.poll(1)
        assert in_thread(socket.close) is None
        assert socket.closed
        assert socket._waiters._fd == -1


# Event loops.


def test_a_socket_is_used_in_one_event_loop_after_another(anyio_backend: Any) -> None:
    name, options = anyio_backend

    async def exchange() -> None:
        log = Log()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failure, log, CALLS["recv"], socket)
            await parked(socket)
            await peer.send(b"x")
        assert log == [b"x"]

    async def give_up() -> None:
        async with anyio.create_task_group() as tasks:
            for call in (socket.recv, socket.poll, socket.recv_json):
                tasks.start_soon(call)
            await parked(socket, 3)
            tasks.cancel_scope.cancel()

    with full_pair() as (socket, peer):
        drain(peer)
        for program in (exchange, give_up, exchange, exchange, give_up):
            anyio.run(program, backend=name, backend_options=options)
            assert len(socket._waiters) == len(peer._waiters) == 0


def test_one_event_loop_after_another_may_be_of_another_kind(anyio_backend: Any) -> None:
    name, options = anyio_backend
    with full_pair() as (socket, _):
        for _ in range(2):
            assert anyio.run(socket.poll, 1) == 0
            assert anyio.run(socket.poll, 1, backend=name, backend_options=options) == 0


def test_a_socket_is_not_awaited_while_tasks_of_another_event_loop_wait() -> None:
    with full_pair() as (socket, peer):
        drain(peer)
        one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
        try:
            receiving = one.create_task(socket.recv())
            one.run_until_complete(parked(socket))
            for call in (socket.recv, socket.poll):
                with pytest.raises(RuntimeError, match="another event loop"):
                    other.run_until_complete(call())
            assert len(socket._waiters) == 1
            other.run_until_complete(peer.send(b"x"))
            assert one.run_until_complete(asyncio.wait_for(receiving, 5)) == b"x"
            with pytest.raises(zmq.Again):
                other.run_until_complete(socket.recv(zmq.DONTWAIT))
        finally:
            one.close()
            other.close()


# Forks.

FORK = """
import os
import sys
import time
import warnings

import anyio
import zmq

import aiowire.zmq
from anyio.lowlevel import checkpoint

warnings.simplefilter("ignore")  # Python 3.12 warns of forks while there are threads
backend, when = sys.argv[1:]


async def use(socket, text="before the process was forked"):
    for call in (socket.recv, socket.recv_json, socket.poll, lambda: socket.send(b"x"),
                 lambda: socket.recv(zmq.DONTWAIT)):
        try:
            await call()
        except RuntimeError as exc:
            assert text in str(exc), exc
        else:
            raise AssertionError(call)
    for call in (lambda: socket.get(zmq.EVENTS), lambda: socket.bind("inproc://b"),
                 socket.refresh, lambda: setattr(socket, "rcvtimeo", 1)):
        try:
            call()
        except RuntimeError as exc:
            assert "before the process was forked" in str(exc), exc
            assert "zmq.PULL" in str(exc), exc
        else:
            raise AssertionError(call)


async def exchange():
    with aiowire.zmq.Context() as context:
        with context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
            assert "zmq.PAIR" in repr(one), one
            one.bind("inproc://own")
            other.connect("inproc://own")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.recv)
                while not one._waiters:
                    await checkpoint()
                await other.send(b"x")


def child(steps):
    status = 1
    try:
        start = time.monotonic()
        steps()
        seconds = time.monotonic() - start
        assert seconds < 0.5, seconds
        status = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)


def drive(coroutine):
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    else:
        raise AssertionError("it waits")


async def main(socket, peer):
    if when == "parked":
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(socket.recv)
            while not socket._waiters:
                await checkpoint()
            if not (pid := os.fork()):
                child(lambda: drive(refused_at_once(socket)))
            assert os.waitpid(pid, 0)[1] == 0
            await peer.send(b"for the parent")
    if when == "used":
        await socket.poll(1)
    if when != "parked":
        if not (pid := os.fork()):
            child(lambda: drive(refused_at_once(socket)))
        assert os.waitpid(pid, 0)[1] == 0


async def refused_at_once(socket):
    # A turn for other tasks would be given before the error, if it was time for one. And on asyncio
    # the error may be that there is no loop any more.
    socket._waiters._until = float("inf")
    await use(socket, "")


with aiowire.zmq.Context() as context:
    with context.socket(zmq.PULL) as socket, context.socket(zmq.PUSH) as peer:
        socket.bind("inproc://test")
        peer.connect("inproc://test")
        anyio.run(main, socket, peer, backend=backend)
        if not (pid := os.fork()):
            child(lambda: (anyio.run(use, socket, backend=backend),
                           anyio.run(exchange, backend=backend),
                           socket.close(), peer.close(), context.term()))
        assert os.waitpid(pid, 0)[1] == 0
        anyio.run(peer.send, b"x", backend=backend)
        assert anyio.run(socket.recv, backend=backend) == b"x"
print("done")
"""


@pytest.mark.parametrize("when", ["never used", "used", "parked"])
def test_a_socket_is_not_used_after_a_fork(anyio_backend: Any, when: str) -> None:
    command = [sys.executable, "-c", FORK, anyio_backend[0], when]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["done"], "")


# Sockets that cannot be awaited.


@pytest.fixture
def without_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no socket have a descriptor, as those that threads may share have none."""
    real_get = zmq.Socket.get

    def get(self: Any, option: int) -> Any:
        if option == zmq.FD:
            raise zmq.ZMQError(zmq.EINVAL)
        return real_get(self, option)

    monkeypatch.setattr(zmq.Socket, "get", get)


@pytest.mark.usefixtures("without_descriptor")
def test_a_socket_without_a_descriptor_is_refused_and_closed() -> None:
    context = Context()
    with pytest.raises(TypeError, match=r"zmq\.PAIR.*use it from a thread"):
        context.socket(zmq.PAIR)
    assert in_thread(context.term) is None  # it would wait for a socket that is open


@pytest.mark.usefixtures("without_descriptor")
def test_a_plain_socket_without_a_descriptor_stays_open() -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as plain:
        for make in (Socket, Socket.from_socket, Socket.shadow):
            with pytest.raises(TypeError, match="cannot be awaited"):
                make(plain)
        assert not plain.closed


# Nothing left.


async def test_a_socket_that_nobody_refers_to_is_closed_with_a_warning() -> None:
    with Context() as context:
        context.socket(zmq.PULL).close()  # the first starts the threads of the context
        before = open_descriptors()
        socket = context.socket(zmq.PULL)
        await socket.poll(1)
        await anyio.lowlevel.checkpoint()  # event loops keep the last exception until then
        gone = weakref.ref(socket)
        with pytest.warns(ResourceWarning, match="Unclosed socket"):  # noqa: PT031
            del socket
            gc.collect()
        assert gone() is None
        while not open_descriptors() <= before:  # ZeroMQ closes its own in another thread
            await anyio.lowlevel.checkpoint()


async def test_a_socket_is_kept_by_who_waits_for_it() -> None:
    log = Log()
    with full_pair() as (socket, peer):
        drain(peer)
        gone = weakref.ref(Socket(socket))
        gc.collect()
        assert gone() is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failure, log, CALLS["recv"], Socket(socket))
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
                gc.collect()
            zmq.Socket(peer).send(b"x")
            await immediately(lambda: log.reach(1))
    assert log == [b"x"]


@pytest.mark.parametrize("close", [False, True])
async def test_the_shadow_of_a_socket_leaves_nothing(close: bool) -> None:
    with full_pair() as (socket, _):
        await socket.poll(1)
        before = open_descriptors()
        for _ in range(3):
            shadow = Socket(socket)
            await shadow.poll(1)
            del shadow
            await anyio.lowlevel.checkpoint()
            gc.collect()
        assert open_descriptors() <= before
        assert not socket.closed
        if close:
            Socket(socket).close()
            assert socket.closed


async def test_nothing_is_left_when_tasks_are_cancelled() -> None:
    waiting = [call for name, call in CALLS.items() if "at once" not in name]
    with full_pair() as (socket, peer):
        await socket.poll(1)
        before = open_descriptors()
        for _ in range(5):
            async with anyio.create_task_group() as tasks:
                for call in waiting:
                    tasks.start_soon(call, socket)
                await parked(socket, len(waiting))
                tasks.cancel_scope.cancel()
            assert len(socket._waiters) == 0
            assert open_descriptors() == before
        n = len(drain(peer))
        assert n > 0
        await peer.send(b"x")
        assert await socket.recv() == b"x"
        await socket.send(b"y")
        assert await peer.recv() == b"y"


# Decoders that fail, and messages that change.


class Failing:
    """A pickle that raises what it is told."""

    def __reduce__(self) -> Any:
        return fail_to_load, ()


def fail_to_load() -> None:
    raise zmq.Again


def fail_with(exc: Exception) -> Callable[[Any], Any]:
    def decode(parts: Any) -> Any:
        raise exc

    return decode


DECODERS: dict[str, tuple[type[Exception], bytes, Callable[[Socket], Any]]] = {
    "json": (ValueError, b"{", lambda s: s.recv_json()),
    "json, Again": (zmq.Again, b"1", lambda s: s.recv_json(parse_int=fail_with(zmq.Again()))),
    "string": (UnicodeDecodeError, b"\xff", lambda s: s.recv_string()),
    "a wrong encoding": (LookupError, b"x", lambda s: s.recv_string(encoding="wrong")),
    "pyobj": (Exception, b"no pickle", lambda s: s.recv_pyobj()),
    "pyobj, Again": (
        zmq.Again,
        b"c" + __name__.encode() + b"\nfail_to_load\n)R.",
        lambda s: s.recv_pyobj(),
    ),
    "serialized": (KeyError, b"x", lambda s: s.recv_serialized(fail_with(KeyError(1)))),
    "serialized, Again": (zmq.Again, b"x", lambda s: s.recv_serialized(fail_with(zmq.Again()))),
    "serialized, closed": (
        zmq.ZMQError,
        b"x",
        lambda s: s.recv_serialized(fail_with(zmq.ZMQError(zmq.ENOTSOCK))),
    ),
    "serialized, no context": (
        zmq.ContextTerminated,
        b"x",
        lambda s: s.recv_serialized(fail_with(zmq.ContextTerminated())),
    ),
}


@pytest.mark.parametrize(("error", "data", "receive"), DECODERS.values(), ids=DECODERS)
@pytest.mark.parametrize("waits", [False, True])
async def test_a_decoder_that_fails_ends_the_call_and_nothing_else(
    error: type[Exception], data: bytes, receive: Any, waits: bool
) -> None:
    log = Log()
    with full_pair() as (socket, peer):
        drain(peer)
        async with anyio.create_task_group() as tasks:
            if waits:
                tasks.start_soon(failure, log, receive, socket)
                await parked(socket)
            await peer.send(data)
            if not waits:
                tasks.start_soon(failure, log, receive, socket)
            await immediately(lambda: log.reach(1))
        assert isinstance(log[0], error)
        assert len(socket._waiters) == 0
        await peer.send(b"next")
        assert await socket.recv() == b"next"


@pytest.mark.parametrize(
    "exc", [zmq.Again(), KeyError(1), zmq.ZMQError(zmq.ENOTSOCK), zmq.ContextTerminated()], ids=repr
)
async def test_a_serializer_that_fails_ends_the_call_and_nothing_else(exc: Exception) -> None:
    with full_pair() as (socket, peer):
        drain(peer)
        with pytest.raises(type(exc)), anyio.fail_after(1):
            await socket.send_serialized(1, fail_with(exc))
        await socket.send(b"next")
        assert await peer.recv() == b"next"


async def test_a_list_that_changes_while_it_waits_to_be_sent_is_sent_as_it_was() -> None:
    parts = [b"a", b"b"]
    with full_pair() as (socket, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(socket.send_multipart, parts)
            await parked(socket)
            parts.append(b"c")
            parts[0] = "no bytes"  # type: ignore[call-overload]
            del parts[1]
            with anyio.fail_after(5):
                while (message := await peer.recv_multipart()) == [b"first"]:
                    pass
        assert message == [b"a", b"b"]


# Cancelled by asyncio's own means.


@on_asyncio
@pytest.mark.parametrize("others", [0, 2])
async def test_a_task_that_asyncio_cancels_takes_no_message_along(others: int) -> None:
    log = Log()
    with full_pair() as (socket, peer):
        drain(peer)
        async with anyio.create_task_group() as tasks:
            task = asyncio.create_task(socket.recv())
            await parked(socket)
            for _ in range(others):
                tasks.start_soon(failure, log, CALLS["recv"], socket)
            await parked(socket, others + 1)
            await peer.send(b"x")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(others - 1):
                await peer.send(b"y")
            await immediately(lambda: log.reach(others))
            assert len(socket._waiters) == 0
        if not others:
            assert await socket.recv(zmq.DONTWAIT) == b"x"
    assert log == [b"x", b"y"][:others]


@on_asyncio
@pytest.mark.parametrize("turns", range(6))
async def test_a_message_is_received_or_stays_whenever_asyncio_cancels(turns: int) -> None:
    with full_pair() as (socket, peer):
        drain(peer)
        for n in range(50):
            task = asyncio.create_task(socket.recv())
            if n % 2:
                await parked(socket)
            await peer.send(b"%d" % n)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                message = await task
            except asyncio.CancelledError:
                message = await socket.recv(zmq.DONTWAIT)
            assert message == b"%d" % n
        assert len(socket._waiters) == 0


@on_asyncio
async def test_a_sender_that_asyncio_cancels_sends_nothing() -> None:
    with full_pair() as (socket, peer):
        task = asyncio.create_task(socket.send_multipart([b"a", b"b"]))
        await parked(socket)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert set(map(tuple, drain(peer))) == {(b"first",)}
        assert len(socket._waiters) == 0


@on_asyncio
async def test_a_timeout_of_asyncio_ends_a_call() -> None:
    with full_pair() as (socket, _):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.01)
        assert len(socket._waiters) == 0


def test_the_module_has_what_it_says() -> None:
    assert aiowire.zmq.__all__ == ["Context", "Poller", "Socket"]


def test_a_fork_leaves_all_sockets_to_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens in a child process, seen here."""
    monkeypatch.setattr(_owned, "everywhere", weakref.WeakSet())
    with Context() as context, context.socket(zmq.PAIR) as socket:
        _owned.after_fork()
        for call in (lambda: socket.bind("inproc://x"), lambda: anyio.run(socket.recv)):
            with pytest.raises(RuntimeError, match="before the process was forked"):
                call()
        socket._waiters.end(zmq.ZMQError(zmq.ENOTSOCK))
