"""Which entry of an index is for a machine: ``os/architecture[/variant]``, as in ``--platform``.

The rules and the spellings are those of github.com/containerd/platforms: aliases are normalised, the variant
of arm64 is v8 and of amd64 v1 when none is given, and a machine takes what is older than itself, the newest
first (arm v7 also runs v6 and v5, arm64 also arm v8 and below, amd64/v3 also v2 and v1). Entries for
``unknown/unknown`` are attestations that builders put beside images, and match nothing.

Out of scope: fetching what was chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from .. import errors
from .documents import Descriptor, ImageConfig, Platform

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64",
             "ppc64le": "ppc64le", "s390x": "s390x", "loongarch64": "loong64", "i686": "386"}  # fmt: skip
_ALIASES = {
    "x86_64": "amd64", "x86-64": "amd64", "i386": "386", "aarch64": "arm64", "armhf": "arm", "armel": "arm",
}  # fmt: skip
_ALIAS_VARIANTS = {"armhf": "v7", "armel": "v6"}
_ARCHITECTURES = frozenset(_MACHINES.values())
_KNOWN = _ARCHITECTURES | frozenset((
    "amd64p32", "arm64be", "armbe", "mips", "mips64", "mips64le", "mips64p32", "mips64p32le", "mipsle", "ppc",
    "ppc64", "riscv", "s390", "sparc", "sparc64", "wasm",
))  # fmt: skip
"""what Go knows, and Docker takes a single word for"""
_ARM = ("v8", "v7", "v6", "v5")
_AMD64 = ("v4", "v3", "v2", "v1")
# What a processor must have for each level (x86-64 psABI, micro-architecture levels), in the words of
# /proc/cpuinfo; "abm" stands for LZCNT.
_LEVELS = (
    ("v2", {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    ("v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


def architecture() -> str:
    """This machine, in Go's word for it, which the platform of an image is written in."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def host() -> Platform:
    """The platform of this machine, with the variant that its processor has."""
    machine = os.uname().machine
    name = architecture()
    variant = ""
    if name == "arm":
        variant = "v" + machine[4] if machine.startswith("armv") else "v7"
    elif name == "amd64":
        variant = _amd64_variant()
    return normalise(Platform(os="linux", architecture=name, variant=variant))


def _amd64_variant() -> str:
    found = "v1"
    with open("/proc/cpuinfo") as file:
        flags = next((set(line.split()) for line in file if line.startswith("flags")), set())
    for level, wanted in _LEVELS:
        if not wanted <= flags:
            break
        found = level
    return found


def parse(text: str) -> Platform:
    """``linux/arm64/v8``, ``arm64``, ``arm/v7`` or ``linux``; InvalidArgument if it cannot be one."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(map(_is_word, parts)):
        raise errors.InvalidArgument(
            f'error parsing specified platform: "{text}": a platform is of the form os/architecture[/variant]'
        )
    if len(parts) == 1:
        word = parts[0].lower()
        if word == "linux":
            return host()
        if word in ("windows", "darwin", "freebsd"):
            return normalise(Platform(os=word, architecture=architecture()))
        if normalise(Platform(architecture=word)).architecture not in _KNOWN:
            raise errors.InvalidArgument(f'"{text}": unknown operating system or architecture')
        parts = ["linux", word]
    elif len(parts) == 2 and normalise(Platform(architecture=parts[0])).architecture in _ARCHITECTURES:
        parts = ["linux", *parts]  # arm/v7
    return normalise(Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) > 2 else ""))


def _is_word(text: str) -> bool:
    return bool(text) and text.isascii() and text.replace("_", "").replace("-", "").replace(".", "").isalnum()


def normalise(platform: Platform) -> Platform:
    system = {"macos": "darwin"}.get(platform.os.lower(), platform.os.lower())
    name, variant = platform.architecture.lower(), platform.variant.lower()
    variant = variant or _ALIAS_VARIANTS.get(name, "")
    name = _ALIASES.get(name, name)
    if variant and variant[0].isdigit():
        variant = "v" + variant
    if (name, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    if (name, variant) == ("arm", ""):
        variant = "v7"
    return Platform(os=system, architecture=name, variant=variant, os_version=platform.os_version)


def show(platform: Platform) -> str:
    """``linux/arm/v7``"""
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def of(config: ImageConfig) -> Platform:
    """What an image says that it is for; linux if it does not say."""
    return Platform(
        os=config.os or "linux",
        architecture=config.architecture,
        variant=config.variant,
        os_version=config.os_version,
    )


def accepted(wanted: Platform) -> list[Platform]:
    """What runs where ``wanted`` runs, the best first; all normalised."""
    wanted = normalise(wanted)
    name, variant = wanted.architecture, wanted.variant
    pairs = [(name, variant)]
    if name == "arm" and variant in _ARM:
        pairs = [(name, one) for one in _ARM[_ARM.index(variant) :]]
    elif name == "arm64" and not variant:
        pairs += [("arm", one) for one in _ARM]
    elif name == "amd64" and variant in _AMD64:
        pairs = [(name, one) for one in _AMD64[_AMD64.index(variant) :]]
    return [normalise(Platform(os=wanted.os, architecture=a, variant=v)) for a, v in pairs]


def matches(wanted: Platform, found: Platform) -> bool:
    """Whether what is for ``found`` runs where ``wanted`` is asked for."""
    return _bare(found) in accepted(wanted)


def mismatch(reference: str, wanted: Platform, found: Platform) -> str:
    """In Docker's words: an image is there, but for another platform."""
    return (
        f"image with reference {reference} was found but does not match the specified platform: "
        f"wanted {show(wanted)}, actual: {show(found)}"
    )


def choose(entries: Iterable[Descriptor], wanted: Platform) -> list[Descriptor]:
    """The entries of an index that are for ``wanted``, the best first; those of equal rank in their order.

    An entry that does not say what it is for comes last: it may be an index, or the only image.
    """
    order = accepted(wanted)
    ranked: list[tuple[int, Descriptor]] = []
    for entry in entries:
        if entry.platform is None:
            ranked.append((len(order), entry))
        elif (bare := _bare(entry.platform)) in order:
            ranked.append((order.index(bare), entry))
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _bare(platform: Platform) -> Platform:
    platform = normalise(platform)
    return Platform(os=platform.os, architecture=platform.architecture, variant=platform.variant)
