"""Run a part of a task in a context of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

__all__: list[str] = []


class InContext:
    """Await a coroutine so that each stretch of it, from wait to wait, runs in a context."""

    __slots__ = ("_coro", "_run")

    def __init__(self, context: Context, coro: Coroutine[Any, Any, Any]) -> None:
        self._run = context.run
        self._coro = coro

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    __iter__ = __await__

    def __next__(self) -> Any:
        return self._run(self._coro.send, None)

    def send(self, value: Any) -> Any:
        return self._run(self._coro.send, value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        return self._run(self._coro.throw, typ if val is None else val)

    def close(self) -> None:
        self._run(self._coro.close)


class InStretches:
    """Await a coroutine, and call a function after each stretch of it, from wait to wait."""

    __slots__ = ("_after", "_coro")

    def __init__(self, coro: Coroutine[Any, Any, Any], after: Callable[[], object]) -> None:
        self._coro = coro
        self._after = after

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    __iter__ = __await__

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        try:
            return self._coro.send(value)
        finally:
            self._after()

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        try:
            return self._coro.throw(typ if val is None else val)
        finally:
            self._after()

    def close(self) -> None:
        self._coro.close()
