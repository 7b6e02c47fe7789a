"""What children are made to do in tests of the sandbox. Runs in children: imports little at first."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.sandbox.shared.launch import CHANNEL_VARIABLE

NAME = secrets.token_hex(8)


def act(task: dict[str, Any]) -> Any:
    """Does what ``task["do"]`` names, with ``task`` as its argument."""
    return globals()[task["do"]](task)


def echo(task: dict[str, Any]) -> Any:
    return task["value"]


def pid(_task: dict[str, Any]) -> int:
    return os.getpid()


def named(_task: dict[str, Any]) -> str:
    """A name that no other child has."""
    return NAME


def environment(_task: dict[str, Any]) -> dict[str, str]:
    return dict(os.environ)


def imported(_task: dict[str, Any]) -> list[str]:
    return [name for name in ("grpc", "asyncpg", "aio_pika", "aetcd") if name in sys.modules]


def refuse(task: dict[str, Any]) -> None:
    raise Refusal(task.get("code", "ENCRYPTED"), task.get("sentence", "It is locked."))


def say(task: dict[str, Any]) -> None:
    sys.stdout.write(task["words"] + "\n")
    sys.stdout.flush()


def babble(_task: dict[str, Any]) -> None:
    """Prints without end, and faster than anyone takes lines apart."""
    while True:
        os.write(2, b"\n" * 65_536)


def fail(_task: dict[str, Any]) -> None:
    raise LookupError("nothing here")


def crash(_task: dict[str, Any]) -> None:
    ctypes.string_at(0)


def leave(_task: dict[str, Any]) -> None:
    os._exit(7)


def mark(task: dict[str, Any]) -> None:
    """A program whose command line holds the mark, in a session, and so a group, of its own."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", task["mark"]], start_new_session=True)


def orphan(task: dict[str, Any]) -> None:
    """The same, left by its parent at once."""
    if os.fork() == 0:
        mark(task)
        os._exit(0)
    os.wait()


def hang(task: dict[str, Any]) -> None:
    if "mark" in task:
        mark(task)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def fork_often(task: dict[str, Any]) -> None:
    """A small fork bomb: twenty processes below one another and beside, none of which waits for any."""
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", task["mark"]])
    hang({})


def hog(_task: dict[str, Any]) -> int:
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def grow(task: dict[str, Any]) -> str:
    """Uses so many bytes for a moment."""
    b"x" * task["size"]
    return NAME


def abort(task: dict[str, Any]) -> None:
    """Ends as native code does that gets no memory, or that finds itself broken."""
    os.write(2, task["said"].encode())
    os.abort()


def abort_with(task: dict[str, Any]) -> None:
    """Holds so many bytes and aborts without a word, as libraries do that get no more."""
    task["kept"] = b"x" * task["held"]
    faulthandler.disable()
    os.abort()


def allocate_natively(task: dict[str, Any]) -> int:
    """Has a library in Rust ask for more than there may be, with next to nothing in use; it aborts."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    text = "a " * task["words"]
    return len(Tokenizer(WordLevel({"a": 0}, unk_token="a")).encode(text).ids)


def fill(_task: dict[str, Any]) -> None:
    """Writes one file after the other until there is no room, or one file, where only that is limited."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(10):
            with (Path(folder) / str(number)).open("wb") as file:
                for _ in range(10):
                    file.write(bytes(32 << 20))


def close_channel(task: dict[str, Any]) -> None:
    os.write(2, task.get("said", "").encode())
    os.close(int(os.environ[CHANNEL_VARIABLE]))
    time.sleep(60)


def send(task: dict[str, Any]) -> None:
    """Sends a frame of its own making in place of a reply."""
    channel = socket.socket(fileno=os.dup(int(os.environ[CHANNEL_VARIABLE])))
    channel.sendall(len(task["content"]).to_bytes(4, "big") + task["content"])
    time.sleep(60)


def answer(task: dict[str, Any]) -> msgspec.Raw:
    """Answers this msgpack, whatever it is."""
    return msgspec.Raw(task["content"])


def large(task: dict[str, Any]) -> bytes:
    return bytes(task["size"])


def read_file(task: dict[str, Any]) -> str:
    try:
        return Path(task["path"]).read_text()
    except OSError as error:
        return type(error).__name__


def reach(task: dict[str, Any]) -> str:
    try:
        socket.create_connection(("127.0.0.1", task["port"]), timeout=2).close()
    except OSError as error:
        return type(error).__name__
    return "reached"


def take(task: dict[str, Any]) -> Any:
    """Computes for so many seconds."""
    time.sleep(task["seconds"])
    return task["value"]


def sleep_long(_task: dict[str, Any]) -> None:
    """For what calls it without ``act``."""
    time.sleep(600)


def status(_task: dict[str, Any]) -> str:
    return Path("/proc/self/status").read_text()
