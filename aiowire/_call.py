"""Calls as wires: :class:`Call`, what it can continue with, and :data:`never`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import anyio

from ._check import check_function, name_of
from ._wire import Constant, Rest, Wire, is_awaitable

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:
    from typing import Protocol

    from ._loop import EventLoop

    class HasResult(Protocol[R_co]):
        """A wire that comes to a result."""

        async def _result(self, ev: EventLoop) -> R_co: ...


__all__ = ["Call", "never"]


class Call(Wire, Generic[R_co]):
    """Call a function that knows nothing of event loops, and finish.

    The function may be async or plain: an awaitable result is awaited. The result is dropped,
    unless :meth:`then` says what to do with it.

    :param f: the function
    :param args: its positional arguments
    :param kwargs: its keyword arguments
    :raises TypeError: when ``f`` is not callable

    *Cancellation*: that of ``f``. ::

        ev.start(Call(anyio.sleep, 0.1) >> Call(print, "beep"))
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what is given has to fit the function; that of Wire is what runs

        @overload
        def __init__(
            self, f: Callable[P, Awaitable[R_co]], /, *args: P.args, **kwargs: P.kwargs
        ) -> None: ...

        @overload
        def __init__(self, f: Callable[P, R_co], /, *args: P.args, **kwargs: P.kwargs) -> None: ...

        def __init__(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None: ...

    async def __call__(self, ev: EventLoop) -> Rest:
        """Make the call and finish."""
        value = self._fn(*self._args, **self._kwargs)
        if is_awaitable(value):
            await value
        return None

    async def _result(self, ev: EventLoop) -> R_co:
        value = self._fn(*self._args, **self._kwargs)
        result: R_co = await value if is_awaitable(value) else value
        return result

    def then(self, k: Callable[[R_co], Rest | Awaitable[Rest]], /) -> Then:
        """Continue with the wire, or ``None``, that ``k(result)`` returns.

        :param k: a function, async or plain, of the result of the call
        :raises TypeError: when ``k`` is not callable

        *Cancellation*: while ``f`` runs, that of ``f``; a result that ``f`` gave before the
        cancellation took effect is passed to ``k``. ::

            ev.start(Call(anyio.run_process, "date").then(lambda p: Call(print, p.stdout)))
        """
        return Then(self, k)


class Then(Wire):
    """A wire that has a result, and the continuation that gets it."""

    __slots__ = ("_k", "_wire")

    def __init__(self, wire: HasResult[R_co], k: Callable[[R_co], Rest | Awaitable[Rest]]) -> None:
        check_function(k, "then")
        self._wire: HasResult[Any] = wire
        self._k: Callable[[Any], Any] = k

    async def __call__(self, ev: EventLoop) -> Rest:
        """Run the wire and give back what the continuation says."""
        rest = self._k(await self._wire._result(ev))
        given: Rest = await rest if is_awaitable(rest) else rest
        return given

    def __repr__(self) -> str:
        return f"{self._wire!r}.then({name_of(self._k)})"


async def _wait_for_ever(ev: EventLoop) -> None:
    await anyio.sleep_forever()


#: The wire that never finishes until it is cancelled.
never: Wire = Constant("never", _wait_for_ever)
