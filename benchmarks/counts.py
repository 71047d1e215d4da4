"""What is counted where a contender may lose something."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from operator import gt


@dataclass
class Counts:
    """What came out of one scenario; ``None`` where a scenario does not tell."""

    of: int  # messages, or rounds
    lost: int | None = None
    twice: int | None = None
    hung: int | None = None
    refused: int = 0  # awaited sends that ended in ``zmq.Again`` and were tried again
    longest_ms: float | None = None  # from the cause to the end, or between two turns
    turns: int | None = None
    lost_by: dict[str, int] = field(default_factory=dict)  # of which kind were those lost
    note: str = ""

    def cell(self) -> str:
        """Give the text of a cell of the table: lost / twice / hung, and what there is beside."""
        three = (self.lost, self.twice, self.hung)
        parts = [" / ".join("–" if each is None else f"{each:,}" for each in three)]
        if self.longest_ms is not None:
            parts.append(f"{self.longest_ms:,.1f} ms")
        if self.turns is not None:
            parts.append(f"{self.turns:,} turns")
        if self.refused:
            parts.append(f"{self.refused:,} refused")
        if self.lost_by:
            parts.append(f"by {', '.join(self.lost_by)}")
        return "; ".join([*parts, self.note] if self.note else parts)

    def as_dict(self) -> dict[str, object]:
        """Give everything as JSON has it."""
        return asdict(self)


class Tally:
    """Numbered messages: which have been sent, and how often each has arrived."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.received = 0  # different ones
        self._sent = bytearray(number)
        self._got = bytearray(number)

    def send(self, n: int) -> None:
        """Note that a message was accepted."""
        self._sent[n] = 1

    def receive(self, n: int) -> None:
        """Note that a message has arrived."""
        self.received += not self._got[n]
        self._got[n] += 1

    @property
    def sent(self) -> int:
        """How many were accepted."""
        return sum(self._sent)

    @property
    def lost(self) -> int:
        """How many were accepted, and never arrived."""
        return sum(map(gt, self._sent, self._got))

    @property
    def twice(self) -> int:
        """How many arrivals there were too many."""
        return sum(self._got) - self.received
