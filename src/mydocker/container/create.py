"""Create a container: everything is decided here, nothing runs yet.

The steps, each of which can be the last (SIGKILL), and what then remains is what ``reconcile`` removes:

    directory under <state>, locked      says that somebody is at work on this identifier
    directory, config.json               the record names everything that follows; from here on the image is
                                         in use, and until here the image store's index is held still
    the name                             symlink(2) succeeds for one of two who want it
    layers, files, volumes
    state.json                           from here on it is a container

With ``starting`` the last step is left to the monitor: the caller starts the container at once, and if it
dies before, nothing is left of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING

import msgspec

from ..errors import Conflict, ImageNotFound, InvalidArgument, NotFound, NotSupported
from ..forkserver import spawn
from ..image import platforms
from ..linux.cgroup import hierarchy
from ..monitor.timestamp import now
from ..volume.store import VolumeStore
from . import events, files, health, links, merge, mounts, names, networks, propagation, rootfs, volumes
from .attached import of
from .config import Config, EndpointConfig, HostConfig
from .reconcile import attend, destroy, look_around
from .record import Record
from .state import State
from .store import Lock, Store
from .validate import validate, validate_asked

if TYPE_CHECKING:
    from ..image.store import Image, ImageStore


def create(
    store: Store,
    images: ImageStore,
    config: Config,
    host: HostConfig,
    *,
    name: str | None = None,
    starting: bool = False,
    platform: str = "",
    endpoints: dict[str, EndpointConfig] | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> tuple[Record, Lock | None]:
    """Make the container; with ``starting`` its lock is still held, and is the caller's to pass on.

    ``endpoints`` says how it is in the network of its mode, and which others it is in.
    ImageNotFound, also if it is not for ``platform``; without one ``warn`` is told of a foreign image.
    """
    if starting:
        spawn.reserve()
    if name is not None:
        name = names.check(name)
    validate_asked(config, host)
    host = _settled(store, host, warn)
    attached = networks.settled(store, host, endpoints)
    if attached and (host.port_bindings or host.publish_all_ports):
        found = {of(store).get(name).driver for name in attached}
        if "bridge" not in found:
            warn(f"Published ports are discarded when using {min(found)} networks")
    if attached and (reason := of(store).unfiltered()):
        if host.egress is not None:
            raise NotSupported(f"--egress needs the packet filter: {reason}")
        warn(
            f"{reason}: the container reaches the host and its neighbours, but nothing beyond, networks are "
            "not kept apart, and published ports go through a proxy (TCP and UDP)"
        )
    look_around(store)
    if host.rootfs:
        return _create(store, None, config, host, attached, name, starting, lambda: None)
    with images.hold(), ExitStack() as unrecorded:
        unrecorded.enter_context(images.locked(shared=True))
        image = images.resolve(config.image)
        _check_platform(image, config.image, platform, warn)

        def recorded() -> None:
            unrecorded.close()
            images.ensure_layers(image)

        return _create(store, image, config, host, attached, name, starting, recorded)


def _check_platform(image: Image, reference: str, wanted: str, warn: Callable[[str], None]) -> None:
    if wanted:
        if not platforms.matches(platforms.parse(wanted), image.platform):
            raise ImageNotFound(platforms.mismatch(reference, platforms.parse(wanted), image.platform))
    elif image.config.architecture not in ("", platforms.architecture()):
        here = platforms.host()
        if not platforms.matches(here, image.platform):
            warn(
                f"The requested image's platform ({platforms.show(image.platform)}) does not match the "
                f"detected host platform ({platforms.show(here)}) and no specific platform was requested"
            )


def _create(
    store: Store,
    image: Image | None,
    config: Config,
    host: HostConfig,
    attached: dict[str, EndpointConfig],
    name: str | None,
    starting: bool,
    recorded: Callable[[], None],
) -> tuple[Record, Lock | None]:
    """``recorded`` is called when the record is there, which keeps the image from being removed.

    From then on others may change the index again, and what takes its time may be done: layers are unpacked.
    """
    config = merge.merge(config, image.config.config if image is not None else None)
    validate(config, host)
    health.check_action(config, host)
    identifier, lock = _new(store, spawn.offered() if starting else "")
    record: Record | None = None
    unwritten = ExitStack()
    try:
        directory = store.directory(identifier)
        os.mkdir(directory, 0o710)
        config = _named(store, config, host, identifier)
        unwritten.enter_context(_volumes(store, config, host))
        points, anonymous = volumes.choose(store, config, host)
        points = [propagation.settled(point, store.root) for point in points]
        path, args = merge.command(config)
        draft = Record(
            id=identifier,
            created=now(),
            path=path,
            args=args,
            name=name or "",
            image=image.id if image is not None else "",
            layers=image.lowers if image is not None else [host.rootfs],
            config=config,
            host_config=host,
            networks=attached,
            mounts=points,
            anonymous_volumes=anonymous,
        )
        record = _claim(store, draft, unwritten.close)
        recorded()
        rootfs.prepare(directory, record)
        files.write(store, record)
        links.note(store, record)
        volumes.create(store, record)
        if not starting:
            store.write_state(identifier, State(), durable=record.durable)
            store.release(identifier, lock)
    except BaseException:
        unwritten.close()
        destroy(store, identifier, record, lock)
        raise
    events.container(store, record, "create")
    return record, lock if starting else None


def _new(store: Store, offered: str) -> tuple[str, Lock]:
    """An identifier that nobody else has, ``offered`` if there is one; locked."""
    while True:
        identifier, offered = offered or names.identifier(), ""
        lock = store.lock(identifier)
        if lock is not None:
            return identifier, lock


def _volumes(store: Store, config: Config, host: HostConfig) -> AbstractContextManager[object]:
    """What keeps volumes from being taken away until the record is written, if there are to be any."""
    chosen = config.volumes or host.volumes_from or host.binds
    if chosen or any(mount.type == "volume" for mount in host.mounts or ()):
        return VolumeStore(store.root).holding()
    return nullcontext()


def _claim(store: Store, record: Record, written: Callable[[], None]) -> Record:
    """Write the record and take its name; without one, take the first generated name that is free.

    ``written`` is called when the record is there, before anything is waited for.
    """
    if record.name:
        store.write_record(record)
        written()
        _take_name(store, record)
        return record
    attempt = 0
    while True:
        named = msgspec.structs.replace(record, name=names.generate(attempt))
        store.write_record(named)
        written()
        try:
            store.claim(named.name, named.id)
        except Conflict:
            attempt += 1
            continue
        return named


def _take_name(store: Store, record: Record) -> None:
    try:
        store.claim(record.name, record.id)
    except Conflict:
        owner = store.named(record.name)
        if owner is not None and not attend(store, owner):
            raise
        store.claim(record.name, record.id)


def _named(store: Store, config: Config, host: HostConfig, identifier: str) -> Config:
    """With its host name: the host's, another container's, the user's, or the identifier's beginning."""
    if host.uts_mode == "host" or (host.network_mode == "host" and not config.hostname):
        return msgspec.structs.replace(config, hostname=os.uname().nodename)
    kind, _, other = host.network_mode.partition(":")
    if kind == "container":
        theirs = store.read_record(other).config
        return msgspec.structs.replace(config, hostname=theirs.hostname, domainname=theirs.domainname)
    if not config.hostname:
        return msgspec.structs.replace(config, hostname=identifier[:12])
    return config


def _volumes_from(store: Store, text: str) -> str:
    container, _ = mounts.parse_volumes_from(text)
    _, colon, mode = text.partition(":")
    return f"{store.resolve(container)}{colon}{mode}"


def _settled(store: Store, host: HostConfig, warn: Callable[[str], None]) -> HostConfig:
    """Identifiers in place of names of other containers, swap in place of "not said", rootfs looked at."""
    changes: dict[str, object] = {}
    if host.network_mode == "default":
        if refusal := networks.no_bridge():
            warn(f"the container has no network: {refusal}")
        changes["network_mode"] = "none" if refusal else "bridge"
        host = msgspec.structs.replace(host, **changes)
    if host.network_mode == "host" and (host.port_bindings or host.publish_all_ports):
        warn("Published ports are discarded when using host network mode")
    if host.volumes_from:
        changes["volumes_from"] = [_volumes_from(store, text) for text in host.volumes_from]
    for field in ("network_mode", "pid_mode", "ipc_mode"):
        kind, _, name = getattr(host, field).partition(":")
        if kind == "container":
            changes[field] = f"container:{store.resolve(name)}"
    changes["links"] = links.settled(store, host)
    if host.memory > 0 and host.memory_swap == 0 and hierarchy.swap_limits():
        changes["memory_swap"] = host.memory * 2
    if host.rootfs:
        if not os.path.isabs(host.rootfs):
            raise InvalidArgument(f"the root file system must be an absolute path: {host.rootfs}")
        if not os.path.isdir(host.rootfs):
            raise NotFound(f"no such directory: {host.rootfs} (--rootfs takes the root of a system tree)")
        changes["rootfs"] = os.path.realpath(host.rootfs)
    return msgspec.structs.replace(host, **changes) if changes else host
