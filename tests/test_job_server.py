"""The job server: jobs, its own end, heartbeats, the console."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import zmq

from aiowire import EventLoop, Poller
from aiowire.zmq import Context

from .job_bench import (
    MOST_JOBS,
    MOST_OF_ONE,
    Bench,
    Console,
    Peer,
    Server,
    Settings,
    assert_gone,
    lines,
    serving,
)

# Jobs.


async def test_a_job_is_started_sends_its_output_and_ends() -> None:
    async with serving() as bench:
        client = bench.client()
        client.ask(b"run", b"tag", b"hello")
        assert [await client.next() for _ in range(3)] == [
            [b"started", b"tag", b"60"],
            [b"out", b"tag", b"hello\n"],
            [b"ended", b"tag", b"exited", b"0"],
        ]


async def test_so_many_jobs_run_at_a_time_and_the_others_are_told_their_places() -> None:
    async with serving(slots=2) as bench:
        client = bench.client()
        for tag in b"abcde":
            client.ask(b"run", bytes([tag]), b"wait")
        places, started = {}, set()
        while len(places) < 3 or len(started) < 2:
            kind, tag, *values = await client.next()
            if kind == b"queued":
                places[tag] = values
            elif kind == b"out":
                started.add(tag)
        assert started == {b"a", b"b"}
        assert places == {b"c": [b"1"], b"d": [b"2"], b"e": [b"3"]}
        client.ask(b"cancel", b"d")
        seen: dict[tuple[bytes, bytes], list[bytes]] = {}  # in whatever order
        while not seen.keys() >= {(b"ended", b"d"), (b"queued", b"e")}:
            kind, tag, *values = await client.next()
            seen[kind, tag] = values
        assert seen[b"queued", b"e"] == [b"2"]
        client.ask(b"cancel", b"b")
        assert await client.until(b"queued", b"e") == [b"1"]
        counts = bench.server.counts()
        assert (counts["running"], counts["queued"], counts["clients"]) == (2, 1, 1)


async def test_a_time_limit_ends_a_job() -> None:
    async with serving() as bench:
        client = bench.client()
        client.ask(b"run", b"1", b"slow")
        pid = await client.pid()
        assert await client.until(b"ended") == [b"timed out", b"after 0.2 s"]
        assert_gone(pid)


async def test_a_job_can_be_cancelled_by_its_client_only() -> None:
    async with serving(slots=1) as bench:
        client, other = bench.client(), bench.client()
        client.ask(b"run", b"1", b"wait")
        client.ask(b"run", b"2", b"wait")
        pid = await client.pid()
        other.ask(b"cancel", b"1")
        other.ask(b"cancel", b"2")
        other.ask(b"junk")
        assert (await other.next())[0] == b"error"
        assert bench.server.counts()["running"] == 1
        client.ask(b"cancel", b"2")
        assert await client.until(b"ended", b"2") == [b"cancelled", b"as its client wished"]
        client.ask(b"cancel", b"1")
        assert await client.until(b"ended") == [b"cancelled", b"as its client wished"]
        assert_gone(pid)


async def test_a_job_cancelled_at_once_is_not_started() -> None:
    async with serving() as bench:
        client = bench.client()
        client.ask(b"run", b"1", b"wait")
        client.ask(b"cancel", b"1")
        assert await client.next() == [b"ended", b"1", b"cancelled", b"as its client wished"]


async def test_a_client_has_several_jobs_at_a_time() -> None:
    async with serving(slots=3) as bench:
        client = bench.client()
        for tag in (b"a", b"b", b"c"):
            client.ask(b"run", tag, b"lines", b"1000")
        pieces: dict[bytes, list[bytes]] = {b"a": [], b"b": [], b"c": []}
        ended = 0
        while ended < 3:
            kind, tag, *values = await client.next()
            ended += kind == b"ended"
            if kind == b"out":
                pieces[tag] += values
        assert list(pieces.values()) == [lines(1000)] * 3


async def test_jobs_are_refused() -> None:
    cases = [
        ([b"rm", b"-rf", b"/"], b"the programs are: hello, wait"),
        ([b"hello\xff\xfe"], b"the programs are"),
        ([b"hello", b"there"], b"it takes 0 arguments, not 1"),
        ([b"lines"], b"it takes 1 argument, not 0"),
        ([b"lines", b"1; date"], b"a whole number from 1 to 100000"),
    ]
    async with serving() as bench:
        client = bench.client()
        for request, why in cases:
            client.ask(b"run", b"1", *request)
            kind, tag, text = await client.next()
            assert (kind, tag) == (b"refused", b"1")
            assert why in text
        assert bench.server.counts()["refused"] == len(cases)


async def test_a_tag_is_used_for_one_job_at_a_time() -> None:
    async with serving() as bench:
        client, other = bench.client(), bench.client()
        for each in client, client, other:
            each.ask(b"run", b"1", b"wait")
        assert b"already" in (await client.until(b"refused"))[0]
        await other.pid()
        client.ask(b"cancel", b"1")
        await client.until(b"ended")
        client.ask(b"run", b"1", b"hello")
        await client.output()


async def test_there_are_limits_to_the_queue() -> None:
    async with serving(slots=1) as bench:
        for number in range(MOST_JOBS):
            if number % MOST_OF_ONE == 0:
                client = bench.client()
            client.ask(b"run", b"%d" % number, b"wait")
        client.ask(b"run", b"more", b"wait")
        assert b"too many" in (await client.until(b"refused", b"more"))[0]
        other = bench.client()
        other.ask(b"run", b"1", b"wait")
        assert b"too many" in (await other.until(b"refused"))[0]
        client.ask(b"cancel", b"%d" % number)
        await client.until(b"ended", b"%d" % number)
        other.ask(b"run", b"1", b"wait")
        assert await other.until(b"queued") == [b"%d" % (MOST_JOBS - 1)]


async def test_a_program_that_cannot_be_started_fails_its_job_only() -> None:
    async with serving() as bench:
        client = bench.client()
        client.ask(b"run", b"1", b"missing")
        how, why = await client.until(b"ended")
        assert how == b"failed"
        assert why.startswith(b"/nowhere/at-all: No such file")
        client.ask(b"run", b"1", b"hello")
        assert await client.output() == [b"hello\n"]


async def test_an_error_in_the_server_ends_one_job_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*args: object) -> None:
        raise RuntimeError("a bug")

    async with serving() as bench:
        client = bench.client()
        with monkeypatch.context() as patch:
            patch.setattr("job_server.run_program", fail)
            client.ask(b"run", b"1", b"hello")
            assert await client.until(b"ended") == [b"failed", b"by an error in the server"]
        client.ask(b"run", b"1", b"hello")
        assert await client.output() == [b"hello\n"]
        assert bench.server._counts.pop("failures") == 1
    assert "RuntimeError: a bug" in capsys.readouterr().err


# The end of the server.


@pytest.mark.parametrize("how", ["quit", "cancel"])
async def test_at_its_end_all_programs_are_ended_and_their_clients_told(how: str) -> None:
    async with serving(slots=2, grace=0.1) as bench:
        clients = [bench.client() for _ in range(3)]
        pids = []
        for client, program in zip(clients, [b"wait", b"stubborn"], strict=False):
            client.ask(b"run", b"1", program)
            pids.append(await client.pid())
        clients[2].ask(b"run", b"1", b"wait")
        await clients[2].until(b"queued")
        if how == "quit":
            bench.server.quit()
        else:
            bench.serving.cancel()
        for client in clients:
            assert await client.until(b"ended") == [b"cancelled", b"for the server ends"]
        await bench.serving.wait()
        for pid in pids:
            assert_gone(pid)


@pytest.mark.parametrize("how", ["stop", "typed"])
async def test_a_stop_takes_no_more_jobs_and_lets_those_end_that_there_are(how: str) -> None:
    async with serving(slots=1, drain=60, beat=0.01) as bench:
        client, late = bench.client(), bench.client()
        client.ask(b"run", b"1", b"until told")
        pid = await client.pid()
        client.ask(b"run", b"2", b"hello")
        await client.until(b"queued", b"2")
        if how == "stop":
            bench.server.stop()
        else:
            bench.server.command("stop")
        assert bench.said[-1] == "takes no more jobs: 1 running, 1 queued, 1 clients"
        await client.beats.reach(len(client.beats) + 3)  # heartbeats go on
        late.ask(b"run", b"1", b"hello")
        os.kill(pid, signal.SIGUSR1)
        assert await client.until(b"ended") == [b"exited", b"0"]
        assert await client.until(b"ended", b"2") == [b"exited", b"0"]
        await bench.serving.wait()
        assert not late.received


async def test_jobs_that_do_not_end_after_a_stop_are_ended() -> None:
    async with serving(drain=0.05, grace=0.1) as bench:
        client = bench.client()
        client.ask(b"run", b"1", b"stubborn")
        pid = await client.pid()
        bench.server.stop()
        assert await client.until(b"ended") == [b"cancelled", b"for the server ends"]
        await bench.serving.wait()
        assert_gone(pid)


async def test_a_job_that_has_not_begun_at_its_end_is_not_forgotten() -> None:
    async with serving() as bench:
        client = bench.client(IDENTITY=b"ann")
        client.ask(b"junk")
        await client.next()
        # What the poller does, up to the moment when it would start the rest.
        assert await bench.server._admit(Peer(b"ann"), b"1", b"hello", []) is not None
        bench.server.quit()
        assert await client.next() == [b"ended", b"1", b"cancelled", b"for the server ends"]


async def test_at_its_end_it_does_not_wait_long_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("job_server.FAREWELL", 0.1)
    async with serving("ipc", grace=0.1) as bench:
        slow = bench.client(reading=False, RCVHWM=1, RCVBUF=4096)
        slow.ask(b"run", b"1", b"lines", b"3000")
        await bench.until_said(lambda text: text.startswith("starts"))
        await anyio.sleep(0.2)
        began = anyio.current_time()
        bench.server.quit()
        await bench.serving.wait()
        assert anyio.current_time() - began < 3


async def test_where_somebody_listens_already_it_fails_and_leaves_nothing_open() -> None:
    settings = Settings("inproc://jobs", "inproc://beats")
    with Context() as context, context.socket(zmq.PUB) as other:
        other.bind("inproc://beats")
        with pytest.raises(zmq.ZMQError, match="in use"):
            Server(context, settings)
        with pytest.raises(zmq.ZMQError, match="in use"):
            Server(context, Settings("inproc://beats", "inproc://jobs"))


# Heartbeats, the console, the settings.


async def test_heartbeats_have_the_counts() -> None:
    async with serving(beat=0.02) as bench:
        with bench.context.socket(zmq.SUB) as ear:
            ear.connect("inproc://beats")
            ear.subscribe(b"heartbeat")
            client = bench.client()
            client.ask(b"run", b"1", b"wait")
            counts: dict[str, int] = {}
            while not counts.get("running"):
                counts = json.loads((await ear.recv_multipart())[1])
            assert counts == {"running": 1, "queued": 0, "clients": 1}


async def test_clients_with_jobs_are_told_that_the_server_is_alive() -> None:
    async with serving(beat=0.02) as bench:
        client = bench.client(reading=False)
        alive = anyio.Event()

        def read(ev: EventLoop) -> None:
            if client.socket.recv_multipart(zmq.NOBLOCK) == [b"alive", b""]:
                alive.set()

        poller = Poller({client.socket: read})
        bench.ev.start(poller)
        client.ask(b"run", b"1", b"wait")
        await alive.wait()
        poller.shutdown()


@asynccontextmanager
async def console() -> AsyncIterator[tuple[int, Bench]]:
    """A server with a pipe as its standard input; give the end to type at."""
    reader, writer = os.pipe()
    try:
        async with serving() as bench:
            Console(reader, bench.server.poller, bench.server.command)
            yield writer, bench
    finally:
        os.close(reader)
        os.close(writer)


async def test_lines_are_answered() -> None:
    async with console() as (writer, bench):
        client = bench.client(IDENTITY=b"ann")
        client.ask(b"run", b"1", b"wait")
        await client.pid()
        os.write(writer, b"stat")
        await anyio.sleep(0.05)
        assert bench.said == ["starts wait for ann"]
        os.write(writer, b"us\r\n\n  what? \xff\nquit")
        await bench.until_said(lambda text: text.startswith("knows"))
        assert bench.said[1:] == [
            "1 running, 0 queued, 1 clients",
            "runs wait for ann",
            "knows these commands: status, stop, quit",
        ]
        os.write(writer, b"\n")
        await bench.serving.wait()


async def test_only_the_end_of_an_endless_line_is_kept() -> None:
    async with console() as (writer, bench):
        os.write(writer, b"status\n" + b"x" * 60_000)
        os.write(writer, b"\nstatus\n")
        await bench.until_said(lambda text: text.startswith("knows"))
        assert len(bench.said) == 3


@pytest.mark.parametrize("source", ["pipe", "file", "/dev/null"])
async def test_the_end_of_the_input_does_not_end_the_server(source: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    if source != "pipe":
        place = tmp_path / "typed" if source == "file" else Path(source)
        os.close(reader)
        os.close(writer)
        writer = os.open(place, os.O_WRONLY | os.O_CREAT)
        reader = os.open(place, os.O_RDONLY)
    os.write(writer, b"status")  # the last line need not have an end
    os.close(writer)
    async with serving() as bench:
        Console(reader, bench.server.poller, bench.server.command)
        if source != "/dev/null":
            await bench.until_said(lambda text: "running" in text)
        client = bench.client()
        client.ask(b"run", b"1", b"hello")
        assert await client.output() == [b"hello\n"]
        with pytest.raises(KeyError):
            bench.server.poller.unregister(reader)
    os.close(reader)


async def test_a_terminal_that_is_closed_does_not_end_the_server() -> None:
    ours, theirs = os.openpty()
    async with serving() as bench:
        Console(theirs, bench.server.poller, bench.server.command)
        os.write(ours, b"status\n")
        await bench.until_said(lambda text: "running" in text)
        os.close(ours)
        client = bench.client()
        client.ask(b"run", b"1", b"hello")
        assert await client.output() == [b"hello\n"]
        with pytest.raises(KeyError):
            bench.server.poller.unregister(theirs)
    os.close(theirs)


def test_settings_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "JOB_SERVER", "JOB_HEARTBEATS", "JOB_SLOTS", "JOB_DRAIN", "JOB_CURVE":
        monkeypatch.delenv(name, raising=False)
    assert Settings.from_environment() == Settings()
    monkeypatch.setenv("JOB_SERVER", "inproc://a")
    monkeypatch.setenv("JOB_SLOTS", "7")
    monkeypatch.setenv("JOB_CURVE", "keys")
    assert Settings.from_environment() == Settings("inproc://a", slots=7, curve=Path("keys"))
    for wrong in "", "0", "-1", "1.5", "many", "²":
        monkeypatch.setenv("JOB_SLOTS", wrong)
        with pytest.raises(SystemExit, match="JOB_SLOTS is a whole number from 1"):
            Settings.from_environment()
    monkeypatch.setenv("JOB_SLOTS", "1")
    for wrong in "", "-1", "1.5.2", "nan", "soon":
        monkeypatch.setenv("JOB_DRAIN", wrong)
        with pytest.raises(SystemExit, match="JOB_DRAIN is a number of seconds, 0 or more"):
            Settings.from_environment()
    monkeypatch.setenv("JOB_DRAIN", "1.5")
    assert Settings.from_environment().drain == 1.5
