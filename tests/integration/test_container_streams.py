"""Standard streams of real containers: attach, exec, terminals, logs that are followed."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import suppress

import pytest

from mydocker import errors
from mydocker.engine import AttachOptions, Config, Container, Engine, HostConfig, LogConfig
from support.session import Heard, hear, hear_until
from support.terminal import is_foreground
from support.waiting import wait_until


@pytest.fixture
def sleeper(engine: Engine, busybox_rootfs: str) -> Container:
    container = engine.containers.create(
        Config(cmd=["sleep", "1000"], env=["A=1"]), HostConfig(rootfs=busybox_rootfs, auto_remove=True)
    )
    container.start()
    return container


def run(engine: Engine, rootfs: str, *command: str, **config: object) -> Container:
    return engine.containers.create(
        Config(cmd=list(command), **config),  # type: ignore[arg-type]
        HostConfig(rootfs=rootfs),
    )


def test_input_is_whole_and_ends(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "sha256sum", open_stdin=True, stdin_once=True)
    data = os.urandom(3_000_000)
    heard = hear(container.start(attach=AttachOptions(stdin=True)), stdin=data)
    assert heard.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    container.remove()


def test_output_is_whole_for_two_clients_and_the_log(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "sh", "-c", "read x; seq 1 20000", open_stdin=True)
    first = container.start(attach=AttachOptions(stdin=True))
    second = container.attach(AttachOptions())
    heard: dict[str, Heard] = {}
    thread = threading.Thread(target=lambda: heard.update(second=hear(second)))
    thread.start()
    assert first is not None
    first.send(b"go\n")
    heard["first"] = hear(first)
    thread.join()
    wanted = "".join(f"{number}\n" for number in range(1, 20001))
    assert heard["first"].stdout.decode() == heard["second"].stdout.decode() == wanted
    assert "".join(entry.log for entry in container.logs()) == wanted
    assert [entry.log for entry in container.logs(tail=2)] == ["19999\n", "20000\n"]
    container.remove()


def test_open_input_stays_open_without_clients(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "sh", "-c", "read a; read b; echo $a $b", open_stdin=True)
    session = container.start(attach=AttachOptions(stdin=True))
    assert session is not None
    session.send(b"one\n")
    session.close()
    again = container.attach(AttachOptions(stdin=True))
    again.send(b"two\n")
    assert hear(again).stdout == b"one two\n"
    container.remove()


def test_without_open_input_there_is_none(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "cat")
    assert hear(container.start(attach=AttachOptions(stdin=True)), stdin=b"x").stdout == b""
    container.remove()


def test_terminal(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "sh", tty=True, open_stdin=True)
    session = container.start(attach=AttachOptions(stdin=True), size=(31, 97))
    assert session is not None
    session.send(b"stty size; tty\n")
    assert b"31 97" in hear_until(session, b"/dev/pts/0")
    session.resize(50, 120)
    session.send(b"stty size\n")
    hear_until(session, b"50 120")
    session.send(b"sleep 1000\n")
    wait_until(lambda: is_foreground("sleep"))
    session.send(b"\x03")
    session.send(b"echo code $?\n")
    hear_until(session, b"code 130")
    session.send(b"exit 6\n")
    assert hear(session).code == 6
    container.remove()


def test_detach_keys_leave_it_running(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "sh", tty=True, open_stdin=True)
    session = container.start(attach=AttachOptions(stdin=True))
    assert session is not None
    hear_until(session, b"# ")
    session.send(b"echo abc\x10\x11")
    assert session.detached
    assert hear(session).code is None
    assert container.refresh().running
    again = container.attach(AttachOptions(stdin=True, detach_keys=b""))
    again.send(b"def\n")
    hear_until(again, b"abcdef")
    again.close()
    container.remove(force=True)


def test_without_a_terminal_the_keys_are_data(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "cat", open_stdin=True, stdin_once=True)
    heard = hear(container.start(attach=AttachOptions(stdin=True)), stdin=b"a\x10\x11b")
    assert heard.stdout == b"a\x10\x11b"
    container.remove()


def test_a_terminal_that_is_closed_and_opened_again(engine: Engine, busybox_rootfs: str) -> None:
    script = "exec 3>/dev/null >&3 2>&3 <&3; sleep 0.3; echo back > /dev/console; sleep 0.1"
    container = run(engine, busybox_rootfs, "sh", "-c", script, tty=True)
    heard = hear(container.start(attach=AttachOptions()))
    assert (heard.stdout, heard.code) == (b"back\r\n", 0)
    container.remove()


def test_exec(sleeper: Container) -> None:
    heard = hear(sleeper.exec(["sh", "-c", "echo out; echo err >&2; exit 42"]))
    assert (heard.stdout, heard.stderr, heard.code) == (b"out\n", b"err\n", 42)
    heard = hear(sleeper.exec(["sh", "-c", "kill -9 $$"]))
    assert heard.code == 137
    heard = hear(sleeper.exec(["cat"], stdin=True), stdin=b"x" * 500_000)
    assert len(heard.stdout) == 500_000
    sleeper.remove(force=True)


def test_exec_options(sleeper: Container) -> None:
    command = ["sh", "-c", 'echo "$A $B $PWD"; id -u; grep CapEff /proc/self/status']
    heard = hear(sleeper.exec(command, env=["B=2"], user="1000", workdir="/tmp"))
    lines = heard.stdout.decode().split("\n")
    assert lines[0] == "1 2 /tmp"
    assert lines[1] == "1000"
    assert int(lines[2].split()[1], 16) == 0
    plain = hear(sleeper.exec(["grep", "CapEff", "/proc/self/status"])).stdout
    privileged = hear(sleeper.exec(["grep", "CapEff", "/proc/self/status"], privileged=True)).stdout
    assert int(privileged.split()[1], 16) > int(plain.split()[1], 16) > 0
    sleeper.remove(force=True)


def test_exec_at_a_terminal(sleeper: Container) -> None:
    session = sleeper.exec(["sh"], tty=True, stdin=True, size=(20, 70))
    assert session is not None
    session.send(b"stty size\n")
    hear_until(session, b"20 70")
    session.resize(21, 71)
    session.send(b"stty size\n")
    hear_until(session, b"21 71")
    session.send(b"exit 3\n")
    assert hear(session).code == 3
    sleeper.remove(force=True)


def test_exec_refusals(sleeper: Container) -> None:
    with pytest.raises(errors.CommandNotFound, match="nope"):
        sleeper.exec(["nope"])
    with pytest.raises(errors.CommandNotExecutable, match="/etc/passwd"):
        sleeper.exec(["/etc/passwd"])
    with pytest.raises(errors.InvalidArgument, match="No exec command specified"):
        sleeper.exec([])
    with pytest.raises(errors.StartFailed, match="working directory 'x' is invalid"):
        sleeper.exec(["true"], workdir="x")
    with pytest.raises(errors.StartFailed, match="unable to find user nobody-here"):
        sleeper.exec(["true"], user="nobody-here")
    assert hear(sleeper.exec(["echo", "well"])).stdout == b"well\n"
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(errors.Conflict, match="is not running"):
        sleeper.exec(["true"])


def test_detached_exec_and_the_end_of_the_container(sleeper: Container) -> None:
    assert sleeper.exec(["sh", "-c", "echo made > /made; sleep 1000"], detach=True) is None
    for _ in range(100):
        heard = hear(sleeper.exec(["cat", "/made"]))
        if heard.stdout == b"made\n":
            break
        time.sleep(0.02)
    attached = sleeper.exec(["sleep", "1000"])
    assert attached is not None
    sleeper.kill()
    assert hear(attached).code == 137


def test_signals_overtake_input(engine: Engine, busybox_rootfs: str) -> None:
    """A signal must not queue behind input that the container does not read."""
    container = run(
        engine, busybox_rootfs, "sh", "-c", "echo ready; sleep 1000", open_stdin=True, stdin_once=True
    )
    session = container.start(attach=AttachOptions(stdin=True))
    assert session is not None
    hear_until(session, b"ready")

    def feed() -> None:
        with suppress(OSError):  # the session is closed when the container has ended
            session.send(b"x" * 1_000_000)

    thread = threading.Thread(target=feed)
    thread.start()
    time.sleep(0.2)
    session.signal(9)
    heard = hear(session)
    thread.join()
    assert heard.code == 137
    container.remove()


def test_logs_are_followed_to_the_end(engine: Engine, busybox_rootfs: str) -> None:
    container = run(engine, busybox_rootfs, "sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.1; done")
    container.start()
    assert [entry.log for entry in container.logs(follow=True)] == ["1\n", "2\n", "3\n"]
    container.remove()


def test_a_container_without_a_log(engine: Engine, busybox_rootfs: str) -> None:
    container = engine.containers.create(
        Config(cmd=["echo", "x"]), HostConfig(rootfs=busybox_rootfs, log_config=LogConfig(type="none"))
    )
    assert hear(container.start(attach=AttachOptions())).stdout == b"x\n"
    assert not os.path.exists(f"{engine.root}/container/{container.id}/log")
    with pytest.raises(errors.Conflict, match="does not support reading"):
        list(container.logs())
    container.remove()


def test_a_client_that_is_stopped_does_not_keep_others_waiting(engine: Engine, busybox_rootfs: str) -> None:
    """Those who came later are let go; here it is enough that a signal and an exec still get through."""
    container = run(engine, busybox_rootfs, "sh", "-c", "yes")
    session = container.start(attach=AttachOptions())
    time.sleep(0.3)
    assert hear(container.exec(["echo", "served"])).stdout == b"served\n"
    container.kill()
    assert hear(session).code == 137
    container.remove()
