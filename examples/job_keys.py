"""The keys of the job server and its clients. Run as a program it makes them::

    python examples/job_keys.py DIR ann bob

makes in the folder DIR what is not there yet, and can be run again for further clients::

    server.key              the public key of the server, for every client
    server.key_secret       for the server alone
    clients/ann.key         the public key of ann, who is let in while it is there
    clients/ann.key_secret  for ann alone: move it to where she works

The files are those of pyzmq. A secret one can be read by its owner only, and one that others can
read is refused.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import zmq
from zmq.auth import (
    create_certificates,  # pyright: ignore[reportUnknownVariableType]
    load_certificate,  # pyright: ignore[reportUnknownVariableType]
)

from aiowire.zmq import Socket

__all__ = ["clients_in", "main", "make", "public_key", "secret_key", "unlock"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
KEY = re.compile(rb"[0-9A-Za-z.:+=^!/*?&<>()[\]{}@%$#-]{40}")


def make(folder: Path, name: str) -> bool:
    """Make a pair of keys, unless there is one of this name.

    :raises OSError: when it cannot be written, also where there is a secret key without the public
    """
    if (folder / f"{name}.key").exists():
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What is written by name below keeps the permissions that the file begins with.
    secret = folder / f"{name}.key_secret"
    os.close(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    create_certificates(folder, name)
    return True


def public_key(file: Path) -> bytes:
    """Read a public key.

    :raises OSError: when the file cannot be read
    :raises ValueError: when it is no key
    """
    key, _ = load_certificate(file)
    if not KEY.fullmatch(key):
        raise ValueError(f"{file} has no key of 40 characters")
    return key


def secret_key(file: Path) -> bytes:
    """Read a secret key, which nobody else must be able to read.

    :raises OSError: when the file cannot be read
    :raises ValueError: when others can read it, or it is no key
    """
    _, key = load_certificate(file)
    if key is None or not KEY.fullmatch(key):
        raise ValueError(f"{file} has no secret key of 40 characters")
    if file.stat().st_mode & 0o077:
        raise ValueError(f"{file} is not for its owner only: chmod 600 {file}")
    return key


def clients_in(folder: Path) -> dict[bytes, str]:
    """Give the public keys in a folder, and their names. What is no key counts for nothing."""
    found: dict[bytes, str] = {}
    for file in folder.glob("*.key"):
        with suppress(OSError, ValueError):
            found[public_key(file)] = file.stem
    return found


def unlock(socket: Socket, own: Path, server: Path) -> None:
    """Give the socket of a client its keys, before it connects.

    :param own: the file of the client's secret key
    :param server: the file of the server's public key: no other server gets anything
    """
    socket.curve_secretkey = secret = secret_key(own)
    socket.curve_publickey = zmq.curve_public(secret)
    socket.curve_serverkey = public_key(server)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what the arguments ask for, and say so."""
    parser = argparse.ArgumentParser(description="Make keys for the job server and its clients.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the server finds them")
    parser.add_argument("clients", metavar="CLIENT", nargs="*", help="the name of a client")
    options = parser.parse_args(arguments)
    for name in options.clients:
        if not NAME.fullmatch(name):
            parser.error(f"a name has letters, digits, and . _ - within, unlike {name!r}")
    pairs = [(options.folder, "server")]
    pairs += [(options.folder / "clients", name) for name in options.clients]
    for folder, name in pairs:
        try:
            done = "made" if make(folder, name) else "kept"
        except OSError as exc:
            sys.exit(f"cannot make the keys of {name}: {exc}")
        print(f"{done} {folder / name}.key")


if __name__ == "__main__":
    main()
