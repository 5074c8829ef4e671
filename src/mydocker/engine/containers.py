"""``Engine.containers``: the collection, and one container as an object that does things.

A ``Container`` is a reference: an identifier, and its ``record`` and ``state`` as they were read last;
``refresh`` reads them again. Who asks for a container looks first whether a process that was killed left
something to put right (``container/reconcile.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..container import (
    commit,
    copy,
    diff,
    events,
    execute,
    export,
    inspect,
    links,
    logs,
    pause,
    publish,
    remove,
    rename,
    start,
    stats,
    stop,
    top,
    update,
)
from ..container import create as creating
from ..container.config import Config, EndpointConfig, HostConfig, PortBinding, RestartPolicy
from ..container.copy import PathStat
from ..container.diff import Change
from ..container.filters import matches
from ..container.reconcile import attend, settle, sweep
from ..container.record import Record
from ..container.state import State, Status
from ..container.stats import Reading
from ..container.store import Lock, Store
from ..errors import Conflict, NotFound, Unavailable
from ..image import filters as filtering
from ..image.filters import Filters
from ..image.sources import descriptor_chunks
from ..image.store import ImageStore
from ..monitor import client, log
from ..monitor.client import DEFAULT_DETACH_KEYS, AttachOptions, Session
from ..monitor.log import LogEntry
from ..monitor.protocol import Event
from ..network.document import Port
from ..oci import reference as references
from ..oci.signals import signal_number
from ..snapshot.usage import usage
from .target import opened


class Container:
    def __init__(
        self,
        store: Store,
        images: ImageStore,
        record: Record,
        state: State | None,
        lock: Lock | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._images = images
        self._lock = lock
        self.record = record
        self.state = state if state is not None else State()
        self.warnings = warnings
        """what its maker should be told"""

    def __repr__(self) -> str:
        return f"<Container {self.record.name} {self.short_id} {self.state.status}>"

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def short_id(self) -> str:
        return self.record.short_id

    @property
    def name(self) -> str:
        return self.record.name

    def refresh(self) -> State:
        """Read record and state again; ``NotFound`` when the container is gone."""
        self.state = _current(self._store, self.id)
        self.record = self._store.read_record(self.id)
        return self.state

    def start(
        self,
        *,
        attach: AttachOptions | None = None,
        size: tuple[int, int] | None = None,
        observer: Callable[[Event], None] | None = None,
    ) -> Session | None:
        """Start it; with ``attach``, return a session that has missed nothing. ``size`` is (rows, columns).

        ``observer`` is told each step of the runtime while the container is made. A container that runs
        already is left as it is. Raises ``CommandNotFound``, ``CommandNotExecutable``, ``StartFailed``.
        """
        lock, self._lock = self._lock, None
        return start.start(self._store, self.record, lock, attach=attach, size=size, observer=observer)

    def discard(self) -> None:
        """Remove a container that was created with ``starting`` and will not be started after all."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
            settle(self._store, self.id)

    def attach(self, options: AttachOptions, *, size: tuple[int, int] | None = None) -> Session:
        if not self.refresh().running:
            raise Conflict("you cannot attach to a stopped container, start it first")
        if self.state.status is Status.PAUSED:
            raise Conflict("you cannot attach to a paused container, unpause it first")
        if self.state.status is Status.RESTARTING:
            raise Conflict("you cannot attach to a restarting container, wait until it is running")
        terminal = self.record.config.tty
        session = client.attach(self._store.run_directory(self.id), options, terminal=terminal)
        if size is not None and self.record.config.tty:
            session.resize(*size)
        events.container(self._store, self.record, "attach")
        return session

    def exec(
        self,
        command: list[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        detach: bool = False,
        env: list[str] | None = None,
        user: str = "",
        workdir: str = "",
        privileged: bool = False,
        size: tuple[int, int] | None = None,
        detach_keys: bytes = DEFAULT_DETACH_KEYS,
    ) -> Session | None:
        return execute.execute(
            self._store,
            self.record,
            command,
            tty=tty,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            detach=detach,
            env=env,
            user=user,
            working_dir=workdir,
            privileged=privileged,
            size=size,
            detach_keys=detach_keys,
        )

    def exec_inspect(self, identifier: str) -> dict[str, Any]:
        """Docker's ``GET /exec/{id}/json``, of ``Session.exec_id`` or one of ``inspect``'s ``ExecIDs``."""
        return execute.inspect(self._store, self.record, identifier)

    def stop(self, timeout: int | None = None, *, signal: str | int | None = None) -> None:
        """Within ``timeout`` seconds, by ``signal``; by default the container's own of both."""
        stop.stop(self._store, self.record, timeout, None if signal is None else signal_number(signal))

    def kill(self, signal: str | int = "KILL") -> None:
        stop.kill(self._store, self.record, signal_number(signal))

    def restart(self, timeout: int | None = None, *, signal: str | int | None = None) -> None:
        """Stop it, if it runs, and start it again; with ``--rm`` it is not removed in between."""
        number = None if signal is None else signal_number(signal)
        stop.stop(self._store, self.record, timeout, number, keep=True)
        start.start(self._store, self.record)
        events.container(self._store, self.record, "restart")

    def pause(self) -> None:
        """Freeze every process in it; ``Conflict`` if it does not run, or is paused already."""
        pause.pause(self._store, self.record)

    def unpause(self) -> None:
        pause.unpause(self._store, self.record)

    def rename(self, name: str) -> None:
        """``Conflict`` if another container has the name."""
        self.record = rename.rename(self._store, self.record, name)

    def update(self, restart_policy: RestartPolicy | None = None, **limits: int | str) -> None:
        """Other limits, at once if it runs: fields of ``HostConfig`` (``LIMITS``); another restart policy."""
        self.record = update.update(self._store, self.record, limits, restart_policy)

    def publish(self, port: str, binding: PortBinding | None = None) -> list[Port]:
        """Publish a port (``80/tcp``), at once if it runs; where it is now. ``Conflict`` if that is taken."""
        return publish.add(self._store, self.record, port, binding or PortBinding())

    def unpublish(self, port: str, binding: PortBinding | None = None) -> list[Port]:
        """Publish a port no more, at one port of the host or at all; ``NotFound`` if it was not."""
        return publish.remove(self._store, self.record, port, binding or PortBinding())

    def top(self, options: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
        """Titles and rows of what ps(1) on the host, with these options, says about its processes."""
        found = top.top(self._store, self.record, options)
        events.container(self._store, self.record, "top")
        return found

    def resize(self, rows: int, columns: int) -> None:
        stop.resize(self._store, self.record, rows, columns)

    def wait(self, condition: str = "not-running") -> int:
        """The exit code, once it has ended, or has ended again (``next-exit``), or is gone (``removed``)."""
        return stop.wait(self._store, self.record, condition)

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        remove.remove(self._store, self.record, force=force, volumes=volumes)

    def commit(
        self,
        reference: str = "",
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of what it has changed; returns the image's identifier.

        ``reference`` names the image, ``changes`` are Dockerfile instructions for its configuration. The
        container stands still while its files are read, unless ``pause`` is false.
        """
        names = [str(references.parse_tagged(reference))] if reference else []
        image = commit.commit(
            self._store,
            self._images,
            self.record,
            names,
            author=author,
            message=message,
            changes=changes,
            pause=pause,
        )
        for name in names:
            events.image(self._store, "tag", image, references.parse(name).familiar(), None)
        about = {"comment": message, "imageID": image, "imageRef": reference}
        events.container(self._store, self.record, "commit", **about)
        return image

    def export(self, target: str | int) -> None:
        """Write its root file system as a tar, at a path or to a descriptor; volumes are not in it."""
        with opened(target) as descriptor:
            export.export(self._store, self.record, descriptor)
        events.container(self._store, self.record, "export")

    def stats(self) -> Reading:
        """What it uses at this moment; of one that does not run, nothing."""
        return stats.read(self.record, self.state)

    def stats_document(self, before: Reading, now: Reading) -> dict[str, Any]:
        """Docker's ``GET /containers/{id}/stats`` of two readings."""
        return stats.document(self.record, before, now)

    def diff(self) -> list[Change]:
        """What it has changed in its own files: kind (A, C, D) and path."""
        return diff.diff(self._store, self.record)

    def stat_path(self, path: str, *, follow: bool = False) -> PathStat:
        """What is at a path in it; a link at the end is followed only if asked. ``NotFound``."""
        return copy.look(self._store, self.record, path, follow=follow)

    def get_archive(self, path: str, target: int, *, follow: bool = False, name: str = "") -> PathStat:
        """Write what is at ``path`` to a descriptor as a tar, whose first name is ``name`` or its own."""
        return copy.read(self._store, self.record, path, target, follow=follow, name=name)

    def put_archive(self, path: str, source: int | Iterable[bytes], *, owners: bool = True) -> None:
        """Unpack a tar, from a descriptor or in pieces, into the directory ``path``."""
        chunks = descriptor_chunks(source) if isinstance(source, int) else source
        copy.write(self._store, self.record, path, chunks, owners=owners)

    def copy_destination(self, path: str) -> tuple[str, PathStat | None]:
        """Where a copy to ``path`` goes when links are followed, and what is there."""
        return copy.destination(self._store, self.record, path)

    def copy_from(self, path: str, local: str, *, follow: bool = False, owners: bool = False) -> int:
        """Copy a file or directory to this machine, as ``docker cp`` does; returns the bytes of the tar."""
        from .copy import copy_from

        return copy_from(self, path, local, follow=follow, owners=owners)

    def copy_to(self, local: str, path: str, *, follow: bool = False) -> int:
        """Copy a file or directory of this machine into it."""
        from .copy import copy_to

        return copy_to(self, local, path, follow=follow)

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[LogEntry]:
        """What it wrote, oldest first; with ``follow`` until it ends. ``since``, ``until``: Unix times."""
        path = logs.path(self._store, self.record)

        def ended() -> bool:
            return not self._store.held(self.id) or (until is not None and time.time() > until)

        entries = log.read(path, ended if follow else None, tail=tail)
        return log.select_entries(entries, since=since, until=until, stdout=stdout, stderr=stderr)

    def clear_logs(self) -> None:
        """Forget what it wrote so far. ``Conflict`` if nothing of it is kept here."""
        logs.clear(self._store, self.record)

    def inspect(self, *, size: bool = False) -> dict[str, Any]:
        """Docker's ``GET /containers/{id}/json``; with ``size`` also how much its files hold."""
        state = self.refresh()
        shown = inspect.inspect(self._store, self.record, state)
        return {**shown, **self._sizes()} if size else shown

    def summary(self, *, size: bool = False) -> dict[str, Any]:
        """Docker's element of ``GET /containers/json``, from the state that was read last."""
        leading = self._images.leading({self.record.image_name} - {""})
        return self.summary_among(leading, size=size)

    def summary_among(self, leading: Mapping[str, str], *, size: bool = False) -> dict[str, Any]:
        """The same; ``leading`` is what ``ImageStore.leading`` says of the names of several."""
        shown = inspect.summary(self._store, self.record, self.state, leading)
        return {**shown, **self._sizes()} if size else shown

    def _sizes(self) -> dict[str, int]:
        """Bytes in the files of its own layer, and with those of its image."""
        own = inspect.size_rw(self._store, self.record)
        try:
            image = self._images.resolve(self.record.image).size if self.record.image else 0
        except NotFound:
            image = 0
        return {"SizeRw": own, "SizeRootFs": own + image}


class Containers:
    def __init__(self, store: Store, images: ImageStore) -> None:
        self._store = store
        self._images = images

    def create(
        self,
        config: Config,
        host_config: HostConfig | None = None,
        *,
        name: str | None = None,
        starting: bool = False,
        platform: str = "",
        endpoints: dict[str, EndpointConfig] | None = None,
    ) -> Container:
        """Make a container. ``starting``: it is started next, by this process; until then it does not count.

        ``platform`` (``linux/arm64``) is what the image must be for; without it, ``warnings`` says if it is
        not for this machine.

        Raises ``NotFound`` (image), ``InvalidArgument`` (values), ``Conflict`` (name), in Docker's words.
        """
        warnings: list[str] = []
        record, lock = creating.create(
            self._store,
            self._images,
            config,
            host_config if host_config is not None else HostConfig(),
            name=name,
            starting=starting,
            platform=platform,
            endpoints=endpoints,
            warn=warnings.append,
        )
        return Container(self._store, self._images, record, None, lock, warnings)

    def get(self, reference: str) -> Container:
        """By identifier, name, or a prefix of one identifier; ``NotFound`` in Docker's words."""
        rename.settle_notes(self._store)
        identifier = self._store.resolve(reference)
        attend(self._store, identifier)
        name = reference.removeprefix("/")
        try:
            record = self._store.read_record(identifier)
            by_name = name == record.name or identifier.startswith(name)
            if not by_name and rename.forget(self._store, identifier, name):
                raise NotFound(f"No such container: {reference}")
            return Container(self._store, self._images, record, _current(self._store, identifier))
        except NotFound:
            raise NotFound(f"No such container: {reference}") from None

    def unlink(self, name: str) -> None:
        """Undo the link ``/CONTAINER/ALIAS``; ``NotFound`` if there is none."""
        links.remove(self._store, name)

    def prune(self, filters: Filters | None = None) -> tuple[list[str], int]:
        """Remove those that do not run; their identifiers, and the bytes that they took on disk.

        Filters are ``until`` (Unix time), ``label`` and ``label!``. What somebody else starts or removes
        meanwhile is left to them.
        """
        wanted = filters or {}
        filtering.check(wanted, filtering.PRUNING - {"dangling"})
        removed, freed = [], 0
        for container in self.list(all=True):
            labels, created = container.record.config.labels, container.record.created
            if container.state.running or not filtering.labelled(labels, wanted):
                continue
            if not filtering.old_enough(created, wanted):
                continue
            size = usage(self._store.directory(container.id))
            try:
                container.remove()
            except (Conflict, NotFound, Unavailable):
                continue
            removed.append(container.id)
            freed += size
        events.pruned(self._store, "container", freed)
        return removed, freed

    def summaries(self, containers: Sequence[Container], *, size: bool = False) -> list[dict[str, Any]]:
        """``Container.summary`` of each; the images that their names lead to are looked up once."""
        leading = self._images.leading({container.record.image_name for container in containers} - {""})
        return [container.summary_among(leading, size=size) for container in containers]

    def list(self, *, all: bool = False, filters: dict[str, list[str]] | None = None) -> list[Container]:
        """Those that run, or ``all``, the newest first. Filters are Docker's (``container/filters.py``)."""
        sweep(self._store)
        found: list[Container] = []
        for identifier in self._store.ids():
            try:
                state = self._store.read_state(identifier)
                record = self._store.read_record(identifier)
            except NotFound:
                continue  # removed meanwhile
            found.append(Container(self._store, self._images, record, state))
        found.sort(key=lambda container: container.record.created, reverse=True)
        chosen = filters or {}
        pairs = [(container.record, container.state) for container in found]
        keep = matches(pairs, chosen, self._store, self._images)
        every = all or bool({"status", "exited"} & chosen.keys())
        return [
            container for container in found if container.id in keep and (every or container.state.running)
        ]


def _current(store: Store, identifier: str) -> State:
    state = store.read_state(identifier)
    if state.attended and not store.held(identifier):
        settle(store, identifier)
        state = store.read_state(identifier)
    return state
