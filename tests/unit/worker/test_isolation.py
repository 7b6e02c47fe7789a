"""What is said of a way to shut children in, by what holds on a machine."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.isolation import Isolation, IsolationUnavailableError
from doctrain_worker.sandbox.shared import seccomp
from doctrain_worker.sandbox.shared.launch import Held

ALL = Held(own_user=True, landlock=7, filtered=True)
OLD = Held(own_user=False, landlock=0, filtered=False)


@pytest.mark.parametrize(
    ("way", "held", "strong", "words"),
    [
        ("bwrap", ALL, True, ["bubblewrap", "user of its own", "Landlock", "no sockets"]),
        ("bwrap", OLD, True, ["no files but programs and libraries"]),
        ("unshare", ALL, True, ["no network", "Landlock", "Install bubblewrap"]),
        ("unshare", OLD, False, ["can read what the worker can read"]),
        ("rlimit", ALL, True, ["outlives a guardian that is killed"]),
        ("unshare", Held(own_user=False, landlock=1, filtered=True), True, []),
        ("rlimit", Held(own_user=True, landlock=1, filtered=True), True, []),
        ("rlimit", Held(own_user=False, landlock=5, filtered=True), False, ["can end the worker's processes"]),
        ("rlimit", Held(own_user=True, landlock=7, filtered=False), False, ["can use the network"]),
        ("rlimit", OLD, False, ["can read what the worker can read", "can use the network", "can end the worker's processes"]),
    ],
)
def test_what_does_not_hold_is_told(way: str, held: Held, strong: bool, words: list[str]) -> None:
    found = Isolation(way, (), held)
    assert found.strong == strong
    assert [word for word in words if word not in found.describe()] == []
    assert ("can use the network" in found.describe()) == ("can use the network" in words)


def test_a_way_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(IsolationUnavailableError, match="auto, bwrap, unshare or rlimit"):
        isolation.choose("chroot")


def test_every_architecture_is_denied_the_same_calls() -> None:
    only_on_x86 = 16  # bytes: its second table of calls is refused
    assert len(seccomp.program("x86_64")) == len(seccomp.program("aarch64")) + only_on_x86


def test_what_children_cannot_read_says_nothing_of_the_ways_to_shut_them_in() -> None:
    with pytest.raises(IsolationUnavailableError, match=r"Children are to read /none, which this user cannot read\."):
        isolation.choose(reads=["/none"])


def test_root_of_a_namespace_without_other_users_finds_a_way_too() -> None:
    alone = ("unshare", "--map-root-user")
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces of users are not allowed here")
    program = f"from {isolation.__name__} import choose; print(choose().held.own_user)"
    assert subprocess.run([*alone, sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
