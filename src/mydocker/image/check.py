"""Verify the image store: what ``system check`` says about blobs, images and layers.

    blob       its contents have the digest that it is named after
    image      manifest and configuration are here and can be read; every layer is here as a blob, of the
               size that the manifest says
    layer      what is noted about it; its files, if it is unpacked, by their number of bytes; that it is
               unpacked, and has an init layer on top, if a container stands on it
    leftover   what somebody left who was killed; only while nobody is at work can it be told from work

Blobs are hashed by several threads. A layer is repaired from its blob; a blob that is wrong is removed when
no image needs it. An image that cannot be used is given up only when somebody says so.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .. import errors
from ..archive import tar
from ..archive.compression import inflated
from ..archive.stream import Stream
from ..content.fault import Fault
from ..oci import digest as digests
from ..oci import reference as references
from ..oci.descriptor import CONTAINERD_NAME
from ..snapshot.usage import contents
from . import garbage
from .documents import Descriptor, ImageConfig, Manifest, decode
from .store import ImageStore

Progress = Callable[[int, int], None]
"""``progress(done, total)`` in bytes, from several threads, one at a time"""

_THREADS = min(8, os.cpu_count() or 1)
_AGAIN = "pull or load the image again"
_SWEEP = "`mydocker system check --repair` removes it"
_GIVE_UP = f"`mydocker system check --repair --remove-broken` removes it; then {_AGAIN}"
_UNPACK = "`mydocker system check --repair` unpacks it again"


@dataclass(frozen=True)
class Base:
    """What a container stands on."""

    container: str
    chains: Sequence[str]
    """the chain ids of its layers"""
    running: bool


@dataclass(frozen=True)
class _Origin:
    """How to make a layer's directory again."""

    parent: str
    diff_id: str
    blob: Descriptor


class Check:
    """One look at a store. The caller holds ``use.lock``, exclusively if anything is to be repaired."""

    def __init__(self, store: ImageStore, bases: Sequence[Base], progress: Progress | None = None) -> None:
        self.faults: list[Fault] = []
        self.blobs = 0
        self.images = 0
        self.layers = 0
        self._store = store
        self._bases = bases
        self._progress = progress
        self._wrong: set[str] = set()
        self._needed: set[str] = set()
        self._origins: dict[str, _Origin] = {}

    def run(self) -> None:
        """Find all faults but leftovers."""
        try:
            entries = self._store.entries()
        except errors.CorruptData as error:
            remedy = "remove the file, and pull or load the images again"
            self.faults.append(Fault("image", "index.json", str(error), remedy))
            return
        for path in (*self._store.content.strays(), *self._store.layers.strays()):
            problem = "is not named after a digest, so it is none of ours"
            self.faults.append(Fault("leftover", path, problem, f"remove {path}"))
        found = self._hash()
        for digest in dict.fromkeys(entry.digest for entry in entries):
            self._image(digest, [entry for entry in entries if entry.digest == digest])
        self._mismatched(found)
        self._directories()

    # Blobs

    def _hash(self) -> Mapping[str, str]:
        """Digest -> what the contents have, of those that are wrong."""
        names = list(self._store.content.all())
        self.blobs = len(names)
        sizes = {digest: self._store.content.size(digest) for digest in names}
        total, done = sum(sizes.values()), 0
        counting = threading.Lock()

        def report(read: int) -> None:
            nonlocal done
            with counting:
                done += read
                if self._progress is not None:
                    self._progress(done, total)

        def digest_of(digest: str) -> str:
            hashed = hashlib.sha256()
            for chunk in self._store.content.chunks(digest):
                hashed.update(chunk)
                report(len(chunk))
            return "sha256:" + hashed.hexdigest()

        names.sort(key=lambda digest: -sizes[digest])  # the largest first, so that no thread is late
        with ThreadPoolExecutor(_THREADS) as pool:
            found = dict(zip(names, pool.map(digest_of, names), strict=True))
        self._wrong = {digest for digest, actual in found.items() if actual != digest}
        return {digest: found[digest] for digest in sorted(self._wrong)}

    def _mismatched(self, found: Mapping[str, str]) -> None:
        for digest, actual in found.items():
            problem = f"its contents have the digest {actual}"
            if digest in self._needed:
                fault = Fault("blob", digest, problem, _GIVE_UP, sacrifice=self._remove_blob(digest))
            else:
                fault = Fault("blob", digest, problem, _SWEEP, self._remove_blob(digest))
            self.faults.append(fault)

    def _remove_blob(self, digest: str) -> Callable[[], None]:
        return lambda: self._store.content.remove(digest)

    def _good(self, digest: str) -> bool:
        return self._store.content.has(digest) and digest not in self._wrong

    # Images

    def _image(self, digest: str, entries: Sequence[Descriptor]) -> None:
        self.images += 1
        names = [name for entry in entries if (name := (entry.annotations or {}).get(CONTAINERD_NAME))]
        label = ", ".join(references.parse(name).familiar() for name in names) or digest
        self._needed.add(digest)
        try:
            self._whole(digest, entries, label)
        except (errors.NotFound, errors.CorruptData) as error:
            fault = Fault("image", label, str(error), _GIVE_UP, sacrifice=lambda: self._give_up(digest))
            self.faults.append(fault)

    def _give_up(self, digest: str) -> None:
        with self._store.locked():
            self._store.content.note()
            self._store.drop(digest)

    def _document(self, digest: str, what: str) -> bytes:
        if digest in self._wrong:
            raise errors.CorruptData(f"its {what} {digest} is not what it should be")
        if not self._store.content.has(digest):
            raise errors.NotFound(f"its {what} {digest} is missing")
        return self._store.content.read(digest)

    def _whole(self, digest: str, entries: Sequence[Descriptor], label: str) -> None:
        """NotFound or CorruptData if no container can be made from the image; lesser faults are noted."""
        data = self._document(digest, "manifest")
        for entry in entries:
            if entry.size != len(data):
                raise errors.CorruptData(
                    f"index.json has {entry.size} bytes for its manifest, which has {len(data)}"
                )
        manifest = decode(Manifest, data, "its manifest")
        self._needed.update((manifest.config.digest, *(layer.digest for layer in manifest.layers)))
        config = decode(
            ImageConfig, self._document(manifest.config.digest, "configuration"), "its configuration"
        )
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise errors.CorruptData(f"{len(manifest.layers)} layers, but {len(diff_ids)} diff_ids")
        parent = ""
        lost: list[str] = []
        for chain_id, diff_id, blob in zip(
            digests.chain_ids(diff_ids), diff_ids, manifest.layers, strict=True
        ):
            self._origins.setdefault(chain_id, _Origin(parent, diff_id, blob))
            parent = chain_id
            problem = self._layer_blob(blob)
            if problem or blob.digest in self._wrong:
                if not self._store.layers.has(chain_id):
                    what = problem or f"the blob {blob.digest} of a layer is not what it should be"
                    raise errors.NotFound(f"{what}, and the layer is not unpacked")
                if problem:
                    lost.append(problem)
        for problem in lost:
            remedy = f"containers can be made from it; to save or push it, {_AGAIN}"
            self.faults.append(Fault("image", label, problem, remedy))

    def _layer_blob(self, blob: Descriptor) -> str:
        """What is wrong with the blob of a layer; nothing about contents, which is the blob's own fault."""
        if not self._store.content.has(blob.digest):
            return f"the blob {blob.digest} of a layer is missing"
        size = self._store.content.size(blob.digest)
        if size != blob.size and blob.digest not in self._wrong:
            return f"the blob {blob.digest} of a layer has {size} bytes, the manifest says {blob.size}"
        return ""

    # Layers

    def _directories(self) -> None:
        here = list(self._store.layers.all())
        self.layers = len(here)
        problems = {chain_id: problem for chain_id in here if (problem := self._directory(chain_id))}
        for base in self._bases:
            for chain_id in base.chains:
                if chain_id not in problems and not self._store.layers.has(chain_id):
                    problems[chain_id] = f"it has no files, and container {base.container[:12]} stands on it"
        below = {self._parent(chain_id) for chain_id in here} - {""}
        for chain_id in (below | set(self._origins)) - set(here):
            problems.setdefault(chain_id, "is missing")
        for chain_id in sorted(problems, key=self._depth):
            self.faults.append(self._layer_fault(chain_id, problems[chain_id]))
        self._init_layers(here, problems)

    def _parent(self, chain_id: str) -> str:
        """The layer below, by the images if they know it, else by what the layer itself says."""
        if (origin := self._origins.get(chain_id)) is not None:
            return origin.parent
        try:
            parent = self._store.layers.parent(chain_id)
            return digests.validate_sha256(parent) if parent else ""
        except (OSError, UnicodeDecodeError, errors.InvalidArgument):
            return ""

    def _depth(self, chain_id: str) -> int:
        """How many layers are below, as far as is known; so that those are repaired first."""
        seen: list[str] = []
        while chain_id and chain_id not in seen:
            seen.append(chain_id)
            chain_id = self._parent(chain_id)
        return len(seen)

    def _directory(self, chain_id: str) -> str:
        """What is wrong with a layer that has a directory, or nothing."""
        layers = self._store.layers
        origin = self._origins.get(chain_id)
        try:
            parent = layers.parent(chain_id)
            size = layers.size(chain_id)
            if parent:
                digests.validate_sha256(parent)
        except (OSError, ValueError, errors.NotFound, errors.InvalidArgument) as error:
            return f"what is noted about it cannot be read: {error}"
        if origin is not None and parent != origin.parent:
            below, wanted = parent or "nothing", origin.parent or "nothing"
            return f"it says that it stands on {below}, its image says {wanted}"
        if not layers.has(chain_id):
            return ""  # its blob is as good, unless a container stands on it
        found = contents(layers.diff(chain_id))
        if found == size:
            return ""
        if origin is not None and self._good(origin.blob.digest):
            expected = self._expected(origin)
            return "" if found == expected else f"its files have {found} bytes, its archive has {expected}"
        return f"its files have {found} bytes, {size} were unpacked"

    def _expected(self, origin: _Origin) -> int:
        """Bytes that are in the files when the archive is unpacked; a later entry replaces an earlier one."""
        name = f"layer {origin.diff_id}"
        chunks = inflated(self._store.content.chunks(origin.blob.digest), self._store.layers.limits, name)
        sizes: dict[bytes, int] = {}
        for entry in tar.Reader(Stream(chunks)):
            place = entry.name.removeprefix(b"./").rstrip(b"/")
            if place.rpartition(b"/")[2].startswith(b".wh."):
                continue
            if entry.type == tar.REGULAR:
                sizes[place] = entry.real_size
            elif entry.type != tar.DIRECTORY:
                sizes[place] = len(entry.link) if entry.type == tar.SYMLINK else 0
        return sum(sizes.values())

    def _layer_fault(self, chain_id: str, problem: str) -> Fault:
        origin = self._origins.get(chain_id)
        user = next((base for base in self._bases if base.running and chain_id in base.chains), None)
        if origin is None:
            remedy = "no image has it any more: remove the containers that use it"
            return Fault("layer", chain_id, problem, remedy)
        if not self._good(origin.blob.digest):
            if any(chain_id in base.chains for base in self._bases):
                return Fault("layer", chain_id, problem, f"{_AGAIN}, then {_UNPACK}")
            return Fault("layer", chain_id, problem, _GIVE_UP, sacrifice=self._remove_layer(chain_id))
        if user is not None:
            remedy = f"stop container {user.container[:12]}, which runs on it, then {_UNPACK}"
            return Fault("layer", chain_id, problem, remedy)
        return Fault("layer", chain_id, problem, _UNPACK, lambda: self._unpack(chain_id, origin))

    def _remove_layer(self, chain_id: str) -> Callable[[], None]:
        return lambda: self._store.layers.remove(chain_id)

    def _unpack(self, chain_id: str, origin: _Origin) -> None:
        layers = self._store.layers
        note = self._store.content.note()
        if os.path.isdir(layers.directory(chain_id)):
            layers.remove(chain_id)
        layers.unpack(
            self._store.content.chunks(origin.blob.digest),
            f"blob {origin.blob.digest}",
            parent=origin.parent,
            diff_id=origin.diff_id,
        )
        if any(base.chains and base.chains[-1] == chain_id for base in self._bases):
            layers.make_init(chain_id)
        self._store.content.forget(note)

    def _init_layers(self, here: Sequence[str], problems: Mapping[str, str]) -> None:
        tops = {base.chains[-1] for base in self._bases if base.chains}
        for chain_id in sorted(tops.intersection(here) - set(problems)):
            if not os.path.isdir(self._store.layers.init(chain_id)):
                problem = "the init layer on top of it is missing"
                self.faults.append(
                    Fault(
                        "layer",
                        chain_id,
                        problem,
                        "`mydocker system check --repair` makes it",
                        self._make_init(chain_id),
                    )
                )

    def _make_init(self, chain_id: str) -> Callable[[], None]:
        return lambda: self._store.layers.make_init(chain_id)


def leftovers(store: ImageStore) -> list[Fault]:
    """What is unfinished, or here for nothing. The caller holds ``use.lock`` exclusively."""

    def sweep() -> None:
        garbage.sweep(store)

    left = (*store.content.leftovers(), *store.layers.leftovers())
    found = dict.fromkeys(left, "nobody is at work on it any more")
    try:
        needed = garbage.everything_needed(store)
    except errors.CorruptData:  # which ``Check`` tells; nothing can be called unneeded before it is put right
        return [Fault("leftover", name, problem, _SWEEP, sweep) for name, problem in found.items()]
    for digest in sorted(set(store.content.all()) - needed.blobs):
        found[f"blob {digest}"] = "no image needs it"
    for chain_id in sorted(set(store.layers.all()) - needed.chains):
        found[f"layer {chain_id}"] = "no image needs it"
    return [Fault("leftover", name, problem, _SWEEP, sweep) for name, problem in found.items()]
