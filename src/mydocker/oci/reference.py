"""Image references, read as Docker reads them.

    [domain[:port]/]path[/path...][:tag][@digest]

``alpine`` is short for ``docker.io/library/alpine``; the first component is a domain only if it has a dot or
a colon, is ``localhost``, or has upper-case letters. The grammar and the messages are those of
github.com/distribution/reference, because clients of Docker's API tell errors apart by them.

Out of scope: looking a reference up (``image/``). Written without ``re``, whose import costs more than all
the references of a day.
"""

from .. import errors
from . import digest as digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255
TAG_LIMIT = 128

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_PATH = _LOWER | _DIGITS
_ALNUM = _PATH | _UPPER
_TAG = _ALNUM | frozenset("_.-")


class Reference:
    """A normalised reference: the domain is always there, tag and digest may both be empty."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """``docker.io/library/alpine``"""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def familiar_name(self) -> str:
        """``alpine``: what ``docker images`` prints as the repository."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(OFFICIAL)
        return self.path if "/" in rest else rest

    def familiar(self) -> str:
        """``alpine:3.20``: the shortest text that reads back as this reference."""
        return self.familiar_name + self._suffix()

    def tagged(self) -> "Reference":
        """The same, with ``latest`` if it has neither tag nor digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, DEFAULT_TAG)

    def canonical(self) -> str:
        """``docker.io/library/alpine@sha256:…``: with a digest, a tag says nothing."""
        return f"{self.name}@{self.digest}"

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Reference:
    """Read ``text`` as ``docker`` does; InvalidArgument with Docker's message if it cannot be one."""
    if len(text) == 64 and digests.is_hex(text):
        raise errors.InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_domain(text)
    remote = remainder.partition("@")[0].partition(":")[0]
    if remote != remote.lower():
        raise errors.InvalidArgument(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    rest, at, digest = remainder.partition("@")
    path, colon, tag = rest.partition(":")
    if not path or (colon and not _is_tag(tag)) or not all(map(_is_path_component, path.split("/"))):
        raise _invalid(text)
    if not _is_domain(domain):
        raise _invalid(text)
    if at:
        try:
            digests.validate(digest)
        except errors.InvalidArgument as error:
            raise errors.InvalidArgument(f"invalid reference format: {text!r}: {error}") from error
    if len(path) > NAME_LIMIT or len(domain) + 1 + len(path) > NAME_LIMIT:
        raise errors.InvalidArgument(
            f"invalid reference format: repository name must not be more than {NAME_LIMIT} characters"
        )
    return Reference(domain, path, tag, digest)


def parse_tagged(text: str) -> Reference:
    """A name to give to an image: like ``parse``, with the default tag; a digest cannot be given."""
    reference = parse(text)
    if reference.digest:
        raise errors.InvalidArgument(f"refusing to create a tag with a digest reference: {text}")
    return reference.tagged()


def _invalid(text: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"invalid reference format: {text!r}")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    domain, remainder = (first, rest) if is_domain else (DEFAULT_DOMAIN, text)
    if domain == LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder.partition("@")[0]:
        remainder = OFFICIAL + remainder
    return domain, remainder


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= TAG_LIMIT and text[0] not in ".-" and _TAG.issuperset(text)


def _is_path_component(text: str) -> bool:
    """Letters and digits, joined by one ``.``, one or two ``_``, or any number of ``-``."""
    if not text or text[0] not in _PATH or text[-1] not in _PATH:
        return False
    return all(run in (".", "_", "__") or run.strip("-") == "" for run in _runs(text, _PATH.__contains__))


def _runs(text: str, skip: "Callable[[str], bool]") -> list[str]:
    """The maximal runs of characters of ``text`` that ``skip`` is false for."""
    runs: list[str] = []
    inside = False
    for character in text:
        if skip(character):
            inside = False
        elif inside:
            runs[-1] += character
        else:
            runs.append(character)
            inside = True
    return runs


def _is_domain(text: str) -> bool:
    if text.startswith("["):  # an IPv6 address
        address, bracket, port = text[1:].partition("]")
        if not bracket or not address or not set(address) <= (_DIGITS | frozenset("abcdefABCDEF:")):
            return False
        return not port or (port[0] == ":" and bool(port[1:]) and _DIGITS.issuperset(port[1:]))
    host, colon, port = text.partition(":")
    if colon and not (port and _DIGITS.issuperset(port)):
        return False
    return all(map(_is_domain_component, host.split(".")))


def _is_domain_component(text: str) -> bool:
    if not text or text[0] == "-" or text[-1] == "-":
        return False
    return all(c in _ALNUM or c == "-" for c in text)
