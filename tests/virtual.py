"""Tests in virtual time: no test of them sleeps, and what happens in it happens at exact moments.

uvloop has no such time. What these tests show of the library holds there too, for it never looks at
the time itself but through anyio.
"""

from __future__ import annotations

from typing import Any

import pytest

from aiowire.testing import virtual_time

__all__ = ["UNIT", "anyio_backend"]

#: The grain of time, in seconds. Sums of a few hundred thousand seconds are exact.
UNIT = 2.0**-32


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run every test on each backend that can have virtual time."""
    return request.param, virtual_time(request.param)
