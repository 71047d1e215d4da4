"""A user's program, in which mypy and pyright, both strict, must find nothing to complain about.

It is run too: without ``from __future__ import annotations`` the types are evaluated.
"""

import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import anyio
import zmq
import zmq.asyncio

import aiowire
import aiowire.zmq
from aiowire import (
    POLLIN,
    POLLOUT,
    All,
    AnyWire,
    Call,
    Catch,
    EventLoop,
    Every,
    Finally,
    Forever,
    Handle,
    Handler,
    OnSignal,
    Poller,
    Process,
    Race,
    Repeat,
    Retry,
    Select,
    Sequence,
    Timeout,
    UnhandledException,
    Wire,
    done,
    never,
)
from aiowire.backends import Readiness

# States: functions of the loop and of what they know, which give back the next state.


class Info:
    def __init__(self) -> None:
        self.rounds = 0


async def ready(ev: EventLoop, info: Info) -> Wire | None:
    info.rounds += 1
    return Wire(busy, info, seconds=0) if info.rounds < 3 else None


async def busy(ev: EventLoop, info: Info, *, seconds: float = 0.1) -> Wire:
    await anyio.sleep(seconds)
    return Wire(ready, info)


def plain(ev: EventLoop) -> AnyWire:
    return other


async def other(ev: EventLoop) -> AnyWire | None:
    return finish


def finish(ev: EventLoop) -> None:
    ev.start(None)


def either(ev: EventLoop, after: float = 0) -> AnyWire | None:
    return partial(either) if after else None


async def itself(ev: EventLoop) -> Callable[[EventLoop], Awaitable[None]]:
    return nothing


async def nothing(ev: EventLoop) -> None:
    return None


class Server:
    async def serve(self, ev: EventLoop) -> AnyWire | None:
        return self.shut

    def shut(self, ev: EventLoop) -> None:
        ev.cancel()

    def __call__(self, ev: EventLoop) -> AnyWire:
        return self.serve


states: list[AnyWire] = [plain, other, finish, either, itself, Server(), Server().serve, done]

# Subclasses of Wire, with an __init__ of their own.


class Countdown(Wire):
    def __init__(self, n: int) -> None:
        self.n = n

    async def __call__(self, ev: EventLoop) -> "Countdown | None":
        return Countdown(self.n - 1) if self.n else None


class Plain(Wire):
    def __init__(self, text: str, *, times: int = 1) -> None:
        self.text = text * times

    def __call__(self, loop: EventLoop) -> AnyWire | None:
        return Call(str.upper, self.text)


class Timer(Wire):
    def __init__(self, seconds: float) -> None:
        super().__init__(busy, Info(), seconds=seconds)


composed: Wire = 2 * Countdown(3) >> plain >> Plain("x", times=2) * 2 >> Timer(1)

# The algebra.

a = Wire(busy, Info(), seconds=0)
b = Call(print, end="", sep="-")

in_a_row: Sequence = a >> b >> plain
mixed: Sequence = either >> b >> Sequence() >> Sequence(plain, other, b)
flat: Wire = plain >> (other >> b)
repeated: Repeat = a * 3
reversed_: Repeat = 3 * a
endless = [a * inf, Repeat(plain, inf), Forever(a), Forever(plain), never]
lambdas = Wire(lambda ev: finish) >> Sequence(lambda ev: Call(print, end=""), a)

# Calls, and what they continue with.


def half(n: int) -> float:
    return n / 2


async def fetch(url: str, *, retries: int = 3) -> bytes:
    return url.encode() * retries


def show(text: bytes) -> Wire:
    return Call(print, text.decode(), end="")


async def save(text: bytes) -> AnyWire | None:
    return plain if text else None


def later(n: int) -> Awaitable[str]:
    return anyio.to_thread.run_sync(str, n)


halved: Call[float] = Call(half, 3)
fetched: Call[bytes] = Call(fetch, "url", retries=2)
covariant: Call[object] = fetched
from_awaitable: Call[str] = Call(later, 3)
made: Call[Info] = Call(Info)
method: Call[str] = Call("{}".format, 3)

continued: list[Wire] = [
    halved.then(lambda x: Call(print, x.is_integer(), end="")),
    fetched.then(show),
    fetched.then(save),
    fetched.then(lambda text: None),
    fetched.then(lambda text: plain if text.isascii() else None),
    from_awaitable.then(lambda text: Call(print, text.upper(), end="")),
    Call(anyio.run_process, "true").then(lambda p: Call(print, p.stdout, end="")),
    Call(fetch, "url").then(show) >> b,
]

# Handlers.


def log(ev: EventLoop, exc: Exception) -> None:
    ev.start(b)


async def again(ev: EventLoop, exc: BaseException) -> Wire | None:
    return b if isinstance(exc, OSError) else None


def instead(loop: EventLoop, failure: Exception) -> AnyWire:
    return plain


handlers: list[Handler] = [log, again, instead, lambda ev, exc: Call(print, exc.args)]
chosen: Handler | None = handlers[0]


def failing(ev: EventLoop) -> None:
    raise OSError


# The loop.


async def main(maybe: AnyWire | None, subwire: Wire | None) -> bool:
    async with EventLoop(timeout=5) as ev:
        handle: Handle = ev.start(a)
        ev.start(plain, log)
        ev.start(failing, again, name="again")
        ev.start(failing, handler=instead)
        ev.start(failing, lambda ev, exc: None)
        ev.start(failing, lambda ev, exc: Call(print, exc.args, end=""))
        ev.start(other, chosen)
        ev.start(lambda ev: None)
        ev.start(partial(either, after=0))
        ev.start(Server())
        for state in states:
            ev.start(state).cancel()
        if one := ev.start(maybe):
            one.cancel()
        if (two := ev.start(subwire)) is not None:
            two.cancel()
        await handle.wait()
        print(handle.name[:0], end="")
        if handle.done and handle.exception is not None:
            raise handle.exception
        await ev.run()
        await ev.run(0.5)
        ev.cancel()
    return ev.timed_out or not ev.cancelled


async def nested(ev: EventLoop) -> None:
    async with EventLoop() as inner:
        inner.start(plain)
        ev.start(other)
    loop = EventLoop()
    async with loop:
        loop.start(b)


def failures() -> list[str]:
    try:
        aiowire.run(failing)
    except UnhandledException as group:
        first = group.exceptions[0]
        matching = group.subgroup(OSError)
        return [str(first), str(matching), str(group.__cause__)]
    return []


# Pollers.


class Changed(Readiness):
    def __init__(self) -> None:
        self.event = anyio.Event()

    async def wait(self, flags: int) -> bool:
        await self.event.wait()
        return False


class Named(Readiness):
    async def wait(self, _flags: int) -> bool:
        return True

    def check(self) -> None:
        raise anyio.ClosedResourceError("named")

    def open(self, arrivals: object) -> None:
        print(end="")

    def close(self) -> None:
        print(end="")


def poll(sock: socket.socket, router: "zmq.Socket[bytes]", pipe: int) -> list[Poller]:
    echo = Wire(lambda ev: None)
    poller = Poller({pipe: echo, sock: plain})
    poller.register(router, other)
    poller.register(Changed(), echo, POLLIN | POLLOUT)
    poller.register(Named(), lambda ev: None, flags=POLLOUT)
    poller.unregister(router)
    poller.unregister(sock)
    poller.shutdown()
    by_number = {pipe: echo}
    return [
        poller,
        Poller({}),
        Poller(by_number),
        Poller({router: plain, sock: lambda ev: Call(print)}),
        Poller({pipe: other}, POLLIN, 100),
        Poller({sock: other}, interval=None, handler=log, limit=3),
    ]


def poll_asyncio(sock: zmq.asyncio.Socket) -> Poller:
    return Poller({sock: plain, 0: other})


# ZeroMQ sockets that are awaited.


async def receive_all(router: aiowire.zmq.Socket) -> list[bytes]:
    part: bytes = await router.recv()
    now: bytes = await router.recv(zmq.DONTWAIT, True)
    frame: zmq.Frame = await router.recv(copy=False)
    tracked: zmq.Frame = await router.recv(0, False, track=True)
    parts: list[bytes] = await router.recv_multipart()
    frames: list[zmq.Frame] = await router.recv_multipart(copy=False)
    more: list[zmq.Frame] = await router.recv_multipart(zmq.DONTWAIT, False)
    text: str = await router.recv_string(encoding="latin-1")
    same: str = await router.recv_unicode()
    number: int = await router.recv_serialized(lambda parts: len(parts[0]))
    length: int = await router.recv_serialized(lambda frames: len(frames[0].buffer), copy=False)
    total: int = await router.recv_into(bytearray(number))
    total += await router.recv_into(memoryview(bytearray(9)), nbytes=length, flags=zmq.DONTWAIT)
    events: int = await router.poll()
    events |= await router.poll(0.5, zmq.POLLIN | zmq.POLLOUT)
    words = [text, same, str(await router.recv_json(parse_float=str)), await router.recv_pyobj()]
    buffers = [each.buffer.tobytes() for each in (frame, tracked, *frames, *more)]
    return [part, now, *parts, *buffers, *(word.encode() for word in words), b"%d" % events]


async def send_all(dealer: aiowire.zmq.Socket, frame: zmq.Frame) -> None:
    await dealer.send(b"x")
    await dealer.send(bytearray(b"x"), zmq.DONTWAIT)
    await dealer.send(memoryview(b"x"))
    tracker: zmq.MessageTracker | None = await dealer.send(frame, copy=False, track=True)
    if tracker is not None:
        tracker.wait()
    await dealer.send_multipart([b"a", bytearray(b"b"), frame])
    await dealer.send_multipart((b"a", b"b"), copy=False)
    await dealer.send_string("x", encoding="latin-1")
    await dealer.send_unicode("x")
    await dealer.send_json({"a": 1}, sort_keys=True)
    await dealer.send_pyobj(object(), protocol=4)
    await dealer.send_serialized(3, lambda n: [b"%d" % n])


async def exchange() -> aiowire.zmq.Socket:
    with aiowire.zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        context.linger = 0
        peer: aiowire.zmq.Socket = context.socket(zmq.PAIR)
        with peer, socket.bind("inproc://typed") as bound, peer.connect("inproc://typed"):
            socket.rcvtimeo = 1000
            peer.set(zmq.SNDTIMEO, 1000)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.send, b"x")
                print((await bound.recv()).decode()[:0], end="")
        socket.refresh()
        missed: int = socket.missed_edges
        print(end="" * missed)
        return peer


def make_sockets(
    plain: "zmq.Socket[bytes]", plain_context: "zmq.Context[zmq.Socket[bytes]]"
) -> list[aiowire.zmq.Socket]:
    contexts: list[aiowire.zmq.Context] = [
        aiowire.zmq.Context(2),
        aiowire.zmq.Context(plain_context),
        aiowire.zmq.Context(shadow=plain_context),
        aiowire.zmq.Context.instance(),
    ]
    return [
        aiowire.zmq.Socket(plain),
        aiowire.zmq.Socket(shadow=plain.underlying),
        aiowire.zmq.Socket(contexts[0], zmq.PUSH, copy_threshold=0),
        aiowire.zmq.Socket.from_socket(plain),
        contexts[0].socket(zmq.PAIR).get_monitor_socket(),
    ]


class Client(aiowire.zmq.Socket):
    async def ask(self, question: str) -> str:
        await self.send_string(question)
        return await self.recv_string()


def recover(ev: EventLoop, exc: Exception) -> Wire:
    return Call(print, exc)


def algebra(port: int) -> list[Wire]:
    both: All = Call(print) & plain
    first: Race = plain | Call(print) | both
    status: Wire = Process(["true"], stdout=lambda line: Call(print, line)).then(
        lambda status: Call(print, status + 1)
    )
    return [
        both,
        first,
        status,
        Select(a, b, plain),
        Timeout(first, 5, otherwise=plain),
        Every(0.5, a) | OnSignal(signal.SIGTERM, signal.SIGINT, Call(print)),
        Catch(a, recover, on=(OSError, ValueError)),
        Retry(a, OSError, attempts=inf, timeout=60, intensity=(5, 60)),
        Finally(a, plain),
        Process("exit 1", stderr=print, input=b"", check=False, grace=None),
    ]


async def stop(ev: EventLoop) -> bool:
    ev.start(a, background=True)
    ev.stop(grace=5)
    ev.stop()
    return ev.stopping


def run_all() -> None:
    with (
        socket.socket() as sock,
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as router,
        open(os.devnull) as null,
    ):
        aiowire.run(poll(sock, router, null.fileno())[0])
    aiowire.run(a, plain, b, lambda ev: None, timeout=2)
    aiowire.run(Wire(ready, Info()), nested, timeout=None, backend="asyncio")
    aiowire.run(*continued, composed, lambdas, backend_options={"debug": False})
    assert anyio.run(main, plain, None) is False
    assert failures()[1:]
    assert len(algebra(5)) == 10
    assert anyio.run(exchange).closed
    print(f"aiowire {aiowire.__version__}", file=sys.stderr)


if __name__ == "__main__":
    run_all()
