"""A user's program full of mistakes: mypy and pyright must each report every marked line."""

import zmq

import aiowire
import aiowire.zmq
from aiowire import Call, EventLoop, Forever, Handle, Poller, Repeat, Sequence, Wire, done, run
from aiowire.backends import Readiness


async def greet(ev: EventLoop, name: str, *, times: int = 1) -> Wire | None:
    return None


async def step(ev: EventLoop) -> Wire | None:
    return None


def number(ev: EventLoop) -> int:
    return 3


async def later_number(ev: EventLoop) -> int:
    return 3


def half(n: int) -> float:
    return n / 2


async def fetch(url: str, *, retries: int = 3) -> bytes:
    return b""


def show(text: str) -> Wire | None:
    return None


def length(text: bytes) -> int:
    return len(text)


def no_loop() -> None: ...


def built(*wires: object) -> None: ...


def log(ev: EventLoop, exc: Exception) -> None: ...


def log_narrow(ev: EventLoop, exc: OSError) -> None: ...


def log_number(ev: EventLoop, exc: Exception) -> int:
    return 3


a = Wire(greet, "a")

# Steps: the arguments are those of the function, and a rest is None or a wire.
Wire()  # error
Wire(3)  # error
Wire(greet)  # error
Wire(greet, 3)  # error
Wire(greet, "x", 2)  # error
Wire(greet, "x", times="2")  # error
Wire(greet, "x", wrong=2)  # error
Wire(no_loop)  # error
Wire(number)  # error
Wire(later_number)  # error
Wire(lambda ev: 3)  # error
a(3)  # error
done()  # error

# Calls.
Call()  # error
Call(3)  # error
Call(half)  # error
Call(half, "3")  # error
Call(half, 1, 2)  # error
Call(fetch, "url", retries="3")  # error
Call(fetch, url="url", wrong=3)  # error
Call(half, 1).then()  # error
Call(half, 1).then(3)  # error
Call(half, 1).then(a)  # error
Call(half, 1).then(show)  # error
Call(fetch, "url").then(show)  # error
Call(fetch, "url").then(length)  # error
Call(fetch, "url").then(lambda text: text)  # error
Call(fetch, "url").then(lambda text: text.wrong)  # error
wrong_result: Call[int] = Call(fetch, "url")  # error

# The algebra.
built(a >> 3)  # error
built(3 >> a)  # error
built(a >> number)  # error
built(number >> a)  # error
built(a >> None)  # error
built(step >> step)  # error
built(a * "3")  # error
built(a * None)  # error
built("3" * a)  # error
built(a * a)  # error
built(step * 3)  # error
built(Sequence(a, 3))  # error
built(Sequence([a, a]))  # error
built(Repeat(a))  # error
built(Repeat(3, a))  # error
built(Repeat(a, "3"))  # error
built(Forever())  # error
built(Forever(a, a))  # error
built(Forever(number))  # error


# The loop.
async def body(ev: EventLoop, maybe: Wire | None) -> None:
    ev.start()  # error
    ev.start(3)  # error
    ev.start(step(ev))  # error
    ev.start(a(ev))  # error
    ev.start(number)  # error
    ev.start(later_number)  # error
    ev.start(greet)  # error
    ev.start(no_loop)  # error
    ev.start(a, 3)  # error
    ev.start(a, step)  # error
    ev.start(a, log_narrow)  # error
    ev.start(a, log_number)  # error
    ev.start(a, log, "name")  # error
    ev.start(a, name=3)  # error
    ev.start(a, wrong=3)  # error
    ev.start(None).cancel()  # error
    ev.start(maybe).cancel()  # error
    ev.start(a).done()  # error
    ev.start(a).done = True  # error
    ev.start(a).wait()  # error
    await ev.start(a)  # error
    ev.run()  # error
    await ev.run(a)  # error
    await ev.run("5")  # error
    await ev.cancel()  # error
    ev.timed_out = True  # error
    ev.wrong()  # error
    Handle()  # error
    EventLoop("5")  # error
    EventLoop(5, 5)  # error
    with EventLoop():  # error
        pass
    async with EventLoop:  # error
        pass


run()  # error
run(3)  # error
run(number)  # error
run(a, number)  # error
run([a, a])  # error
run(a, timeout="3")  # error
run(a, backend=3)  # error
run(a, wrong=3)  # error
aiowire.start(a)  # error


# Pollers.
def poll(poller: Poller) -> None:
    Poller()  # error
    Poller(3)  # error
    Poller({0: 3})  # error
    Poller({0: number})  # error
    Poller({0: no_loop})  # error
    Poller({0: step}, "POLLIN")  # error
    Poller({0: step}, interval="1 s")  # error
    Poller({0: step}, handler=log_narrow)  # error
    Poller({0: step}, limit=1.5)  # error
    Poller({0: step}, 1, 1000, log)  # error
    poller.register(0)  # error
    poller.register(0, 3)  # error
    poller.register(0, number)  # error
    poller.register("stdin", step)  # error
    poller.register(object(), step)  # error
    poller.register(0, step, "POLLIN")  # error
    poller.unregister("stdin")  # error
    poller.unregister()  # error
    poller.shutdown(5)  # error


# ZeroMQ sockets that are awaited.
def take_text(text: str) -> None: ...


def take_bytes(data: bytes) -> None: ...


def take_number(n: int) -> None: ...


def take_frame(frame: zmq.Frame) -> None: ...


def take_parts(parts: list[bytes]) -> None: ...


def take_frames(frames: list[zmq.Frame]) -> None: ...


async def use_sockets(socket: aiowire.zmq.Socket, context: aiowire.zmq.Context) -> None:
    # Without `await` there is no message yet.
    socket.recv().decode()  # error
    take_bytes(socket.recv())  # error
    built(len(socket.recv_multipart()))  # error
    built(socket.recv_string() + "x")  # error
    built(*socket.recv_multipart())  # error
    take_number(socket.poll())  # error
    # What is received.
    take_text(await socket.recv())  # error
    take_bytes(await socket.recv(copy=False))  # error
    take_frame(await socket.recv())  # error
    take_bytes(await socket.recv_multipart())  # error
    take_parts(await socket.recv_multipart(copy=False))  # error
    take_frames(await socket.recv_multipart())  # error
    take_bytes(await socket.recv_string())  # error
    take_text(await socket.recv_into(bytearray(3)))  # error
    take_text(await socket.recv_serialized(len))  # error
    take_text(await socket.poll())  # error
    await socket.recv("DONTWAIT")  # error
    await socket.recv(wrong=3)  # error
    await socket.recv_into("text")  # error
    await socket.recv_into(bytearray(3), 3)  # error
    await socket.recv_serialized()  # error
    await socket.recv_serialized(lambda parts: parts.wrong)  # error
    await socket.poll("1 s")  # error
    # What is sent.
    await socket.send("text")  # error
    await socket.send(3)  # error
    await socket.send()  # error
    (await socket.send(b"x", copy=False, track=True)).wait()  # error
    await socket.send(b"x", "DONTWAIT")  # error
    await socket.send_multipart(b"x")  # error
    await socket.send_multipart([b"x", "text"])  # error
    await socket.send_string(b"x")  # error
    await socket.send_serialized(3, lambda n: n)  # error
    # What is not awaited.
    await socket.bind("inproc://x")  # error
    await socket.close()  # error
    await context.socket(zmq.PAIR)  # error
    socket.missed_edges = 0  # error
    context.socket()  # error
    context.socket("PAIR")  # error
    aiowire.zmq.Socket("PAIR")  # error
    aiowire.zmq.Socket.from_socket(3)  # error


# Classes of one's own.
class NoLoop(Wire):
    def __call__(self) -> None: ...  # error


class Junk(Wire):
    async def __call__(self, ev: EventLoop) -> int:  # error
        return 3


class OwnInit(Wire):
    def __init__(self, n: int) -> None:
        self.n = n

    async def __call__(self, ev: EventLoop) -> Wire | None:
        return OwnInit("3")  # error


class NoWait(Readiness):
    def check(self) -> None: ...


class PlainWait(Readiness):
    def wait(self, flags: int) -> bool:  # error
        return True


class QuietWait(Readiness):
    async def wait(self, flags: int) -> None:  # error
        return None


NoWait()  # error
OwnInit(3) >> NoWait  # error

Call(print) & 3  # error
Call(print) | "x"  # error
aiowire.All(3)  # error
aiowire.Select(Call(print), None)  # error
aiowire.Timeout(Call(print))  # error
aiowire.Timeout(Call(print), "5")  # error
aiowire.Every(Call(print), 5)  # error
aiowire.Catch(Call(print), on=OSError)  # error
aiowire.Retry(Call(print), on=OSError())  # error
aiowire.Retry(Call(print), attempts="3")  # error
aiowire.Finally(Call(print))  # error
aiowire.Process(3)  # error
aiowire.Process(["true"], stdout="line")  # error
aiowire.Process(["true"], input="text")  # error
