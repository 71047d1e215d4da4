"""The cluster: its rules, the demonstration, and what becomes of it when things go wrong."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import zmq

from aiowire import Call, EventLoop
from aiowire.zmq import Context, Socket

from .cluster_bench import (
    AIOWIRE,
    CLUSTER,
    LONGEST_PAUSE,
    Bench,
    Client,
    JobFailedError,
    Program,
    Settings,
    Worker,
    assert_each_once,
    broker_module,
    connection_module,
    quiet,
    serving,
    square,
)
from .cluster_hosts import Network, network
from .support import STRESS, Log

# The broker, with clients and workers made by hand.


async def test_a_job_goes_to_a_worker_and_its_answer_to_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board:
        client = await board.peer(b"client", b"ann")
        worker = await board.peer(b"worker", b"bob")
        await client.send(b"job", b"mine", b"7")
        kind, attempt, argument = await worker.next()
        assert (kind, argument) == (b"job", b"7")
        await worker.send(b"answer", attempt, b"done", b"49")
        assert await client.next() == [b"answer", b"mine", b"done", b"49"]


async def test_a_worker_has_one_job_at_a_time_and_the_longest_free_is_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board:
        first = await board.peer(b"worker", b"bob")
        second = await board.peer(b"worker", b"cid")
        client = await board.peer(b"client", b"ann")
        for number in b"123":
            await client.send(b"job", bytes([number]), bytes([number]))
        assert (await first.next())[2] == b"1"
        _, attempt, argument = await second.next()
        assert argument == b"2"
        assert board.broker.counts()["queued"] == 1
        await second.send(b"answer", attempt, b"done", b"4")
        assert (await second.next())[2] == b"3"


async def test_the_job_of_a_silent_worker_goes_to_another_and_its_late_answer_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board:
        client = await board.peer(b"client", b"ann")
        silent = await board.peer(b"worker", b"bob")
        await client.send(b"job", b"1", b"7")
        _, late, _ = await silent.next()
        await board.expire(client)
        worker = await board.peer(b"worker", b"cid")
        _, attempt, argument = await worker.next()
        assert argument == b"7"
        assert attempt != late
        await silent.send(b"answer", late, b"done", b"49")
        assert await silent.next() == [b"stranger"]
        await worker.send(b"answer", attempt, b"done", b"49")
        assert await client.next() == [b"answer", b"1", b"done", b"49"]
        await client.ping()  # there is no other answer before this
        counts = board.broker.counts()
        assert (counts["requeued"], counts["lost"], counts["answers"]) == (1, 1, 1)


async def test_the_job_of_a_worker_that_leaves_is_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board:
        client = await board.peer(b"client", b"ann")
        leaving = await board.peer(b"worker", b"bob")
        await client.send(b"job", b"1", b"7")
        await client.send(b"job", b"2", b"8")
        await leaving.next()
        await leaving.send(b"bye")
        worker = await board.peer(b"worker", b"cid")
        assert (await worker.next())[2] == b"7"


async def test_the_jobs_of_a_client_that_has_gone_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board:
        worker = await board.peer(b"worker", b"bob")
        gone, leaving, client = [await board.peer(b"client", name) for name in (b"x", b"y", b"z")]
        for each in gone, leaving, client:
            await each.send(b"job", b"1", b"7")
            await each.ping()
        await leaving.send(b"bye")
        _, attempt, _ = await worker.next()
        await board.expire(client, worker)
        counts = board.broker.counts()
        assert (counts["clients"], counts["queued"]) == (1, 1)
        await worker.send(b"answer", attempt, b"done", b"49")
        await worker.next()
        assert board.broker.counts()["answers"] == 0


async def test_a_worker_without_a_job_that_has_gone_gets_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board:
        await board.peer(b"worker", b"bob")
        client = await board.peer(b"client", b"ann")
        await board.expire(client)
        await client.send(b"job", b"1", b"7")
        await client.ping()
        assert board.broker.counts()["queued"] == 1


@pytest.mark.parametrize("message", [[b"alive"], [b"job", b"1", b"2"], [b""], [b"hello", b"you"]])
async def test_a_stranger_is_told_so(message: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as board:
        stranger = board.stranger()
        await stranger.send(b"bye")  # who has gone is not told anything
        await stranger.send(*message)
        assert await stranger.next() == [b"stranger"]
        await stranger.send(b"hello", b"client", b"ann")
        assert await stranger.next() == [b"alive"]


async def test_junk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as board:
        client = await board.peer(b"client", b"\xff")
        worker = await board.peer(b"worker", b"bob")
        for junk in [b"job"], [b"answer", b"1", b"done", b"2"], [b""], [b"hello", b"client", b"x"]:
            await client.send(*junk)
            await worker.send(*junk)
        await client.ping()
        await worker.ping()
        counts = board.broker.counts()
        assert counts.pop("junk") == 8
        assert (counts.pop("clients"), counts.pop("workers")) == (1, 1)
        assert not any(counts.values())


async def test_two_brokers_do_not_share_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as board:
        with pytest.raises(zmq.ZMQError, match="in use"):
            broker_module.Broker(board.context, board.broker.endpoint, quiet)


# Clients and workers, with a broker made by hand.


@asynccontextmanager
async def broken() -> AsyncIterator[tuple[Context, Socket, EventLoop]]:
    """A socket as the broker's, and a loop that is cancelled in the end."""
    with anyio.fail_after(20), Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind("inproc://broker")
        async with EventLoop() as ev:
            yield context, socket, ev
            ev.cancel()


async def hear(socket: Socket) -> list[bytes]:
    """Give the next message that is no heartbeat."""
    while (message := await socket.recv_multipart())[1:] == [b"alive"]:
        pass
    return message


async def test_a_client_drops_duplicates() -> None:
    async with broken() as (context, socket, ev):
        said, answers = Log(), Log()
        client = Client(context, "inproc://broker", "ann", said.append)
        ev.start(client.run)
        for argument in b"7", b"8":
            ev.start(Call(client.ask, argument).then(answers.append))
        who = (await hear(socket))[0]
        for _ in range(2):
            _, _, number, argument = await hear(socket)
            for _ in range(3):
                value = b"%d" % int(argument) ** 2
                await socket.send_multipart([who, b"answer", number, b"done", value])
        await socket.send_multipart([who, b"the end"])
        await said.reach(1)
        await answers.reach(2)
        assert sorted(answers) == [b"49", b"64"]
        assert client.counts()["duplicates dropped"] == 4


async def test_a_client_that_is_a_stranger_sends_again_what_is_not_answered() -> None:
    async with broken() as (context, socket, ev):
        client = Client(context, "inproc://broker", "ann", quiet)
        answers = Log()
        ev.start(client.run)
        for argument in b"7", b"8", b"9":
            ev.start(Call(client.ask, argument).then(answers.append))
        who, *message = await hear(socket)
        assert message == [b"hello", b"client", b"ann"]
        jobs = {argument: number for _, _, number, argument in [await hear(socket) for _ in "789"]}
        await socket.send_multipart([who, b"answer", jobs[b"8"], b"done", b"64"])
        await socket.send_multipart([who, b"stranger"])
        again, *message = await hear(socket)
        assert again != who
        assert message == [b"hello", b"client", b"ann"]
        repeated = [await hear(socket) for _ in "79"]
        assert sorted(repeated) == [[again, b"job", jobs[each], each] for each in (b"7", b"9")]
        assert client.counts()["sent again"] == 2
        for each in b"7", b"9":
            await socket.send_multipart([again, b"answer", jobs[each], b"done", each])
        await answers.reach(3)
        assert answers[0] == b"64"
        assert sorted(answers[1:]) == [b"7", b"9"]


async def test_a_client_says_goodbye_and_takes_back_what_is_cancelled() -> None:
    async with broken() as (context, socket, ev):
        client = Client(context, "inproc://broker", "ann", quiet)
        running = ev.start(client.run)
        asking = ev.start(Call(client.ask, b"7"))
        await hear(socket)
        assert (await hear(socket))[1] == b"job"
        asking.cancel()
        await asking.wait()
        running.cancel()
        assert (await hear(socket))[1:] == [b"bye"]
        assert not client._jobs


async def test_while_the_broker_is_silent_sessions_begin_anew_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def pause(low: float, high: float) -> float:
        pauses.append(client._connection._pause)
        return 0.001

    monkeypatch.setattr(connection_module, "BEAT", 0.002)
    monkeypatch.setattr(connection_module.random, "uniform", pause)
    async with broken() as (context, socket, ev):
        said = Log()
        client = Client(context, "inproc://broker", "ann", said.append)
        ev.start(client.run)
        await said.reach(7)
        assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_PAUSE]
        assert set(said) == {"has not heard the broker for 4 beats, and begins anew"}
        identities = {(await hear(socket))[0] for _ in range(7)}
        assert len(identities) == 7


async def test_messages_that_are_not_understood_are_said() -> None:
    async with broken() as (context, socket, ev):
        said = Log()
        for each in (
            Client(context, "inproc://broker", "x", said.append),
            Worker(context, "inproc://broker", "x", square, said.append),
        ):
            running = ev.start(each.run)
            who = (await hear(socket))[0]
            await socket.send_multipart([who, b"what?"])
            await said.reach(1)
            assert said.pop(0) == "does not understand [b'what?']"
            running.cancel()
            assert (await hear(socket))[1:] == [b"bye"]


async def test_a_worker_works_for_a_session_only() -> None:
    begun, cancelled = anyio.Event(), anyio.Event()

    async def compute(argument: bytes) -> bytes:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        return b""

    async with broken() as (context, socket, ev):
        ev.start(Worker(context, "inproc://broker", "bob", compute, quiet).run)
        who, *message = await hear(socket)
        assert message == [b"hello", b"worker", b"bob"]
        await socket.send_multipart([who, b"job", b"1", b"7"])
        await begun.wait()
        await socket.send_multipart([who, b"stranger"])
        await cancelled.wait()
        assert (await hear(socket))[1:] == [b"hello", b"worker", b"bob"]


async def test_a_job_that_fails_fails_for_its_client_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as board, EventLoop() as ev:
        worker = Worker(board.context, board.broker.endpoint, "bob", square, quiet)
        client = Client(board.context, board.broker.endpoint, "ann", quiet)
        ev.start(worker.run)
        ev.start(client.run)
        with pytest.raises(JobFailedError, match="ValueError: invalid literal"):
            await client.ask(b"many")
        assert await client.ask(b"7") == b"49"
        assert worker.counts() == {"jobs": 2, "failed": 1, "sessions": 1}
        ev.cancel()


def test_settings_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "BROKER", "NAME", "JOBS", "MS":
        monkeypatch.delenv(f"CLUSTER_{name}", raising=False)
    assert Settings.from_environment() == Settings(name=f"p{os.getpid()}")
    monkeypatch.setenv("CLUSTER_BROKER", "inproc://a")
    monkeypatch.setenv("CLUSTER_NAME", "ann")
    monkeypatch.setenv("CLUSTER_JOBS", "7")
    assert Settings.from_environment() == Settings("inproc://a", "ann", 7)
    for wrong in "", "-1", "1.5", "many", "²":
        monkeypatch.setenv("CLUSTER_JOBS", wrong)
        with pytest.raises(SystemExit, match="CLUSTER_JOBS is a whole number"):
            Settings.from_environment()


# Programs.


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach the programs where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def bench(backend_name: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(backend_name, tmp_path) as bench:
        yield bench


def test_the_demo_shows_everything_and_ends_by_itself(backend_name: str) -> None:
    began = time.monotonic()
    demo = subprocess.run(
        [*AIOWIRE, "--backend", backend_name, str(CLUSTER / "demo.py:demo")],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert time.monotonic() - began < 10
    assert (demo.returncode, demo.stderr) == (0, "")
    lines = demo.stdout.splitlines()
    for name in "ann", "bob":
        right = "120 jobs, 120 answered once, 0 more than once, 0 never, 0 wrongly"
        assert f"{name}    | {right}" in lines
    assert "demo   | has killed the worker eve" in lines
    assert "broker | worker eve has been silent for 4 beats: 2 clients, 2 workers" in lines
    assert sum(line.startswith("broker | listens at") for line in lines) == 2
    assert sum(line.startswith("broker | has ended") for line in lines) == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_every_program(bench: Bench, number: signal.Signals, status: int) -> None:
    broker, endpoint = bench.start_broker("tcp://127.0.0.1:*")
    worker = bench.start("worker", "bob", endpoint)
    client = bench.start("client", "ann", endpoint, jobs=10_000)
    bench.until_more([client], 10)
    for program in client, worker:
        assert bench.end(program, number) == status
        assert "has ended" in program.lines[-1]
        bench.until(lambda program=program: broker.said(f"{program.name} has left"))
    assert bench.end(broker, number) == status
    assert "has ended: 0 clients, 0 workers" in broker.lines[-1]
    # Nor does anybody need a broker to end.
    worker = bench.start("worker", "bob", endpoint)
    client = bench.start("client", "ann", endpoint, jobs=1)
    bench.until(lambda: worker.said("has not heard") and client.said("has not heard"))
    for program in client, worker:
        assert bench.end(program, number) == status


def test_a_broker_that_cannot_listen_says_so(bench: Bench) -> None:
    _, endpoint = bench.start_broker("tcp://127.0.0.1:*")
    with pytest.raises(AssertionError, match=r"cannot listen at tcp://127.0.0.1:.*in use"):
        bench.status(bench.start("broker", "broker", endpoint))


# Faults under load.


class Run:
    """A cluster under load, to which things happen; what happened is printed in the end."""

    def __init__(self, bench: Bench, net: Network | None = None) -> None:
        self._bench = bench
        self._net = net
        self._jobs = 2000 if STRESS else 200
        self._step = 25
        self._names = (f"w{number}" for number in itertools.count(1))
        self._workers: list[Program] = []
        self._faults = {"workers killed": 0, "links down and up": 0, "brokers killed": 0}
        where = "127.0.0.1:*" if net is None else f"{net.address('one')}:5680"
        self._requeued = 0  # by brokers that were killed
        self._broker, self._endpoint = bench.start_broker(f"tcp://{where}", self._at("one"))
        self._clients = [
            bench.start("client", name, self._endpoint, self._at("three"), self._jobs)
            for name in ("ann", "bob")
        ]
        for _ in range(3):
            self._add_worker()
        self.proceed()

    def _at(self, host: str) -> list[str]:
        return [] if self._net is None else self._net.at(host)

    def _add_worker(self) -> None:
        name = next(self._names)
        at, ms = self._at("two"), 10 if STRESS else 20
        self._workers.append(self._bench.start("worker", name, self._endpoint, at, ms=ms))

    def proceed(self) -> None:
        """Wait for some answers."""
        self._bench.until_more(self._clients, self._step)

    def kill_worker(self) -> None:
        """Kill a worker, wait until the broker has missed it, and start another one."""
        victim = self._workers.pop(0)
        self._bench.until(lambda: self._broker.said(f"worker {victim.name} has come"))
        assert self._bench.end(victim, signal.SIGKILL) == -signal.SIGKILL
        self._add_worker()
        self._bench.until(lambda: self._broker.said(f"worker {victim.name} has been silent"))
        self._faults["workers killed"] += 1
        self.proceed()

    def cut(self, host: str, cut_off: list[Program]) -> None:
        """Set the link of a host down until those on it, and the broker, have noticed; then up."""
        assert self._net is not None
        for each in cut_off:
            self._bench.until(lambda each=each: self._broker.said(f" {each.name} has come"))
        lost = self._broker.count("has been silent")
        before = {each: each.count("has not heard") for each in cut_off}
        self._net.link(host, "down")
        self._bench.until(
            lambda: (
                self._broker.count("has been silent") >= lost + len(cut_off)
                and all(each.count("has not heard") > before[each] for each in cut_off)
            )
        )
        self._net.link(host, "up")
        self._faults["links down and up"] += 1
        self.proceed()

    def cut_workers(self) -> None:
        self.cut("two", self._workers)

    def cut_clients(self) -> None:
        self.cut("three", self._clients)

    def kill_broker(self) -> None:
        """Kill the broker, and start another one in its place."""
        assert self._bench.end(self._broker, signal.SIGKILL) == -signal.SIGKILL
        self._requeued += self._broker.count("is queued again")
        self._broker, _ = self._bench.start_broker(self._endpoint, self._at("one"))
        self._faults["brokers killed"] += 1
        self.proceed()

    def finish(self) -> None:
        """Wait for the clients, and see that each job of theirs was answered exactly once."""
        for client in self._clients:
            assert self._bench.status(client) == 0
        for program in (*self._workers, self._broker):
            assert self._bench.end(program) == 143
            print(program.lines[-1])
        self._requeued += self._broker.count("is queued again")
        print(", ".join(f"{number} {what}" for what, number in self._faults.items()))
        print(f"{self._requeued} jobs of dead workers queued again")
        assert self._requeued >= self._faults["workers killed"]  # there were always more to do
        assert_each_once(self._clients, self._jobs)


#: How often everything goes wrong. The workers are the last, for when clients or the broker begin
#: anew, all jobs are sent again, and those of dead workers would not be missed.
ROUNDS = 5 if STRESS else 1


@pytest.mark.stress
def test_workers_and_brokers_are_killed(bench: Bench) -> None:
    run = Run(bench)
    for _ in range(ROUNDS):
        run.kill_broker()
        run.kill_worker()
    run.finish()


@pytest.mark.stress
def test_links_fail_and_programs_are_killed_on_three_hosts(
    backend_name: str, tmp_path: Path
) -> None:
    with network("one", "two", "three") as net, Bench(backend_name, tmp_path) as bench:
        run = Run(bench, net)
        for _ in range(ROUNDS):
            if STRESS:
                run.cut_clients()
            run.kill_broker()
            run.cut_workers()
            run.kill_worker()
        run.finish()


def test_where_there_is_no_command_for_it_there_is_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="there is no `ip` here"):
        network("one").__enter__()


def test_where_it_is_not_allowed_there_is_no_network_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *veth*) echo "Operation not permitted" >&2; exit 2;; esac
"""
    command, log = tmp_path / "ip", tmp_path / "log"
    command.write_text(script.format(log=log))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(pytest.skip.Exception, match=r"`ip -n .* says: Operation not permitted"):
        network("one").__enter__()
    lines = log.read_text().splitlines()
    made = [line.split()[-1] for line in lines if "netns add" in line]
    removed = [line.split()[-1] for line in lines if "netns delete" in line]
    assert len(made) == 2
    assert sorted(made) == sorted(removed)
