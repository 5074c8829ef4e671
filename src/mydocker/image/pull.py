"""``pull``: an image from a registry, several layers at once.

    1. the documents (``remote``), which say what the image needs and what of it is here
    2. a process for each layer that is missing (``fetch``, ``workers``): its blob, and its files, apart
    3. the layers are put on top of each other and become durable
    4. manifest and configuration; the names

Until the last step nothing that anybody can see has changed; so an error, or SIGKILL, at any instant leaves
the images as they were, and the blobs so far in ``download/`` for the next attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import errors
from ..oci import digest as digests
from ..oci.reference import Reference
from . import fetch, platforms, workers
from .documents import Platform
from .fetch import LayerFetch, short
from .layers import Unpacked
from .progress import Progress, Report
from .remote import Documents, RemoteImage, look_up
from .store import ImageStore


@dataclass(frozen=True)
class Pulled:
    id: str
    digest: str
    """what the name stands for on the registry"""
    new: bool
    """whether the name stood for something else here, or for nothing"""


def pull(
    store: ImageStore, repository: Documents, reference: Reference, wanted: Platform | None, report: Report
) -> Pulled:
    """Pull what ``reference``, which has a tag or a digest, stands for.

    ``wanted`` is None for this machine, if there is a choice.
    """
    what = reference.digest or reference.tag
    report(Progress(f"Pulling from {reference.path}", reference.canonical() if reference.digest else what))
    remote = look_up(repository, what, wanted)
    name = reference.canonical() if reference.digest else str(reference)
    names = list(dict.fromkeys((name, f"{reference.name}@{remote.digest}")))
    before = _image_id(store, name)
    with store.ingest():
        try:
            store.name(remote.id, names)
        except errors.NotFound:
            _take_in(store, repository, remote, names, report)
    report(Progress(f"Digest: {remote.digest}"))
    if wanted is not None and not platforms.matches(wanted, remote.platform):
        report(Progress(f"WARNING: {mismatch(reference, wanted, remote.platform)}"))
    return Pulled(remote.id, remote.digest, remote.id != before)


def mismatch(reference: Reference, wanted: Platform, found: Platform) -> str:
    """In Docker's words: an image is there, but for another platform."""
    return (
        f"image with reference {reference.familiar()} was found but does not match the specified platform: "
        f"wanted {platforms.show(wanted)}, actual: {platforms.show(found)}"
    )


def _image_id(store: ImageStore, name: str) -> str:
    try:
        return store.resolve(name).id
    except errors.NotFound:
        return ""


def _take_in(
    store: ImageStore, repository: Documents, remote: RemoteImage, names: Sequence[str], report: Report
) -> None:
    layers = remote.manifest.layers
    chain = digests.chain_ids(remote.config.rootfs.diff_ids)
    places: list[str | None] = [
        None if store.layers.has(chain_id) else store.layers.place() for chain_id in chain
    ]
    try:
        fetched = _fetch(store, repository, remote, places, report)
        store.layers.commit([(fetched.get(at), chain_id) for at, chain_id in enumerate(chain)])
    finally:
        for place in filter(None, places):
            store.layers.discard(place)
    store.content.add(remote.config_data)
    store.commit_raw(remote.manifest_data, remote.manifest_type, remote.id, names)
    for layer in layers:
        store.content.forget_download(layer.digest)


def _fetch(
    store: ImageStore,
    repository: Documents,
    remote: RemoteImage,
    places: Sequence[str | None],
    report: Report,
) -> dict[int, Unpacked]:
    """Get all layers that are missing; what was unpacked, by the layer's number."""
    layers, diff_ids = remote.manifest.layers, remote.config.rootfs.diff_ids
    missing: list[int] = []
    for at, layer in enumerate(layers):
        if places[at] is None and store.content.has(layer.digest):
            report(Progress("Already exists", short(layer.digest)))
        else:
            report(Progress(fetch.WAITING, short(layer.digest)))
            missing.append(at)
    for at in missing[workers.LIMIT :]:
        report(Progress("Waiting", short(layers[at].digest)))

    def told(job: int, update: workers.Update) -> None:
        layer = layers[missing[job]]
        report(Progress(update.status, short(layer.digest), update.current, update.total))

    jobs = [LayerFetch(store, repository, layers[at], diff_ids[at], places[at]) for at in missing]
    done = workers.run(jobs, fetch.Fetched, told)
    return {at: one.unpacked for at, one in zip(missing, done, strict=True) if one.unpacked is not None}
