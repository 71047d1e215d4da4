"""The job server and clients of all kinds: mad, slow, vanished; and that of the examples."""

from __future__ import annotations

import random
from collections import Counter

import anyio
import pytest

from aiowire import Poller
from aiowire.zmq import Context

from .job_bench import Submission, lines, serving
from .support import within_slices


async def test_junk_is_answered_and_harms_nobody() -> None:
    dice = random.Random(1)
    words = [b"run", b"cancel", b"1", b"hello", b"", b"\0", b"\xff" * 9, b"x" * 65, b"lines", b"5"]
    async with serving() as bench:
        junk, client = bench.client(), bench.client()
        for length in range(1, 6):
            for _ in range(60):
                junk.ask(*dice.choices(words, k=length))
            client.ask(b"run", b"1", b"lines", b"50")
            assert await client.output() == lines(50)
        counts = bench.server.counts()
        kinds = Counter([(await junk.next())[0] for _ in range(counts["junk"] + counts["refused"])])
        assert kinds[b"error"] > 100
        assert kinds[b"refused"] > 5


async def test_requests_without_a_frame_are_junk() -> None:
    async with serving() as bench:
        client = bench.client()
        client.ask(b"")
        assert await client.next() == [
            b"error",
            b"",
            b"a request is: run TAG PROGRAM ARGUMENT..., or: cancel TAG",
        ]
        client.ask(b"run", b"t" * 65, b"hello")
        assert (await client.next())[0] == b"error"
        assert bench.server.counts()["junk"] == 2


@pytest.mark.parametrize("transport", ["inproc", "ipc"])
async def test_the_program_of_a_client_that_has_vanished_is_ended(transport: str) -> None:
    async with serving(transport, beat=0.05) as bench:
        client = bench.client(reading=False)
        client.ask(b"run", b"1", b"wait")
        other = bench.client()
        other.ask(b"run", b"1", b"wait")
        await bench.until_said(lambda text: text.startswith("starts"))
        client.socket.close(0)
        said = await bench.until_said(lambda text: text.startswith("has done"))
        assert said.endswith("cancelled for its client has gone")
        assert bench.server.counts()["clients"] == 1
        other.ask(b"cancel", b"1")
        await other.until(b"ended")


async def test_a_client_that_does_not_read_holds_up_only_itself_and_loses_nothing() -> None:
    async with serving("ipc", slots=3) as bench:
        slow = bench.client(reading=False, RCVHWM=1, RCVBUF=4096)
        slow.ask(b"run", b"1", b"lines", b"3000")
        await bench.until_said(lambda text: text.startswith("starts"))
        client = bench.client()
        for _ in range(3):
            client.ask(b"run", b"1", b"lines", b"500")
            assert await client.output() == lines(500)
        assert bench.server.counts()["running"] == 1
        bench.ev.start(Poller({slow.socket: slow.read}))
        assert await slow.output() == lines(3000)


async def test_a_client_that_takes_nothing_for_long_is_given_up() -> None:
    async with serving("ipc", patience=0.2) as bench:
        slow = bench.client(reading=False, RCVHWM=1, RCVBUF=4096)
        slow.ask(b"run", b"1", b"lines", b"3000")
        slow.ask(b"run", b"2", b"wait")
        await bench.until_said(lambda text: text.endswith("cancelled for its client takes nothing"))
        client = bench.client()
        client.ask(b"run", b"1", b"lines", b"10")
        assert await client.output() == lines(10)


async def test_a_client_that_comes_back_under_its_name_is_that_client() -> None:
    async with serving("ipc") as bench:
        client = bench.client(reading=False, IDENTITY=b"ann")
        client.ask(b"run", b"1", b"wait")
        await bench.until_said(lambda text: text == "starts wait for ann")
        client.socket.close(0)
        again = bench.client(IDENTITY=b"ann")
        again.ask(b"run", b"2", b"hello")
        assert await again.until(b"out", b"2") == [b"hello\n"]


async def test_a_request_is_seen_at_once_while_the_server_sends() -> None:
    """Sending drains what the poller waits for."""
    async with serving() as bench:
        client, other = bench.client(), bench.client()
        client.ask(b"run", b"1", b"wait")
        await client.pid()
        for _ in range(20):
            other.ask(b"run", b"1", b"hello")
            await bench.server._beat()
            async with within_slices(8):  # the poller itself looks again after 1 second
                assert await other.output() == [b"hello\n"]


# The client of the examples.


async def test_the_client_gives_the_status() -> None:
    cases = [
        ("lines 3", 0, ["started", "out", "out", "out", "ended"]),
        ("slow", 124, ["started", "out", "ended"]),
        ("suicide", 128 + 9, ["started", "ended"]),
        ("missing", 1, ["started", "ended"]),
        ("rm -rf /", 2, ["refused"]),
    ]
    async with serving(beat=0.02) as bench:
        place = bench.settings.server
        for command, status, kinds in cases:
            shown: list[str] = []

            def show(kind: str, text: bytes, shown: list[str] = shown) -> None:
                shown.append(kind)

            assert await Submission(bench.context, place, command.split(), show).run() == status
            assert shown == kinds


async def test_a_client_that_is_cancelled_cancels_its_job() -> None:
    async with serving() as bench:
        job = Submission(bench.context, bench.settings.server, ["wait"], lambda kind, text: None)
        async with anyio.create_task_group() as group:
            group.start_soon(job.run)
            await bench.until_said(lambda text: text.startswith("starts"))
            group.cancel_scope.cancel()
        said = await bench.until_said(lambda text: text.startswith("has done"))
        assert "cancelled" in said


async def test_a_client_does_not_wait_for_ever_for_a_server_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("job_client.SILENCE", 0.1)
    shown: list[tuple[str, bytes]] = []
    with Context() as context:
        job = Submission(context, "inproc://x", ["hello"], lambda *args: shown.append(args))
        assert await job.run() == 1
    assert shown == [("error", b"inproc://x has been silent for 0.1 s")]
