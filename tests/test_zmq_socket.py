"""The awaitable socket does what that of pyzmq does: every method, the options, the context."""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pytest
import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from aiowire.zmq import Context, Socket

from .support import Log, immediately

TCP = "tcp://127.0.0.1"


@pytest.fixture(scope="module", autouse=True)
def warm_up_zero_copy() -> None:
    """Let pyzmq start the thread that frees what is sent without a copy; it is there to stay."""
    zmq.Frame(b"x", copy=False, copy_threshold=0)


@contextmanager
def joined(
    kinds: tuple[int, int] = (zmq.PAIR, zmq.PAIR), **options: Any
) -> Iterator[tuple[Socket, Socket]]:
    """Two awaitable sockets with these options, connected to each other."""
    with Context() as context:
        for name, value in options.items():
            setattr(context, name, value)
        with context.socket(kinds[0]) as one, context.socket(kinds[1]) as other:
            one.bind("inproc://test")
            other.connect("inproc://test")
            yield one, other


async def parked(socket: Socket, n: int = 1) -> None:
    """Wait until so many tasks wait for a socket."""
    while len(socket._waiters) != n:
        await anyio.lowlevel.checkpoint()


async def fill(socket: Socket, message: list[bytes]) -> int:
    """Send until there is no more room; give back how often."""
    n = 0
    while True:
        try:
            await socket.send_multipart(message, zmq.DONTWAIT)
        except zmq.Again:
            return n
        n += 1


# The surface.


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


AWAITED = sorted(
    name
    for name in public(zmq.asyncio.Socket)
    if name.startswith(("recv", "send")) or name == "poll"
)


def test_the_list_of_awaited_methods_is_that_of_pyzmq() -> None:
    annotated = {
        name
        for cls in zmq.asyncio.Socket.__mro__[:-1]
        for name, method in vars(cls).items()
        if "Awaitable" in str(getattr(method, "__annotations__", {}).get("return", ""))
    }
    assert {name for name in annotated if not name.startswith("_")} <= set(AWAITED)
    assert len(AWAITED) >= 16


@pytest.mark.parametrize("name", AWAITED)
def test_what_pyzmq_awaits_is_a_coroutine(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Socket, name))


def test_nothing_else_is_a_coroutine() -> None:
    coroutines = {
        name for name in public(Socket) if inspect.iscoroutinefunction(getattr(Socket, name))
    }
    assert coroutines == set(AWAITED)


def test_every_public_name_of_pyzmq_is_there() -> None:
    assert public(zmq.asyncio.Socket) <= public(Socket)
    assert public(zmq.asyncio.Context) <= public(Context)


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    each = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in each]


OWN = [name for name in public(zmq.Socket) & set(vars(Socket)) if callable(getattr(Socket, name))]


@pytest.mark.parametrize("name", ["__init__", *sorted(OWN)])
def test_parameters_have_the_names_and_defaults_of_pyzmq(name: str) -> None:
    assert parameters(getattr(Socket, name)) == parameters(getattr(zmq.Socket, name))


def test_a_socket_names_its_class_and_kind() -> None:
    with joined((zmq.PUSH, zmq.PULL)) as (push, _):
        assert "aiowire.zmq" in repr(push)
        assert "zmq.PUSH" in repr(push)
        assert push.type == zmq.PUSH


# Sending and receiving.

Send = Callable[[Socket], Awaitable[Any]]

#: How something is sent, how it is received, and what is to come.
TRIPS: dict[str, tuple[Send, Send, Any]] = {
    "send": (lambda s: s.send(b"x"), lambda s: s.recv(), b"x"),
    "send by position": (
        lambda s: s.send(b"x", 0, False, True, None, None),
        lambda s: s.recv(0, True, False),
        b"x",
    ),
    "a memoryview": (lambda s: s.send(memoryview(b"x")), lambda s: s.recv(), b"x"),
    "a frame": (lambda s: s.send(zmq.Frame(b"x")), lambda s: s.recv(), b"x"),
    "nothing": (lambda s: s.send(b""), lambda s: s.recv(), b""),
    "a megabyte": (lambda s: s.send(bytes(1 << 20)), lambda s: s.recv(), bytes(1 << 20)),
    "multipart": (
        lambda s: s.send_multipart([b"a", bytearray(b"b"), zmq.Frame(b"c"), b""]),
        lambda s: s.recv_multipart(),
        [b"a", b"b", b"c", b""],
    ),
    "multipart without a copy": (
        lambda s: s.send_multipart([b"a", b"b"], copy=False, track=True),
        lambda s: s.recv_multipart(),
        [b"a", b"b"],
    ),
    "a tuple": (
        lambda s: s.send_multipart((b"a", b"b")),
        lambda s: s.recv_multipart(),
        [b"a", b"b"],
    ),
    "an iterator": (
        lambda s: s.send_multipart(iter([b"a", b"b"])),  # type: ignore[arg-type]
        lambda s: s.recv_multipart(),
        [b"a", b"b"],
    ),
    "string": (lambda s: s.send_string("é"), lambda s: s.recv_string(), "é"),
    "string, encoded": (
        lambda s: s.send_string("é", encoding="latin-1"),
        lambda s: s.recv_string(encoding="latin-1"),
        "é",
    ),
    "unicode": (lambda s: s.send_unicode("é"), lambda s: s.recv_unicode(), "é"),
    "json": (lambda s: s.send_json({"a": [1, None]}), lambda s: s.recv_json(), {"a": [1, None]}),
    "json with options": (
        lambda s: s.send_json({"b": 1.5}, sort_keys=True),
        lambda s: s.recv_json(parse_float=str),
        {"b": "1.5"},
    ),
    "pyobj": (lambda s: s.send_pyobj({1, 2}), lambda s: s.recv_pyobj(), {1, 2}),
    "pyobj, protocol": (
        lambda s: s.send_pyobj((1, b"2"), protocol=pickle.HIGHEST_PROTOCOL),
        lambda s: s.recv_pyobj(),
        (1, b"2"),
    ),
    "serialized": (
        lambda s: s.send_serialized("a b", lambda text: [t.encode() for t in text.split()]),
        lambda s: s.recv_serialized(lambda parts: b"+".join(parts)),
        b"a+b",
    ),
    "serialized, frames": (
        lambda s: s.send_serialized(b"ab", lambda data: [data], copy=False),
        lambda s: s.recv_serialized(lambda parts: [bytes(part) for part in parts], copy=False),
        [b"ab"],
    ),
}
trips = pytest.mark.parametrize(("send", "receive", "expected"), TRIPS.values(), ids=TRIPS)


@trips
async def test_what_was_sent_is_received(send: Send, receive: Send, expected: Any) -> None:
    with joined() as (one, other):
        await send(one)
        assert await receive(other) == expected


@trips
async def test_who_waits_receives_what_is_sent_then(
    send: Send, receive: Send, expected: Any
) -> None:
    log = Log()
    with joined() as (one, other):

        async def receiving() -> None:
            log.append(await receive(other))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receiving)
            await parked(other)
            assert log == []
            await send(one)
            await immediately(lambda: log.reach(1))
        assert len(other._waiters) == 0
    assert log == [expected]


@trips
async def test_who_finds_no_room_sends_as_soon_as_there_is_some(
    send: Send, receive: Send, expected: Any
) -> None:
    with joined((zmq.PUSH, zmq.PULL), sndhwm=1, rcvhwm=1) as (push, pull):
        n = await fill(push, [b"first"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, push)
            await parked(push)
            with anyio.fail_after(1):
                for _ in range(n):
                    assert await pull.recv() == b"first"
                assert await receive(pull) == expected
        assert len(push._waiters) == 0


async def test_a_message_is_received_part_by_part() -> None:
    with joined() as (one, other):
        await one.send_multipart([b"a", b"b"])
        assert (await other.recv(), other.rcvmore) == (b"a", 1)
        assert (await other.recv(), other.rcvmore) == (b"b", 0)


async def test_without_a_copy_frames_are_received() -> None:
    with joined() as (one, other):
        await one.send(b"x")
        frame = await other.recv(copy=False)
        assert isinstance(frame, zmq.Frame)
        assert frame.bytes == b"x"
        await one.send_multipart([b"a", b"b"])
        frames = await other.recv_multipart(copy=False)
        assert [type(each) for each in frames] == [zmq.Frame] * 2
        assert [each.bytes for each in frames] == [b"a", b"b"]
        assert [each.more for each in frames] == [True, False]


async def test_a_tracker_tells_when_the_bytes_are_no_longer_used() -> None:
    with joined() as (one, other):
        one.copy_threshold = 0
        for send in (
            lambda: one.send(b"tracked", copy=False, track=True),
            lambda: one.send_multipart([b"tracked"], copy=False, track=True),
            lambda: one.send_string("tracked", copy=False, track=True),
            lambda: one.send_serialized(b"tracked", lambda x: [x], copy=False, track=True),
            lambda: one.send(zmq.Frame(b"tracked", track=True, copy=False)),
        ):
            tracker = await send()
            assert isinstance(tracker, zmq.MessageTracker)
            assert not tracker.done
            assert await other.recv() == b"tracked"
            tracker.wait(5)
        assert await one.send(b"copied") is None
        assert await other.recv() == b"copied"


async def test_how_large_a_message_must_be_to_be_sent_without_a_copy_is_an_option() -> None:
    with Context() as context:
        for threshold in (None, 0, 10):
            with context.socket(zmq.PUSH, copy_threshold=threshold) as push:
                push.bind(f"inproc://{threshold}")
                expected = zmq.COPY_THRESHOLD if threshold is None else threshold
                assert push.copy_threshold == expected
                with context.socket(zmq.PULL) as pull:
                    pull.connect(f"inproc://{threshold}")
                    for size in (9, 10, 11):
                        tracker = await push.send(bytes(size), copy=False, track=True)
                        assert tracker is not None
                        assert tracker.done == (size < expected)
                        await pull.recv()
                        tracker.wait(5)


async def test_a_frame_that_was_received_can_be_tracked_and_sent_on() -> None:
    with joined() as (one, other):
        await one.send(b"x")
        frame = await other.recv(copy=False, track=True)
        assert frame.tracker is not None
        await other.send(frame, copy=False)
        assert await one.recv() == b"x"


@pytest.mark.parametrize("waits", [False, True])
async def test_bytes_are_received_into_a_buffer(waits: bool) -> None:
    lengths: list[int] = []
    buffer = bytearray(b"........")
    with joined() as (one, other):

        async def receive() -> None:
            lengths.append(await other.recv_into(buffer))
            lengths.append(await other.recv_into(memoryview(buffer)[6:], nbytes=1))
            lengths.append(await other.recv_into(bytearray()))

        async with anyio.create_task_group() as tasks:
            if waits:
                tasks.start_soon(receive)
                await parked(other)
            for data in (b"abc", b"de", b"dropped"):
                await one.send(data)
            if not waits:
                tasks.start_soon(receive)
        with pytest.raises(zmq.Again):
            await other.recv_into(buffer, flags=zmq.DONTWAIT)
    assert lengths == [3, 2, 7]
    assert buffer == b"abc...d."


async def test_any_number_of_tasks_send_and_receive_at_once() -> None:
    log = Log()
    with joined((zmq.DEALER, zmq.DEALER), sndhwm=2, rcvhwm=2) as (one, other):

        async def send(n: int) -> None:
            await one.send(b"%d" % n)

        async def echo() -> None:
            while True:
                await other.send(await other.recv())

        async def receive() -> None:
            log.append(await one.recv())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(echo)
                for n in range(50):
                    tasks.start_soon(send, n)
                    tasks.start_soon(receive)
                await log.reach(50)
                tasks.cancel_scope.cancel()
        assert len(one._waiters) == len(other._waiters) == 0
    assert sorted(map(int, log)) == list(range(50))


# Flags and time limits.

SENDS: dict[str, Callable[..., Any]] = {
    "send": lambda s, flags: s.send(b"x", flags),
    "send_multipart": lambda s, flags: s.send_multipart([b"x"], flags),
    "send_string": lambda s, flags: s.send_string("x", flags),
    "send_unicode": lambda s, flags: s.send_unicode("x", flags),
    "send_json": lambda s, flags: s.send_json(1, flags),
    "send_pyobj": lambda s, flags: s.send_pyobj(1, flags),
    "send_serialized": lambda s, flags: s.send_serialized(b"x", lambda x: [x], flags),
}
RECEIVES: dict[str, Callable[..., Any]] = {
    "recv": lambda s, flags: s.recv(flags),
    "recv_multipart": lambda s, flags: s.recv_multipart(flags),
    "recv_string": lambda s, flags: s.recv_string(flags),
    "recv_unicode": lambda s, flags: s.recv_unicode(flags),
    "recv_json": lambda s, flags: s.recv_json(flags),
    "recv_pyobj": lambda s, flags: s.recv_pyobj(flags),
    "recv_serialized": lambda s, flags: s.recv_serialized(lambda x: x, flags),
}
RECEIVES["recv_into"] = lambda s, flags: s.recv_into(bytearray(1), flags=flags)
sends = pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
receives = pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES)


def test_every_awaited_method_is_in_these_lists() -> None:
    assert sorted([*SENDS, *RECEIVES, "poll"]) == AWAITED


@sends
async def test_a_part_of_a_message_is_not_sent(send: Any) -> None:
    with joined() as (one, other):
        for flags in (zmq.SNDMORE, zmq.SNDMORE | zmq.DONTWAIT):
            with pytest.raises(ValueError, match="send_multipart"):
                await send(one, flags)
        await one.send(b"whole")
        assert await other.recv_multipart() == [b"whole"]


@sends
async def test_with_dontwait_a_send_without_room_fails_at_once(send: Any) -> None:
    with joined((zmq.PUSH, zmq.PULL), sndhwm=1, rcvhwm=1) as (push, pull):
        push.sndtimeo = 60_000
        n = await fill(push, [b"first"])
        with pytest.raises(zmq.Again), anyio.fail_after(1):
            await send(push, zmq.DONTWAIT)
        for _ in range(n):
            await pull.recv()
        assert await pull.poll(0) == 0
        await push.send(b"")  # the peer says that there is room when it looks next
        await pull.recv()
        await send(push, zmq.DONTWAIT)
        assert await pull.poll(1000) == zmq.POLLIN


@receives
async def test_with_dontwait_a_receive_without_a_message_fails_at_once(receive: Any) -> None:
    with joined() as (one, other):
        other.rcvtimeo = 60_000
        with pytest.raises(zmq.Again), anyio.fail_after(1):
            await receive(other, zmq.DONTWAIT)
        await one.send_pyobj(1, protocol=0)
        await other.recv(zmq.DONTWAIT)


@receives
async def test_a_receive_gives_up_after_rcvtimeo(receive: Any) -> None:
    with joined() as (one, other):
        other.rcvtimeo = 20
        start = anyio.current_time()
        with pytest.raises(zmq.Again), anyio.fail_after(1):
            await receive(other, 0)
        assert anyio.current_time() - start >= 0.019
        assert len(other._waiters) == 0
        await one.send(b"x")
        assert await other.recv() == b"x"


@sends
async def test_a_send_gives_up_after_sndtimeo(send: Any) -> None:
    with joined((zmq.PUSH, zmq.PULL), sndhwm=1, rcvhwm=1) as (push, pull):
        push.sndtimeo = 20
        n = await fill(push, [b"first"])
        start = anyio.current_time()
        with pytest.raises(zmq.Again), anyio.fail_after(1):
            await send(push, 0)
        assert anyio.current_time() - start >= 0.019
        assert len(push._waiters) == 0
        for _ in range(n):
            assert await pull.recv() == b"first"
        assert await pull.poll(10) == 0


async def test_a_time_limit_of_0_is_over_at_once() -> None:
    with joined((zmq.PUSH, zmq.PULL), sndhwm=1, rcvhwm=1) as (push, pull):
        pull.rcvtimeo = push.sndtimeo = 0
        with pytest.raises(zmq.Again):
            await pull.recv()
        await push.send(b"x")
        await push.send(b"x")
        with pytest.raises(zmq.Again):
            await push.send(b"x")


async def test_the_time_limit_is_read_when_a_call_begins_to_wait() -> None:
    log = Log()
    with joined() as (one, other):
        other.rcvtimeo = -1

        async def receive() -> None:
            log.append(await other.recv())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await parked(other)
            other.rcvtimeo = 1  # as with a plain socket: for calls from now on
            with pytest.raises(zmq.Again):
                await other.recv()
            assert len(other._waiters) == 1
            await one.send(b"x")
    assert log == [b"x"]


# Polling.


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (zmq.POLLIN, zmq.POLLIN),
        (zmq.POLLOUT, zmq.POLLOUT),
        (zmq.POLLIN | zmq.POLLOUT, zmq.POLLIN | zmq.POLLOUT),
    ],
)
@pytest.mark.parametrize("timeout", [None, -1, 0, 1000, 0.5])
async def test_poll_says_in_which_directions_a_socket_is_ready(
    flags: int, expected: int, timeout: float | None
) -> None:
    with joined() as (one, other), anyio.fail_after(5):
        await one.send(b"x")
        for _ in range(2):
            assert await other.poll(timeout, flags) == expected
        assert await other.recv() == b"x"


@pytest.mark.parametrize("timeout", [0, 20])
async def test_poll_gives_0_when_the_time_is_up(timeout: int) -> None:
    with joined() as (_, other), anyio.fail_after(5):
        start = anyio.current_time()
        assert await other.poll(timeout) == 0
        assert anyio.current_time() - start >= timeout / 1000 - 0.001
        assert await other.poll(timeout, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLOUT
        assert len(other._waiters) == 0


@pytest.mark.parametrize("timeout", [None, -1, 60_000])
async def test_poll_waits_for_a_message_and_takes_nothing(timeout: int | None) -> None:
    log = Log()
    with joined() as (one, other):

        async def poll() -> None:
            log.append(await other.poll(timeout))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(poll)
            await parked(other, 3)
            await one.send(b"x")
            await immediately(lambda: log.reach(3))
        assert await other.recv() == b"x"
    assert log == [zmq.POLLIN] * 3


async def test_poll_waits_for_room() -> None:
    log = Log()
    with joined((zmq.PUSH, zmq.PULL), sndhwm=1, rcvhwm=1) as (push, pull):
        n = await fill(push, [b"first"])

        async def poll() -> None:
            log.append(await push.poll(None, zmq.POLLIN | zmq.POLLOUT))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await parked(push)
            for _ in range(n):
                await pull.recv()
            await pull.poll(0)
            await immediately(lambda: log.reach(1))
    assert log == [zmq.POLLOUT]


@pytest.mark.parametrize("flags", [0, -1, 64, zmq.POLLIN | 64])
async def test_poll_knows_two_directions(flags: int) -> None:
    with joined() as (one, _), pytest.raises(ValueError):
        await one.poll(0, flags)


# Options.


async def test_the_high_water_mark_limits_what_is_on_its_way() -> None:
    with joined((zmq.PUSH, zmq.PULL), sndhwm=3, rcvhwm=4) as (push, pull):
        assert (push.hwm, pull.get_hwm(), pull.get(zmq.RCVHWM)) == (3, 3, 4)
        assert await fill(push, [b"x"]) == 7
        push.set_hwm(5)
        assert (push.hwm, push.rcvhwm) == (5, 5)


async def test_options_are_read_and_written_in_every_way() -> None:
    with Context() as context, context.socket(zmq.DEALER) as one, context.socket(zmq.SUB) as sub:
        one.bind("inproc://test")
        one.setsockopt(zmq.RCVTIMEO, 5)
        assert one.getsockopt(zmq.RCVTIMEO) == one.get(zmq.RCVTIMEO) == one.rcvtimeo == 5
        one.setsockopt_string(zmq.IDENTITY, "me")
        assert one.getsockopt_string(zmq.IDENTITY) == "me"
        assert one.identity == b"me"
        sub.subscribe("topic")
        sub.unsubscribe(b"topic")
        sub.subscribe = "topic"  # type: ignore[assignment,method-assign]
        assert one.events == one.get(zmq.EVENTS) == 0
        assert one.fileno() == one.FD
        with pytest.raises(zmq.ZMQError, match="Invalid argument"):
            one.set(zmq.SUBSCRIBE, b"")
        with pytest.raises(AttributeError, match="no such option"):
            one.wrong = 3


def test_a_socket_lingers_for_a_second_unless_it_is_told() -> None:
    with Context() as context:
        with context.socket(zmq.PUSH) as push:
            assert push.linger == 1000
            push.linger = 5
            assert push.linger == 5
        context.setsockopt(zmq.LINGER, 7)
        with context.socket(zmq.PUSH) as push:
            assert push.linger == 7


@pytest.mark.parametrize(
    ("linger", "on_close", "least", "most"),
    [(None, None, 0.9, 5), (100, None, 0.09, 0.9), (5000, 0, 0, 0.9), (None, 100, 0.09, 0.9)],
)
def test_who_ends_the_context_waits_while_sockets_linger(
    linger: int | None, on_close: int | None, least: float, most: float
) -> None:
    context = Context()
    with zmq.Context() as other, other.socket(zmq.PULL) as server:
        port = server.bind_to_random_port(TCP)
    push = context.socket(zmq.PUSH)
    if linger is not None:
        push.linger = linger
    push.connect(f"{TCP}:{port}")
    zmq.Socket(push).send(b"to nobody")
    push.close(on_close)
    start = monotonic()
    context.term()
    assert least <= monotonic() - start < most


async def test_a_socket_that_is_immediate_sends_nothing_before_it_is_connected(
    tmp_path: Path,
) -> None:
    address = f"ipc://{tmp_path}/late"
    with Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        push.immediate = push.reconnect_ivl = 1
        push.connect(address)
        with pytest.raises(zmq.Again):
            await push.send(b"lost?", zmq.DONTWAIT)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(push.send, b"x")
                await parked(push)
                pull.bind(address)
                assert await pull.recv() == b"x"


@contextmanager
def router_with_two_peers() -> Iterator[tuple[Socket, Socket, Socket]]:
    with Context() as context:
        context.sndhwm = context.rcvhwm = 1
        with (
            context.socket(zmq.ROUTER) as router,
            context.socket(zmq.DEALER) as one,
            context.socket(zmq.DEALER) as two,
        ):
            router.router_mandatory = 1
            router.bind("inproc://router")
            for name, peer in ((b"one", one), (b"two", two)):
                peer.identity = name
                peer.connect("inproc://router")
            yield router, one, two


async def test_a_message_for_a_peer_that_is_not_known_is_refused_at_once() -> None:
    with router_with_two_peers() as (router, one, _):
        with pytest.raises(zmq.ZMQError) as caught, anyio.fail_after(1):
            await router.send_multipart([b"nobody", b"x"])
        assert caught.value.errno == zmq.EHOSTUNREACH
        await router.send_multipart([b"one", b"x"])
        assert await one.recv() == b"x"


async def test_who_waits_for_a_full_peer_holds_up_nobody() -> None:
    log = Log()
    with router_with_two_peers() as (router, one, two):
        full = await fill(router, [b"one", b"first"])

        async def send(name: bytes) -> None:
            await router.send_multipart([name, b"late"])
            log.append(name)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, b"one")
                await parked(router)
                await router.send_multipart([b"two", b"1"])
                with pytest.raises(zmq.ZMQError) as caught:
                    await router.send_multipart([b"nobody", b"x"])
                assert caught.value.errno == zmq.EHOSTUNREACH
                await router.send_multipart([b"two", b"2"])
                assert [await two.recv(), await two.recv()] == [b"1", b"2"]
                assert await two.poll(0) == 0
                await router.send_multipart([b"two", b"3"])
                assert await two.recv() == b"3"
                assert log == []
                # What the peer sends meanwhile is received as well.
                await two.send(b"question")
                assert await router.recv_multipart() == [b"two", b"question"]
                for _ in range(full):
                    assert await one.recv() == b"first"
                assert await one.recv() == b"late"
                await log.reach(1)
    assert log == [b"one"]


async def test_each_of_two_full_peers_gets_its_message_when_it_has_room() -> None:
    log = Log()
    with router_with_two_peers() as (router, one, two):
        full = await fill(router, [b"one", b"first"])
        assert await fill(router, [b"two", b"first"]) == full

        async def send(name: bytes) -> None:
            await router.send_multipart([name, b"late"])
            log.append(name)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, b"one")
                tasks.start_soon(send, b"two")
                await parked(router, 2)
                for peer in (two, one):
                    for _ in range(full):
                        assert await peer.recv() == b"first"
                    assert await peer.recv() == b"late"
    assert sorted(log) == [b"one", b"two"]


# Monitors.


async def test_a_monitor_tells_what_happens_to_connections() -> None:
    with joined((zmq.PULL, zmq.PUSH)) as (pull, push), anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pull.recv)
            await parked(pull)
            with pull.get_monitor_socket() as monitor:
                assert isinstance(monitor, Socket)
                assert pull.get_monitor_socket() is monitor
                port = pull.bind_to_random_port(TCP)
                event = await recv_monitor_message(monitor)
                assert event["event"] == zmq.EVENT_LISTENING
                assert event["endpoint"] == f"{TCP}:{port}".encode()
                push.connect(f"{TCP}:{port}")
                assert (await recv_monitor_message(monitor))["event"] == zmq.EVENT_ACCEPTED
                pull.disable_monitor()
                assert len(pull._waiters) == 1
            await push.send(b"x")


async def test_a_monitor_can_tell_a_part_of_it() -> None:
    with joined((zmq.PULL, zmq.PUSH)) as (pull, push), anyio.fail_after(10):
        address = "inproc://own"
        with pull.get_monitor_socket(zmq.EVENT_ACCEPTED, address) as monitor:
            push.connect(f"{TCP}:{pull.bind_to_random_port(TCP)}")
            assert (await recv_monitor_message(monitor))["event"] == zmq.EVENT_ACCEPTED
            pull.disable_monitor()


# Addresses.


async def test_a_socket_is_bound_to_a_random_port() -> None:
    with Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        ports = {
            pull.bind_to_random_port(TCP),
            pull.bind_to_random_port(TCP, min_port=20_000, max_port=30_000),
        }
        with anyio.fail_after(10):
            for port in ports:
                with push.connect(f"{TCP}:{port}"):
                    await push.send(b"%d" % port)
                    assert await pull.recv() == b"%d" % port
        with pytest.raises(zmq.ZMQBindError):
            pull.bind_to_random_port(TCP, min(ports), min(ports) + 1, max_tries=2)


async def test_an_address_is_used_for_the_time_of_a_block() -> None:
    with Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        with anyio.fail_after(10):
            for _ in range(2):
                with pull.bind("inproc://block") as bound, push.connect("inproc://block") as joint:
                    assert bound is pull
                    assert joint is push
                    await push.send(b"x")
                    assert await pull.recv() == b"x"
            with pull.bind(f"{TCP}:*"):
                address = pull.last_endpoint
                with push.connect(address.decode()):
                    await push.send(b"x")
                    assert await pull.recv() == b"x"
        for call in (pull.bind, pull.connect):
            with pytest.raises(zmq.ZMQError, match="nowhere://"):
                call("nowhere://")
        for call, there_no_more in ((pull.unbind, address), (push.disconnect, "inproc://block")):
            with pytest.raises(zmq.ZMQError):
                call(there_no_more)


async def test_who_waits_while_addresses_change_misses_nothing() -> None:
    log = Log()
    with Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:

        async def receive() -> None:
            while True:
                log.append(await pull.recv())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await parked(pull)
            push.bind("inproc://early")
            for n in range(1, 20):
                pull.connect("inproc://early")
                await push.send(b"x")
                pull.rcvtimeo = -1
                await immediately(lambda n=n: log.reach(n))
                pull.disconnect("inproc://early")
                while await push.poll(0, zmq.POLLOUT):
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert pull.missed_edges == 0


# Contexts, and sockets made of others.


async def exchange(one: Any, other: Any) -> None:
    """Send a message from each of two sockets, of which one may be plain, to the other."""
    for sender, receiver in ((one, other), (other, one)):
        sent = sender.send(b"x")
        if inspect.isawaitable(sent):
            await sent
        received = receiver.recv()
        assert (await received if inspect.isawaitable(received) else received) == b"x"


async def test_there_is_one_context_for_all() -> None:
    context = Context.instance()
    try:
        assert type(context) is Context
        assert Context.instance() is context
        assert zmq.Context.instance() is not context
        assert zmq.asyncio.Context.instance() is not context
        with context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
            assert type(one) is Socket
            one.bind("inproc://instance")
            other.connect("inproc://instance")
            await exchange(one, other)
    finally:
        for each in (context, zmq.Context.instance(), zmq.asyncio.Context.instance()):
            each.term()
    fresh = Context.instance()
    assert fresh is not context
    fresh.term()


SHADOWS: dict[str, Callable[[Any], Context]] = {
    "shadow": Context.shadow,
    "shadow of an address": lambda plain: Context.shadow(plain.underlying),
    "Context(plain)": Context,
    "Context(shadow=...)": lambda plain: Context(shadow=plain),
}


@pytest.mark.parametrize("make", SHADOWS.values(), ids=SHADOWS)
async def test_a_context_of_another_program_gives_awaitable_sockets(make: Any) -> None:
    with zmq.Context() as plain, plain.socket(zmq.PAIR) as one:
        one.bind("inproc://shadow")
        context = make(plain)
        assert type(context) is Context
        with context.socket(zmq.PAIR) as other:
            assert type(other) is Socket
            other.connect("inproc://shadow")
            await exchange(one, other)
        del context
        assert not plain.closed


def test_a_context_has_options_of_its_own() -> None:
    with Context(2) as context:
        assert context.io_threads == context.get(zmq.IO_THREADS) == 2
        context.max_sockets = 10
        assert context.get(zmq.MAX_SOCKETS) == 10
        context.rcvtimeo = 7
        with context.socket(zmq.PULL) as pull:
            assert pull.rcvtimeo == 7
        with context.socket(zmq.PULL, socket_class=zmq.Socket) as plain:
            assert type(plain) is zmq.Socket
    assert context.closed


WRAPPERS: dict[str, Callable[[Any], Socket]] = {
    "Socket(plain)": Socket,
    "from_socket": Socket.from_socket,
    "shadow": Socket.shadow,
    "shadow of an address": lambda plain: Socket.shadow(plain.underlying),
    "Socket(shadow=...)": lambda plain: Socket(shadow=plain),
}


@pytest.mark.parametrize("make", WRAPPERS.values(), ids=WRAPPERS)
async def test_a_socket_is_made_awaitable(make: Any) -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as plain, Context() as other_context:
        plain.bind("inproc://wrapped")
        awaitable = make(plain)
        assert type(awaitable) is Socket
        assert awaitable.type == zmq.PAIR
        assert awaitable.underlying == plain.underlying
        assert awaitable.linger == plain.linger == -1  # it is not this one's to say
        with Context.shadow(context).socket(zmq.PAIR) as peer:
            peer.connect("inproc://wrapped")
            await exchange(awaitable, peer)
            await exchange(plain, peer)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(awaitable.recv)
                await parked(awaitable)
                await peer.send(b"x")
            awaitable.close()
            with pytest.raises(anyio.ClosedResourceError):
                await awaitable.recv()
        assert not other_context.closed


async def test_an_awaitable_socket_has_plain_shadows() -> None:
    with joined() as (one, other):
        await exchange(zmq.Socket(one), other)
        await exchange(zmq.Socket.shadow(one.underlying), Socket(other))


async def test_destroying_the_context_wakes_who_waits() -> None:
    failures = Log()
    context = Context()
    sockets = [context.socket(zmq.PULL), context.socket(zmq.PUSH)]

    async def receive() -> None:
        with pytest.raises(anyio.ClosedResourceError, match=r"zmq\.PULL.* was closed"):
            await sockets[0].recv()
        failures.append("recv")

    async def send() -> None:
        with pytest.raises(anyio.ClosedResourceError, match=r"zmq\.PUSH.* was closed"):
            await sockets[1].send(b"x")
        failures.append("send")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(send)
        for socket in sockets:
            await parked(socket)
        context.destroy(linger=0)
        assert context.closed
        await immediately(lambda: failures.reach(2))
    assert [len(socket._waiters) for socket in sockets] == [0, 0]
    with pytest.raises(zmq.ZMQError):
        context.socket(zmq.PULL)


async def test_the_context_as_a_block_closes_what_is_open_with_a_warning() -> None:
    woken = Log()

    async def receive() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await socket.recv()
        woken.append("woken")

    async with anyio.create_task_group() as tasks:
        context = Context()
        socket = context.socket(zmq.PULL)
        tasks.start_soon(receive)
        await parked(socket)
        with pytest.warns(ResourceWarning, match="unclosed socket"), context:
            pass
        assert socket.closed
        assert context.closed
        await immediately(lambda: woken.reach(1))


async def test_a_context_that_is_ended_in_a_thread_wakes_who_waits() -> None:
    failures = Log()
    context = Context()
    ending = threading.Thread(target=context.term)  # waits until the sockets are closed
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:

        async def fail(call: Any, *args: Any) -> None:
            with pytest.raises(anyio.ClosedResourceError) as caught:
                await call(*args)
            failures.append(str(caught.value))

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(fail, pull.recv)
            tasks.start_soon(fail, pull.poll)
            tasks.start_soon(fail, push.send, b"x")
            await parked(pull, 3)
            await parked(push)
            ending.start()
            await immediately(lambda: failures.reach(4))
        with pytest.raises(anyio.ClosedResourceError, match="its context was terminated"):
            await pull.recv()
        assert ending.is_alive()
    await anyio.to_thread.run_sync(ending.join)
    assert all("its context was terminated" in text for text in failures)
    assert [sum(kind in text for text in failures) for kind in ("zmq.PULL", "zmq.PUSH")] == [3, 1]


# Wrong types.

WRONG: dict[str, tuple[type[Exception], Callable[[Any], Awaitable[Any]]]] = {
    "text": (TypeError, lambda s: s.send("text")),
    "a number": (TypeError, lambda s: s.send(3)),
    "None": (TypeError, lambda s: s.send(None)),
    "no data": (TypeError, lambda s: s.send()),
    "text among the parts": (TypeError, lambda s: s.send_multipart([b"a", "b", b"c"])),
    "no parts": (IndexError, lambda s: s.send_multipart([])),
    "no list": (TypeError, lambda s: s.send_multipart(3)),
    "bytes as text": (TypeError, lambda s: s.send_string(b"bytes")),
    "a wrong encoding": (LookupError, lambda s: s.send_string("text", encoding="wrong")),
    "no JSON": (TypeError, lambda s: s.send_json(object())),
    "nothing to pickle": (
        (pickle.PicklingError, AttributeError),  # type: ignore[dict-item]
        lambda s: s.send_pyobj(lambda: None),
    ),
    "a serializer that fails": (ZeroDivisionError, lambda s: s.send_serialized(1, lambda x: x / 0)),
    "flags as text": (TypeError, lambda s: s.send(b"x", "DONTWAIT")),
    "recv flags as text": (TypeError, lambda s: s.recv("DONTWAIT")),
    "a time as text": (TypeError, lambda s: s.poll("1 s")),
    "poll flags as text": (ValueError, lambda s: s.poll(0, "POLLIN")),
    "an unknown parameter": (TypeError, lambda s: s.recv(wrong=3)),
}


@pytest.mark.parametrize(("error", "call"), WRONG.values(), ids=WRONG)
async def test_a_wrong_call_fails_and_sends_nothing(error: Any, call: Any) -> None:
    with joined() as (one, other):
        with pytest.raises(error), anyio.fail_after(1):
            await call(one)
        assert len(one._waiters) == 0
        await one.send(b"right")
        assert await other.recv_multipart() == [b"right"]


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (BufferError, lambda s: s.recv_into(b"read only")),
        (TypeError, lambda s: s.recv_into("text")),
        (ValueError, lambda s: s.recv_into(bytearray(1), nbytes=2)),
    ],
    ids=["read only", "text", "too many"],
)
async def test_a_wrong_buffer_takes_no_message(error: Any, call: Any) -> None:
    with joined() as (one, other):
        await one.send(b"x")
        with pytest.raises(error), anyio.fail_after(1):
            await call(other)
        assert await other.recv() == b"x"


@pytest.mark.parametrize("args", [(), ("PAIR",), (None,), (zmq.PAIR, 3)])
def test_a_wrong_socket_is_not_made(args: Any) -> None:
    with Context() as context, pytest.raises(TypeError):
        context.socket(*args)


def test_a_kind_that_there_is_not_is_refused() -> None:
    with Context() as context, pytest.raises(zmq.ZMQError, match="Invalid argument"):
        context.socket(999)


@pytest.mark.parametrize("args", [(), (3,), ("PAIR",)])
def test_a_socket_is_made_of_a_context_or_a_socket(args: Any) -> None:
    with pytest.raises((TypeError, zmq.ZMQError)):
        Socket(*args)
