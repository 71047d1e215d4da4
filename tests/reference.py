"""What the algebra means: an interpreter of programs that is slow and follows the contract.

A program is data, see :class:`P`. It is worked out from what it is and when it begins, with no
event loop: a :class:`Run` says what happened at which moment. Time is a whole number of grains.
Each step takes a time that no other step takes, so no two things in a program happen at the same
moment unless one is the cause of the other, and there is one right trace.

What happens in one branch and matters to others (it fails, ends, calls ``ev.cancel()``) is an
event. Branches are worked out as if there were none, then the first event is told to those that
it concerns, and they are worked out again, until all events have been told.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

INF = math.inf
SECOND = 1 << 32


@dataclass(frozen=True)
class P:
    """A program: of which kind, its number, the programs in it, and a small number."""

    kind: str
    n: int = 0
    parts: tuple[P, ...] = ()
    k: Any = None


@cache
def grains(n: int, use: str = "step") -> int:
    """How long something takes, 1 to 4 seconds: another time for each number and each use."""
    return random.Random(f"{n} {use}").randrange(SECOND, 4 * SECOND)


class Env(NamedTuple):
    """When the loop around is cancelled, and when it is asked to stop."""

    cut: float
    stop: float


class Event(NamedTuple):
    """What others have to know of."""

    when: float
    what: str
    n: int = 0
    grace: float = INF


@dataclass
class Run:
    """What has come of a program, or of one step of it."""

    end: float
    trace: list[tuple[float, int]] = field(default_factory=list)
    rest: P | None = None
    cancelled: bool = False
    failures: list[str] = field(default_factory=list)
    started: list[tuple[float, P]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def after(self, before: Run) -> Run:
        """This run with what went before it."""
        for name in ("trace", "started", "events"):
            setattr(self, name, getattr(before, name) + getattr(self, name))
        return self


#: A step that takes time and is seen.
MARK = P("mark")


def seq(*parts: P | None) -> P | None:
    """What is left when these are, ``None`` being nothing."""
    left = tuple(part for part in parts if part is not None)
    return P("seq", parts=left) if left else None


def wait(n: int, begin: float, env: Env) -> Run:
    """Take the time of a step, or be cancelled meanwhile."""
    end = begin + grains(n)
    return Run(end) if end <= env.cut else Run(max(begin, env.cut), cancelled=True)


def step(p: P, t: float, env: Env) -> Run:
    """Work out one step of a program that begins at a moment."""
    if p.kind in ("mark", "leave", "fail", "cancel", "stop"):
        run = wait(p.n, t, env)
        return run if run.cancelled else after_wait(p, run.end, env)
    if p.kind == "now":
        return Run(t, [(t, p.n)])
    if p.kind in ("start", "background"):
        return Run(t, started=[(t, p)])
    if p.kind in ("repeat", "forever", "every") and t >= env.stop:
        return Run(t)  # no further round begins
    return globals()[f"step_{p.kind}"](p, t, env)


def after_wait(p: P, t: float, env: Env) -> Run:
    run = Run(t, [(t, p.n)])
    if p.kind == "leave":
        run.rest = p.parts[0]
    elif p.kind == "fail":
        run.failures = [f"{p.k}({p.n})"]
    elif p.kind == "cancel":
        run.events = [Event(t, "cancel", p.n)]
        run.end, run.cancelled = max(t, env.cut), True
    elif p.kind == "stop":
        run.events = [Event(t, "stop", p.n, grains(p.n, "grace") if p.k else INF)]
    return run


def step_done(p: P, t: float, env: Env) -> Run:
    return Run(t)


def step_never(p: P, t: float, env: Env) -> Run:
    return Run(max(t, env.cut), cancelled=True)


def step_sleep(p: P, t: float, env: Env) -> Run:
    end = t + p.k
    return Run(end) if end <= env.cut else Run(max(t, env.cut), cancelled=True)


def step_seq(p: P, t: float, env: Env) -> Run:
    if not p.parts:
        return Run(t)
    run = step(p.parts[0], t, env)
    run.rest = seq(run.rest, *p.parts[1:])
    return run


def step_repeat(p: P, t: float, env: Env) -> Run:
    return step_seq(P("seq", parts=(*p.parts, replace(p, k=p.k - 1))), t, env) if p.k else Run(t)


def step_forever(p: P, t: float, env: Env) -> Run:
    return step_seq(P("seq", parts=(*p.parts, p)), t, env)


def step_every(p: P, t: float, env: Env) -> Run:
    return step_seq(P("seq", parts=(*p.parts, P("tick", p.n, p.parts, (t, 1)))), t, env)


def step_tick(p: P, t: float, env: Env) -> Run:
    begun, number = p.k
    period = grains(p.n, "period")
    number = max(number, math.ceil((t - begun) / period))
    when = begun + number * period
    until = min(when, max(t, env.stop))
    if until > env.cut:
        return Run(max(t, env.cut), cancelled=True)
    rest = seq(*p.parts, replace(p, k=(begun, number + 1)))
    return Run(until, rest=None if env.stop <= until else rest)


def step_all(p: P, t: float, env: Env) -> Run:
    return group(p.parts, t, env)


def step_race(p: P, t: float, env: Env) -> Run:
    return group(p.parts, t, env, "end") if p.parts else step_never(p, t, env)


def step_select(p: P, t: float, env: Env) -> Run:
    return group(p.parts, t, env, "step") if p.parts else step_never(p, t, env)


def step_timeout(p: P, t: float, env: Env) -> Run:
    deadline = t + grains(p.n, "timeout")
    run = group(p.parts[:1], t, Env(min(env.cut, deadline), env.stop), hosted=True)
    if run.cancelled and deadline < env.cut:
        run.cancelled, run.rest = False, p.parts[1]
    return run


def step_catch(p: P, t: float, env: Env) -> Run:
    a, handler = p.parts
    run = step(a, t, env)
    if run.failures and all(each.startswith(p.k) for each in run.failures):
        run.failures, run.rest = [], handler
    elif run.rest is not None:
        run.rest = replace(p, parts=(run.rest, handler))
    return run


def step_retry(p: P, t: float, env: Env) -> Run:
    return step_attempt(P("attempt", p.n, p.parts * 2, (p.k, grains(p.n, "wait"))), t, env)


def step_attempt(p: P, t: float, env: Env) -> Run:
    a, afresh = p.parts
    left, pause = p.k
    run = step(a, t, env)
    if run.failures and left > 1:
        run.failures = []
        again = replace(p, parts=(afresh, afresh), k=(left - 1, 2 * pause))
        run.rest = seq(P("sleep", k=pause), again)
    elif run.rest is not None:
        run.rest = replace(p, parts=(run.rest, afresh))
    return run


def step_finally(p: P, t: float, env: Env) -> Run:
    run = chain(p.parts[0], t, env)
    cleanup = group(p.parts[1:], run.end, Env(INF, INF))  # shielded from both
    failures = run.failures + cleanup.failures
    cancelled = run.cancelled and not failures
    return replace(cleanup.after(run), failures=failures, cancelled=cancelled)


def chain(p: P | None, t: float, env: Env) -> Run:
    """Work out a program to its end."""
    run = Run(t)
    while p is not None and not run.failures and not run.cancelled:
        run = step(p, run.end, env).after(run)
        p = run.rest
    return run


def branch(p: P, t: float, env: Env, what: str) -> list[Run]:
    """Work out a chain, or only its first step, and all the chains that are started by it."""
    runs = [(step if what == "step" else chain)(p, t, env)]
    background: list[tuple[float, P]] = []
    for run in runs:  # which grows
        for when, each in run.started:
            if each.kind == "background":
                background.append((when, each.parts[0]))
            else:
                runs.append(chain(each.parts[0], when, env))
    last = max(run.end for run in runs)
    background.sort(key=lambda item: item[0])
    for when, each in reversed(background):
        run = chain(each, when, Env(min(env.cut, max(when, last)), env.stop))
        last = max(last, run.end)
        runs.append(run)
    return runs


def events_of(number: int, runs: list[Run], what: str) -> list[tuple[Event, int]]:
    """Give what happened in a branch that others have to know of."""
    events = [event for run in runs for event in run.events]
    events += [Event(run.end, "fail") for run in runs if run.failures]
    if what == "end":
        events.append(Event(max(run.end for run in runs), "end"))
    if what == "step" and not runs[0].failures and not runs[0].cancelled:
        events.append(Event(runs[0].end, "step"))
    return [(event, number) for event in events]


def group(
    parts: tuple[P, ...], t: float, env: Env, what: str = "all", *, hosted: bool = False
) -> Run:
    """Work out branches.

    :param what: which event of a branch cancels the others, ``"end"`` or ``"step"``
    :param hosted: whether the first chain is followed by the code that has the branches, which so
        learns of its own cancellation where the chain does
    """
    envs = [env] * len(parts)
    told: set[tuple[Event, int]] = set()
    while True:
        runs = [branch(p, t, each, what) for p, each in zip(parts, envs, strict=True)]
        events = [event for i, each in enumerate(runs) for event in events_of(i, each, what)]
        news = min((event for event in events if event not in told), default=None)
        if news is None:
            break
        told.add(news)
        event, number = news
        decided = any(each.what == what for each, _ in told - {news})
        for i, each in enumerate(envs):
            if concerns(event, what, i == number) and not (event.what == what and decided):
                envs[i] = Env(
                    min(each.cut, event.when + (event.grace if event.what == "stop" else 0)),
                    min(each.stop, event.when if event.what == "stop" else INF),
                )
    flat = [run for each in runs for run in each]
    end = max([t, *[run.end for run in flat]])
    failures = [failure for run in flat for failure in run.failures]
    cancelled = env.cut <= end
    if hosted:
        body = runs[0][0]
        cancelled = (body.cancelled and envs[0].cut == env.cut) or env.cut <= end > body.end
    rests = [each[0].rest for each in runs] if what == "step" else []
    steps = [event for event, _ in events if event.what == "step"]
    return Run(
        end,
        sorted([item for run in flat for item in run.trace], key=lambda item: item[0]),
        seq(*rests),
        cancelled and not failures and not steps,
        failures,
    )


def concerns(event: Event, what: str, is_own: bool) -> bool:
    """Say whether an event matters to a branch, which may be its own."""
    return event.what == "fail" or is_own == (event.what in ("cancel", "stop"))


def meaning(p: P, limit: float) -> tuple[list[tuple[float, int]], list[str], bool]:
    """Give the trace of a program in a loop, the failures, and whether its time was up."""
    run = group((p,), 0, Env(limit, INF))
    return run.trace, sorted(run.failures), run.end >= limit
