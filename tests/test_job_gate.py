"""The gate of the job server: who has no key gets nothing, and harms nobody."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import zmq
from zmq.auth import load_certificate
from zmq.auth.thread import AuthenticationThread

from aiowire.zmq import Context

from .job_bench import EXAMPLES, Client, Gate, Submission, job_keys, serving

Options = dict[str, Any]

NO_KEY = ("it shows no key", "it left before it had shown a key")  # whoever of the two is quicker
WRONG = ("it has another key for this server, or a key that is not its own",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the keys of the server and of two clients."""
    job_keys.main([str(tmp_path), "ann", "bob"])
    return tmp_path


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert not [each for each in threading.enumerate() if isinstance(each, AuthenticationThread)]


def pair_in(file: Path) -> tuple[bytes, bytes]:
    public, secret = load_certificate(file)
    assert secret
    return public, secret


def keys(public: bytes, secret: bytes, server: bytes) -> Options:
    """The keys of a client, as options of its socket."""
    return {"CURVE_PUBLICKEY": public, "CURVE_SECRETKEY": secret, "CURVE_SERVERKEY": server}


def keys_of(folder: Path, name: str) -> Options:
    server, _ = load_certificate(folder / "server.key")
    return keys(*pair_in(folder / "clients" / f"{name}.key_secret"), server)


def ask_in_vain(client: Client, *request: bytes) -> None:
    """Send, unless the client has been turned away already and has dropped the connection."""
    with suppress(zmq.Again):
        client.ask(*request)


# The server, in this process.


async def test_who_has_a_key_is_served(folder: Path) -> None:
    async with serving("ipc", curve=folder) as bench:
        for name in "ann", "bob":
            client = bench.client(**keys_of(folder, name))
            client.ask(b"run", b"1", b"hello")
            assert await client.output() == [b"hello\n"]
        assert "denied" not in bench.server.counts()


def strangers(folder: Path) -> dict[str, tuple[Options, tuple[str, ...]]]:
    """Those who are to get nothing, and what is said of them."""
    server, _ = load_certificate(folder / "server.key")
    public, secret = zmq.curve_keypair()
    ann, ann_secret = pair_in(folder / "clients" / "ann.key_secret")
    said_of_key = (f"its key is unknown: {public.decode()}",)
    return {
        "unknown key": (keys(public, secret, server), said_of_key),
        "no key": ({}, NO_KEY),
        "wrong server key": (keys(ann, ann_secret, public), WRONG),
        "forged": (keys(ann, secret, server), WRONG),
        "PLAIN": ({"PLAIN_USERNAME": b"ann", "PLAIN_PASSWORD": ann_secret}, NO_KEY),
    }


@pytest.mark.parametrize("who", ["unknown key", "no key", "wrong server key", "forged", "PLAIN"])
async def test_who_has_none_gets_nothing_and_the_others_are_served(folder: Path, who: str) -> None:
    options, reasons = strangers(folder)[who]
    async with serving("ipc", curve=folder, beat=0.02) as bench:
        friend, stranger = bench.client(**keys_of(folder, "ann")), bench.client(**options)
        for request in [b"run", b"1", b"hello"], [b"cancel", b"1"], [b"junk"]:
            ask_in_vain(stranger, *request)
        said = await bench.until_said(lambda text: text.startswith("denies"))
        assert said in [f"denies a client: {reason}" for reason in reasons]
        friend.ask(b"run", b"1", b"hello")
        assert await friend.output() == [b"hello\n"]
        await anyio.sleep(0.1)
        assert not stranger.received
        counts = bench.server.counts()
        assert counts.pop("denied") >= 1
        assert counts == {"running": 0, "queued": 0, "clients": 0, "exited": 1}


async def test_who_is_no_client_at_all_is_turned_away(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    place = f"tcp://127.0.0.1:{port}"
    async with serving(server=place, curve=folder) as bench:
        for junk in (
            b"",
            b"GET / HTTP/1.0\r\n\r\n",
            b"\xff" + bytes(8) + b"\x7f\3\0CURVE" + bytes(99),
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(junk)
        await bench.until_said(lambda text: text.startswith("denies"))
        client = bench.client(**keys_of(folder, "ann"))
        client.ask(b"run", b"1", b"hello")
        assert await client.output() == [b"hello\n"]


async def test_clients_can_be_added_and_removed_while_the_server_runs(folder: Path) -> None:
    async with serving("ipc", curve=folder) as bench:
        (folder / "clients" / "ann.key").unlink()
        (folder / "clients" / "broken.key").write_text("no key\xff")
        (folder / "clients" / "short.key").write_text('public-key = "short"')
        ann = keys_of(folder, "ann")
        removed = bench.client(**ann)
        ask_in_vain(removed, b"run", b"1", b"hello")
        await bench.until_said(lambda text: text.endswith(ann["CURVE_PUBLICKEY"].decode()))
        job_keys.main([str(folder), "cid"])
        client = bench.client(**keys_of(folder, "cid"))
        client.ask(b"run", b"1", b"hello")
        assert await client.output() == [b"hello\n"]
        assert not removed.received


async def test_a_folder_that_cannot_be_read_now_can_be_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> dict[bytes, str]:
        raise OSError("too many open files")

    async with serving("ipc", curve=folder) as bench:
        with monkeypatch.context() as patch:
            patch.setattr("job_gate.clients_in", fail)
            ask_in_vain(bench.client(**keys_of(folder, "bob")), b"run", b"1", b"hello")
            await bench.until_said(lambda text: text.startswith("denies"))
        again = bench.client(**keys_of(folder, "bob"))
        again.ask(b"run", b"1", b"hello")
        assert await again.output() == [b"hello\n"]


async def test_heartbeats_are_for_those_with_a_key(folder: Path) -> None:
    beats = f"ipc://@beats{os.getpid()}"
    async with serving("ipc", heartbeats=beats, beat=0.02, curve=folder) as bench:
        with bench.context.socket(zmq.SUB) as ear, bench.context.socket(zmq.SUB) as stranger:
            for option, value in keys_of(folder, "ann").items():
                ear.setsockopt(getattr(zmq, option), value)
            for each in stranger, ear:
                each.subscribe(b"")
                each.connect(beats)
            await bench.until_said(lambda text: text.startswith("denies"))
            assert (await ear.recv_multipart())[0] == b"heartbeat"
            assert not await stranger.poll(100)


async def test_of_many_who_are_turned_away_few_are_told_and_all_are_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job_gate.INTERVAL", 0.5)
    number = 30
    async with serving("ipc", curve=folder) as bench:
        for _ in range(number):
            options, _ = strangers(folder)["unknown key"]
            ask_in_vain(bench.client(reading=False, RECONNECT_IVL=-1, **options), b"junk")
        await bench.until_said(lambda text: bench.server.counts()["denied"] == number)
        told = [text for text in bench.said if text.startswith("denies")]
    assert bench.server.counts()["denied"] == number
    assert len(told) < 6
    assert told[0].startswith("denies a client: its key is unknown: ")
    assert " more: its key is unknown: " in told[1]


async def test_the_client_of_the_examples_has_keys(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, bytes]] = []

    def show(kind: str, text: bytes) -> None:
        shown.append((kind, text))

    async def status(own: Path, server: Path) -> int:
        place = bench.settings.server
        return await Submission(bench.context, place, ["hello"], show, keys=(own, server)).run()

    async with serving("ipc", curve=folder) as bench:
        ann = folder / "clients" / "ann.key_secret"
        assert await status(ann, folder / "server.key") == 0
        assert ("out", b"hello\n") in shown
        monkeypatch.setattr("job_client.SILENCE", 0.3)
        job_keys.make(folder, "stranger")
        assert await status(folder / "stranger.key_secret", folder / "server.key") == 1
        assert shown[-1][0] == "error"
        assert await status(ann, folder / "stranger.key") == 1
        with pytest.raises(ValueError, match="has no secret key"):
            await status(folder / "server.key", folder / "server.key")
        with pytest.raises(OSError, match="nowhere"):
            await status(ann, folder / "nowhere")


async def test_a_gate_leaves_no_thread_behind_where_somebody_listens_already(folder: Path) -> None:
    with Context() as context, context.socket(zmq.REP) as other:
        other.bind("inproc://zeromq.zap.01")
        with pytest.raises(zmq.ZMQError, match="in use"), Gate(context, folder):
            pass


# The files of keys.


def test_secret_keys_are_for_their_owner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.umask(0)
    try:
        job_keys.main([str(tmp_path / "keys"), "ann"])
    finally:
        os.umask(before)
    files = {file.name: file for file in tmp_path.rglob("*") if file.is_file()}
    assert set(files) == {"server.key", "server.key_secret", "ann.key", "ann.key_secret"}
    for name, file in files.items():
        if name.endswith("secret"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        else:
            assert load_certificate(file)[1] is None
    assert stat.S_IMODE((tmp_path / "keys" / "clients").stat().st_mode) == 0o700
    made = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in made] == ["made", "made"]


def test_keys_that_are_there_are_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.read_text() for file in folder.rglob("*.key*")}
    capsys.readouterr()
    (folder / "clients" / "ann.key_secret").unlink()  # it is where ann is
    del before[folder / "clients" / "ann.key_secret"]
    job_keys.main([str(folder), "ann", "cid"])
    assert {file: file.read_text() for file in before} == before
    assert not (folder / "clients" / "ann.key_secret").exists()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "kept",
        "kept",
        "made",
    ]


def test_what_is_wrong_with_keys_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "", "../ann", ".", "-x", "a b", "ann/bob":
        with pytest.raises(SystemExit):
            job_keys.main([str(folder), "--", name])
    assert "a name has letters, digits" in capsys.readouterr().err
    (folder / "clients" / "ann.key").unlink()
    with pytest.raises(SystemExit, match=r"cannot make the keys of ann: .*exists"):
        job_keys.main([str(folder), "ann"])
    with Context() as context, pytest.raises(OSError, match=r"server\.key_secret"):
        Gate(context, folder / "clients")
    secret = folder / "server.key_secret"
    secret.chmod(0o640)
    with Context() as context, pytest.raises(ValueError, match="chmod 600"):
        Gate(context, folder)
    secret.chmod(0o600)
    for wrong in "short", "~" * 40:
        secret.write_text(f'public-key = "x"\nsecret-key = "{wrong}"')
        with Context() as context, pytest.raises(ValueError, match="40 characters"):
            Gate(context, folder)
    with pytest.raises(ValueError, match="40 characters"):
        job_keys.public_key(secret)


# The programs, as a reader runs them.

#: Runs an example as a program, and says at its very end which threads are left, but for those
#: that trio keeps for some seconds to use them again.
PROGRAM = """
import atexit, pathlib, runpy, sys, threading

def tell():
    names = [each.name for each in threading.enumerate()]
    print("threads:", [name for name in names if not name.startswith("Trio thread")])

atexit.register(tell)
sys.argv = sys.argv[1:]
sys.path[0] = str(pathlib.Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def program(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", PROGRAM, str(EXAMPLES / name), *arguments]


@contextmanager
def server(backend: str, keys: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The server in a process of its own, and the environment for its clients."""
    # Not tmp_path, which may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="jobs") as folder:
        place, beats = f"ipc://{folder}/jobs", f"ipc://{folder}/beats"
        arguments = ["--curve", str(keys), "--server", place, "--heartbeats", beats]
        process = subprocess.Popen(
            program("job_server.py", *arguments, "--slots", "3", "--backend", backend),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            assert "listens at" in process.stdout.readline()
            yield process, {**os.environ, "JOB_SERVER": place}
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_and_authenticator_end_with_a_signal(
    folder: Path, backend_name: str, number: signal.Signals
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with server(backend_name, folder) as (process, environment):
            told = ["--key", str(folder / "clients" / "ann.key_secret")]
            told += ["--server-key", str(folder / "server.key"), "--backend", backend_name]
            client = program("job_client.py", *told, "hello")
            done = subprocess.run(
                client, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0
            assert done.stdout.startswith("Hello from a program")
            stranger = subprocess.Popen(
                program("job_client.py", "hello"),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert process.stdout is not None
            said: list[str] = []
            while not any("denies a client" in line for line in said):
                said.append(process.stdout.readline())
            stranger.terminate()
            assert stranger.communicate()[0] == "threads: ['MainThread']\n"
            process.send_signal(number)
            rest, _ = process.communicate(timeout=20)
            assert process.returncode == (0 if number == signal.SIGTERM else 128 + number)
    finally:
        signal.signal(signal.SIGINT, before)
    *_, ended, threads = rest.splitlines()
    assert ended.startswith("server | has ended: 0 running, 0 queued, 0 clients, 1 exited, ")
    assert threads == "threads: ['MainThread']"
    assert "Traceback" not in "".join(said) + rest


def test_what_is_wrong_with_the_arguments_is_said(folder: Path) -> None:
    (folder / "server.key_secret").chmod(0o644)
    cases = [
        (program("job_server.py", "--curve", "/nowhere"), "cannot use the keys: "),
        (program("job_server.py", "--curve", str(folder)), "cannot use the keys: "),
        (program("job_client.py", "--key", "/nowhere", "hello"), "a client needs both: "),
        (
            program("job_client.py", "--key", "/nowhere", "--server-key", "/nowhere"),
            "cannot use the keys: ",
        ),
    ]
    for command, why in cases:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "threads: ['MainThread']\n")
        assert done.stderr.startswith(why)


def test_the_commands_of_the_page_are_right(tmp_path: Path, backend_name: str) -> None:
    """What docs/zeromq.rst tells to type, exactly, but for the places to listen at."""
    text = (EXAMPLES.parent / "docs" / "zeromq.rst").read_text()
    lines = [line.strip() for line in text.splitlines()]
    make, serve, ask = (
        line.removeprefix("$ ").replace("python", sys.executable).split()
        for line in lines
        if line.startswith("$ python examples/job_")
    )
    (tmp_path / "examples").symlink_to(EXAMPLES)
    subprocess.run(make, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="jobs") as place:
        environment = {
            **os.environ,
            "JOB_SERVER": f"ipc://{place}/jobs",
            "JOB_HEARTBEATS": f"ipc://{place}/beats",
        }
        process = subprocess.Popen(
            [*serve, "--backend", backend_name],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert "listens at" in process.stdout.readline()
            done = subprocess.run(
                ask, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout) == (0, "1\n2\n3\n")
        finally:
            process.terminate()
            process.communicate()
