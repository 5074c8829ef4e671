"""What runs in the container's first process, and in an added one, from the clone to execve.

It is a fork of a process that may have much loaded: it touches little, never returns into its parent's code,
and tells the runtime over the channel how it goes (``runtime/channel.py``). Until execve it cannot be traced
or looked into by others (``PR_SET_DUMPABLE``), whatever namespaces it shares with them.
"""

from __future__ import annotations

import _socket
import os
import sys

from mydocker import errors
from mydocker.linux import namespace, prctl
from mydocker.linux.process import cloexec_from, default_signals, ignored_signals
from mydocker.runtime import program
from mydocker.runtime.channel import Channel
from mydocker.runtime.step import Context, Step, StepFailed, run
from mydocker.runtime.steps.namespaces import JoinNamespace, MapUsers, become_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mydocker.oci.runtime import Hook, Process
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.plan import Plan
    from mydocker.runtime.seccomp import Filter


_withdrawn: list[list[object]] = []


class Start:
    """How a process is to be started; everything init needs that is not a step."""

    __slots__ = (
        "filter",
        "listener",
        "observing",
        "parent_death_signal",
        "plan",
        "preserve",
        "process",
        "reaper",
        "run_hooks",
        "start_hooks",
        "state",
        "waits",
    )

    def __init__(self, plan: Plan, process: Process, filter: Filter | None, observing: bool) -> None:
        self.plan = plan
        self.process = process
        self.filter = filter
        self.observing = observing
        self.reaper: Callable[[list[str]], None] | None = None  # --init: runtime/reaper.py
        self.parent_death_signal = 0
        self.preserve: Sequence[int] = ()  # descriptors that the program inherits besides 0, 1 and 2
        self.start_hooks: list[Hook] = []
        self.run_hooks: Callable[..., None]  # hooks.run, if there are any
        self.state = ""  # for the startContainer hooks
        self.listener: _socket.socket | None = None  # where "start" connects, if not on the channel
        self.waits = True  # to be told before it executes its program


def main(start: Start, channel: Channel, enter: Callable[[Context], None]) -> None:
    """Be init, or an added process: ``enter`` its namespaces and cgroups, follow the plan; never returns."""
    reporting = [channel]
    try:
        become(start, channel, enter)
        _execute(start, channel, reporting)
    except errors.Error as error:
        _report(reporting[0], type(error).__name__, str(error))
    except StepFailed as error:
        _report(reporting[0], "StartFailed", str(error))
    except BaseException as error:  # noqa: BLE001 - a forked process must not run its parent's code
        _report(reporting[0], "StartFailed", f"init failed: {type(error).__name__}: {error}")
    finally:
        os._exit(1)


def become(start: Start, channel: Channel, enter: Callable[[Context], None]) -> None:
    """All of that but the program."""
    prctl.set_dumpable(False)
    default_signals(ignored_signals())
    forbid_imports()
    os.umask(0)
    context = Context(channel)
    enter(context)
    plan = start.plan
    for steps in (plan.kernel, plan.files, plan.hooks, plan.inside, plan.identity):
        run(steps, context, start.observing)


def forbid_imports() -> None:
    """Make this interpreter unable to load anything more.

    Inside of the container's root its library paths lead to the container's files: an import that came late,
    a codec for instance, would run what somebody put there with the rights that init still has
    (CVE-2019-14271).

    What is taken out is kept elsewhere: the finders remember the names of all files in their directories, and
    to free these is to write to, and so to copy, some hundred pages.
    """
    for finders in (sys.meta_path, sys.path, sys.path_hooks):
        _withdrawn.append([*finders])
        finders.clear()
    _withdrawn.append([*sys.path_importer_cache.values()])
    sys.path_importer_cache.clear()


def enter_container(
    context: Context,
    *,
    cgroup: Cgroup | None,
    joins: list[JoinNamespace],
    new_user: bool,
    observing: bool,
) -> None:
    """What init does first: its cgroups (v1), the namespaces to join, its user namespace."""
    if cgroup is not None:
        cgroup.join()
    steps: list[Step] = [*joins]
    if new_user:
        steps.append(MapUsers())
    run(steps, context, observing)


def enter_running(context: Context, *, cgroup: Cgroup | None, pidfd: int, kinds: int) -> None:
    """What an added process does first: the container's cgroups and namespaces, all in one call."""
    if cgroup is not None:
        cgroup.join()
    namespace.setns(pidfd, kinds)
    if kinds & namespace.CLONE_NEWUSER:
        become_root()
    context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _execute(start: Start, channel: Channel, reporting: list[Channel]) -> None:
    env = program.environment(start.process.get("env", []))
    env.setdefault("HOME", start.plan.finder.finder.account.home or "/")
    arguments = start.process["args"]
    path = program.find(arguments[0], env)
    cloexec_from(3)
    for descriptor in start.preserve:
        os.set_inheritable(descriptor, True)
    if start.parent_death_signal:
        prctl.prctl(prctl.PR_SET_PDEATHSIG, start.parent_death_signal)
    channel.send("ready")
    if start.listener is not None:
        channel.close()
        reporting[0] = channel = Channel.accept(start.listener)
    elif start.waits and channel.receive()[0] != "go":
        os._exit(1)
    finish = start.plan.finder.finish
    if start.start_hooks:
        start.run_hooks("startContainer", start.start_hooks, start.state, finish, env)
    if start.filter is None:
        finish()
    elif start.process.get("noNewPrivileges"):
        finish()
        _load(start.filter, channel)
    else:
        _load(start.filter, channel)
        finish()
    if start.reaper is not None:
        start.reaper(arguments)  # returns in a child of this process
    program.execute(path, arguments, env)


def _load(filter: Filter, channel: Channel) -> None:
    listener = filter.load()
    if listener is not None:
        # The runtime fetches the descriptor by pidfd_getfd(2), and must have it before execve closes it. A
        # rule for read(2) that asks the agent is answered then, one for write(2) would wait for ever.
        os.write(channel.fileno(), b"listener\0%d" % listener)
        if not os.read(channel.fileno(), 8):
            os._exit(1)  # there is no agent


def _report(channel: Channel, kind: str, text: str) -> None:
    try:
        channel.send("error", kind, text)
    except OSError:
        os._exit(1)  # the runtime is gone: there is nobody to tell
