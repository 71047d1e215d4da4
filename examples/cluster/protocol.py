"""What a broker, its workers and its clients say to each other, and how often.

This is the pattern of the ZeroMQ guide that is called *paranoid pirate*: anybody may be killed, cut
off or started again at any time, and all notice it by heartbeats that stay away. Clients and
workers are DEALERs, the broker is a ROUTER with one address for all. The messages, each frame a
word::

    a client or a worker says              the broker says
    hello client|worker NAME   at first    alive           to hello, and to each alive
    alive                      at a beat   stranger        to all else from who has not said hello
    bye                        at last

    a client says                          the broker says to it
    job NUMBER ARGUMENT                    answer NUMBER done|failed VALUE

    the broker says to a worker            it says
    job NUMBER ARGUMENT                    answer NUMBER done|failed VALUE

NUMBER is the sender's own: a client numbers its jobs, and the broker each attempt at one.

Why nothing is lost
-------------------
ZeroMQ connects a DEALER again by itself, and what was on its way is then lost without a word. But
the ROUTER tells connections apart, so that a message after such a gap is from a *stranger*: hello
is the first message, and a connection on which it arrives has lost nothing that was sent before. To
be told so, or to hear nothing for :data:`LIVENESS` beats, ends a *session*. The next one has a new
socket, and begins with hello and with every job that is not answered yet. So within a session all
messages arrive, and in order.

The broker keeps everything in memory. When it is started again all are strangers to it, and come
with their jobs. A worker that was silent for so many beats is given up, and its job goes to another
one.

So each job is worked on *at least once*, and perhaps twice: jobs must be pure, or not mind. Its
answer is given to whoever asked for it exactly once, for the client takes a job off its list with
the first answer, and drops others. What no protocol can do is to protect workers from a job that
kills them: it is tried again and again.
"""

from __future__ import annotations

__all__ = [
    "BEAT",
    "FAREWELL_MS",
    "FIRST_PAUSE",
    "LIVENESS",
    "LONGEST_FRAME",
    "LONGEST_PAUSE",
    "Kind",
]

#: Seconds between heartbeats.
BEAT = 0.2

#: Who is silent for more beats than this is gone.
LIVENESS = 4

#: Seconds before a new session. They double, up to the longest, until the broker is heard.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.6

#: Milliseconds for the last messages to leave at an orderly end.
FAREWELL_MS = 200

#: A frame may have so many bytes; who sends more is disconnected.
LONGEST_FRAME = 65536


class Kind:
    """The first frame of a message."""

    HELLO = b"hello"
    ALIVE = b"alive"
    BYE = b"bye"
    STRANGER = b"stranger"
    JOB = b"job"
    ANSWER = b"answer"
