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
from typing import TYPE_CHECKING

from .. import errors
from ..oci import digest as digests
from ..oci.reference import Reference
from . import fetch, platforms, workers
from .documents import Platform
from .fetch import LayerFetch, short
from .layers import Unpacked
from .progress import Progress, Report
from .remote import RemoteImage, look_up
from .store import ImageStore

if TYPE_CHECKING:
    from ..registry.client import Registries, Repository


@dataclass(frozen=True)
class Pulled:
    id: str
    digest: str
    """what the name stands for on the registry"""
    new: bool
    """whether the name stood for something else here, or for nothing"""


def pull(
    store: ImageStore, registries: Registries, reference: Reference, wanted: Platform | None, report: Report
) -> Pulled:
    """Pull what ``reference``, which has a tag or a digest, stands for.

    ``wanted`` is None for this machine, if there is a choice.
    """
    pulled = _pull(store, registries, reference, wanted, report)
    _report_status(reference, pulled.new, report)
    return pulled


def pull_all(
    store: ImageStore, registries: Registries, reference: Reference, wanted: Platform | None, report: Report
) -> Sequence[Pulled]:
    """Pull every tag of the repository that ``reference`` names."""
    pulled = [
        _pull(store, registries, Reference(reference.domain, reference.path, tag), wanted, report)
        for tag in registries.repository(reference).tags()
    ]
    _report_status(reference, any(one.new for one in pulled), report)
    return pulled


def _report_status(reference: Reference, new: bool, report: Report) -> None:
    what = "Downloaded newer image" if new else "Image is up to date"
    report(Progress(f"Status: {what} for {reference.familiar()}"))


def _pull(
    store: ImageStore, registries: Registries, reference: Reference, wanted: Platform | None, report: Report
) -> Pulled:
    what = reference.digest or reference.tag
    repository = registries.repository(reference)
    document = repository.manifest(what)
    report(Progress(f"Pulling from {reference.path}", reference.canonical() if reference.digest else what))
    remote = look_up(repository, document, what, wanted)
    name = reference.canonical() if reference.digest else str(reference)
    names = list(dict.fromkeys((name, f"{reference.name}@{remote.digest}")))
    before = _image_id(store, name)
    with store.ingest():
        try:
            store.name(remote.id, names)
        except errors.NotFound:
            _Pull(store, registries, repository, remote, report).run(names)
    report(Progress(f"Digest: {remote.digest}"))
    if wanted is not None and not platforms.matches(wanted, remote.platform):
        text = platforms.mismatch(reference.familiar(), wanted, remote.platform)
        report(Progress(f"WARNING: {text}"))
    return Pulled(remote.id, remote.digest, remote.id != before)


def _image_id(store: ImageStore, name: str) -> str:
    try:
        return store.resolve(name).id
    except errors.NotFound:
        return ""


class _Pull:
    """One image that is not here yet."""

    def __init__(
        self,
        store: ImageStore,
        registries: Registries,
        repository: Repository,
        remote: RemoteImage,
        report: Report,
    ) -> None:
        self._store = store
        self._registries = registries
        self._repository = repository
        self._remote = remote
        self._report = report
        self._layers = remote.manifest.layers
        self._chain = digests.chain_ids(remote.config.rootfs.diff_ids)
        here = map(store.layers.has, self._chain)
        self._places = [None if unpacked else store.layers.place() for unpacked in here]

    def run(self, names: Sequence[str]) -> None:
        """Take it in, and give it ``names``."""
        store, remote = self._store, self._remote
        try:
            unpacked = self._fetch()
            store.layers.commit([(unpacked.get(at), chain_id) for at, chain_id in enumerate(self._chain)])
        finally:
            for place in filter(None, self._places):
                store.layers.discard(place)
        store.content.add(remote.config_data)
        store.commit_raw(remote.manifest_data, remote.manifest_type, remote.id, names)
        for layer in self._layers:
            store.content.forget_download(layer.digest)

    def _fetch(self) -> dict[int, Unpacked]:
        """Get what is missing of the layers; what was unpacked, by the layer's number."""
        missing = self._missing()
        diff_ids = self._remote.config.rootfs.diff_ids
        jobs = [
            LayerFetch(
                self._store,
                self._registries,
                self._repository,
                self._layers[at],
                diff_ids[at],
                self._places[at],
            )
            for at in missing
        ]

        def told(job: int, update: workers.Update) -> None:
            id = short(self._layers[missing[job]].digest)
            self._report(Progress(update.status, id, update.current, update.total))

        done = workers.run(jobs, fetch.Fetched, told)
        return {at: one.unpacked for at, one in zip(missing, done, strict=True) if one.unpacked is not None}

    def _missing(self) -> list[int]:
        missing = []
        for at, layer in enumerate(self._layers):
            if self._places[at] is None and self._store.content.has(layer.digest):
                self._report(Progress("Already exists", short(layer.digest)))
            else:
                self._report(Progress(fetch.PULLING, short(layer.digest)))
                missing.append(at)
        for at in missing[workers.LIMIT :]:
            self._report(Progress("Waiting", short(self._layers[at].digest)))
        return missing
