"""The rows of the table: what is measured, against whom, and which ratio is to be reached.

The targets are those that the library promises. Where it promises nothing about a peer, the ratio
is printed and nobody judges it.

A contender is written as its class in :mod:`contenders`; ``+100`` after it says how many functions
wait for ever in the same block meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Which rows there are, by the names that ``--rows`` takes, in the order in which they are printed.
NAMES = (
    "step", "start", "sleep", "idle", "memory", "algebra", "events", "messages", "jobs", "import",
    "growth", "losses",
)  # fmt: skip

#: Those that are measured unless others are asked for, and if it is to be quick.
DEFAULT, QUICK = NAMES[:-1], NAMES[:-2]

#: How the contenders are called in the table.
TITLES = {
    "Ours": "itself, no idle wires",
    "OurMessages": "aiowire.zmq",
    "Bare": "bare await loop",
    "Old": "aiowire 3.1.0",
    "TaskGroup": "asyncio.TaskGroup",
    "Nursery": "trio.Nursery",
    "CreateTask": "anyio create_task",
    "StartSoon": "anyio start_soon",
    "BlockingMessages": "blocking zmq.Poller loop",
    "ZmqAsyncio": "zmq.asyncio",
    "ZmqAnyio": "zmq-anyio",
    "ByHand": "anyio, by hand",
    "AnyioGather": "anyio.gather",
    "AsyncioWait": "asyncio.gather, wait, timeout",
    "AiotoolsRace": "aiotools.race",
    "TrioUtil": "trio_util.wait_all, wait_any",
    "OldPolledMessages": "aiowire 3.1.0",
    "AddReader": "loop.add_reader",
    "Asking": "epoll, asking as we do",
    "WaitReadable": "anyio.wait_readable",
    "Selector": "selectors",
    "AsyncioJobs": "zmq.asyncio, by hand",
    "TrioJobs": "trio and pyzmq, by hand",
    "anyio": "import anyio",
    "pass": "bare python",
    "run_anyio": "import anyio, one function",
}

#: Who runs on asyncio only, and is compared there with ours on any backend.
ASYNCIO_ONLY = ("Old", "OldPolledMessages", "ZmqAsyncio", "AsyncioJobs")

#: "No slower" allows for this much: two samples of the same thing differ by a few per cent.
NO_SLOWER = 1.1

Limits = Mapping[str, "float | None"]


@dataclass(frozen=True)
class Row:
    """One measurement of ours and its peers, which makes a line of the table for each peer.

    :param name: the name by which it is chosen
    :param what: what is measured, in words
    :param job: the method of a contender that is run, or ``memory`` and the like
    :param peers: for each, the greatest ratio of ours to theirs that passes, or ``None``
    :param floor: the peer that shows what this costs without any library
    :param ours: which of ours is measured
    :param figure: which of several that the job gives
    """

    name: str
    what: str
    job: str
    peers: Limits
    floor: str
    ours: str = "Ours"
    figure: str = ""

    @property
    def measured(self) -> str:
        """The job, and which figure of it."""
        return f"{self.job}.{self.figure}" if self.figure else self.job

    @property
    def contenders(self) -> list[str]:
        """All who are measured for this row."""
        return list(dict.fromkeys([self.ours, *self.peers, self.floor]))


def title(contender: str, backend: str) -> str:
    """Say who a contender is, and where it runs if that is elsewhere."""
    name, _, idle = contender.partition("+")
    where = " (asyncio)" if name in ASYNCIO_ONLY and backend == "trio" else ""
    return f"{TITLES[name]}{where}, {int(idle):,} idle" if idle else TITLES[name] + where


def rows_of(backend: str) -> list[Row]:
    """Give the rows that are measured on each backend."""
    native = "Nursery" if backend == "trio" else "TaskGroup"
    tenth: Limits = {"CreateTask": 0.1, "StartSoon": 0.1, native: None}
    half = 0.5 if backend == "trio" else None
    sleep: Limits = {
        native: 1.1 if backend == "asyncio" else None,
        "CreateTask": half,
        "StartSoon": half,
    }
    same: Limits = {"CreateTask": 1.05, "StartSoon": 1.05}
    start, nap = "start a wire that ends at once", "start a wire that sleeps 10 ms"
    return [
        Row("step", "one step of a chain", "step", {"Bare": 2.0, "Old": 1 / 50}, "Bare"),
        Row("start", f"{start}; first use", "start_first", {**tenth, "Old": 0.4}, "Bare"),
        Row("start", f"{start}; warm", "start_warm", tenth, "Bare"),
        Row("sleep", f"{nap}; first use", "sleep_first", {**sleep, "Old": None}, native),
        Row("sleep", f"{nap}; warm", "sleep_warm", sleep, native),
        Row("idle", "one step, 10,000 idle wires", "step", {"Ours": NO_SLOWER, "Old+10000": None},
            "Bare", "Ours+10000"),
        *idle_rows("one step", "step", "Bare", 100),
        *idle_rows("start, end at once; warm", "start_warm", "Bare", 100, 10_000),
        *idle_rows("start, sleep 10 ms; warm", "sleep_warm", native, 100, 10_000),
        Row("memory", "memory of an idle wire", "memory", same, native),
        *algebra_rows(backend),
        *event_rows(backend),
        *message_rows(),
        *job_rows(backend),
    ]  # fmt: skip


def algebra_rows(backend: str) -> list[Row]:
    """Give the rows on parts that run at the same time, or within a time."""
    hand, ours = "ByHand", "Wires"
    native: Limits = {"TrioUtil" if backend == "trio" else "AsyncioWait": None}
    racing = native if backend == "trio" else {**native, "AiotoolsRace": None}
    limits = native if backend != "trio" else {}
    return [
        Row("algebra", "a & b", "all", {hand: 1.3, "AnyioGather": None, **native}, hand, ours),
        Row("algebra", "a | b", "race", {hand: 1.3, **racing}, hand, ours),
        Row("algebra", "Select of two ready steps", "select", {hand: 1.5, **limits}, hand, ours),
        Row("algebra", "Timeout of a step", "timeout", {hand: 1.5, **limits}, hand, ours),
    ]


def event_rows(backend: str) -> list[Row]:
    """Give the rows on descriptors: rates are compared as the time that an event takes."""
    waiting: Limits = {"WaitReadable": 1 / 0.9 if backend == "trio" else None}
    adding: Limits = {"AddReader": 1 / 0.9 if backend == "asyncio" else None}
    peers = waiting if backend == "trio" else {**adding, "Asking": None, **waiting}
    among = "+5000"
    idle: Limits = {f"{peer}{among}": None for peer in peers}
    unjudged: Limits = dict.fromkeys(peers)
    ours, floor = "PolledEvents", "Selector"
    return [
        Row("events", "fd event, 200 busy", "events", peers, floor, ours),
        Row("events", "fd event, processor", "events", unjudged, floor, ours, "processor"),
        Row("events", "fd event, 5,000 idle", "events", idle, floor + among, ours + among),
        Row("events", "fd event, processor, 5,000 idle", "events", idle, floor + among,
            ours + among, "processor"),
    ]  # fmt: skip


def message_rows() -> list[Row]:
    """Give the rows on ZeroMQ: rates are compared as the time that a message takes."""
    peers: Limits = {"ZmqAsyncio": None, "ZmqAnyio": None}
    blocking, ours = "BlockingMessages", "OurMessages"
    return [
        Row("messages", "ZeroMQ message into a Poller wire", "flood",
            {blocking: 1 / 0.7, "OldPolledMessages": None}, blocking, "PolledMessages"),
        Row("messages", "ZeroMQ message, await recv()", "flood",
            {**peers, "ZmqAsyncio": 1 / 4, blocking: None}, blocking, ours),
        Row("messages", "request and reply in one loop", "request",
            {**peers, "ZmqAsyncio": 1 / 1.5}, ours, ours),
        *(
            Row("messages", f"request and reply, other process, {by}, {part}", by,
                {**peers, blocking: None}, blocking, ours, part)
            for by in ("ipc", "tcp") for part in ("p50", "p99")
        ),
        Row("messages", "memory of an idle socket", "idle_sockets",
            {**peers, blocking: None}, blocking, ours),
        Row("messages", "messages lost by time-outs, share", "lost", peers, ours, ours),
    ]  # fmt: skip


def job_rows(backend: str) -> list[Row]:
    """Give the rows on a server of jobs for 50 clients."""
    hand = "TrioJobs" if backend == "trio" else "AsyncioJobs"
    peers: Limits = dict.fromkeys([hand, "AsyncioJobs"])
    return [
        Row("jobs", f"job server, 50 clients, {what}", "jobs", peers, hand, "WireJobs", figure)
        for what, figure in (
            ("a job", ""), ("p50", "p50"), ("p99", "p99"), ("processor per job", "processor"),
            ("memory", "memory"),
        )
    ]  # fmt: skip


def idle_rows(what: str, job: str, floor: str, *numbers: int) -> list[Row]:
    """Give the rows that compare ours among idle wires with ours alone."""
    return [
        Row("idle", f"{what}, {idle:,} idle wires", job, {"Ours": NO_SLOWER}, floor, f"Ours+{idle}")
        for idle in numbers
    ]


def import_rows() -> list[Row]:
    """Give the rows that have nothing to do with a backend."""
    limit: Limits = {"anyio": 1.15}
    return [
        Row("import", "import aiowire, the import alone", "import", limit, "pass", "aiowire"),
        Row("import", "import aiowire, the whole process", "process", limit, "pass", "aiowire"),
        Row("import", "import aiowire, run one wire; the whole process", "process",
            {"run_anyio": None}, "pass", "run_aiowire"),
    ]  # fmt: skip
