"""What can go wrong, as classes.

A message names the object and the way out (``no such image: alpine:3.20 (load an archive, or pull it)``),
starts in lower case and ends without a period. Which exit status or HTTP status a class becomes is decided
by the face that reports it, in one place each (``cli/``, ``api/``); nothing here knows about either.

    Error
    ├── InvalidArgument          the request is malformed: a flag, a document, a reference
    ├── NotFound                 the object that the request names does not exist
    │   └── ImageNotFound        it is an image, which might be pulled
    ├── Conflict                 the object exists, but its state or its name forbids the request
    ├── NotSupported             understood, but not built, or absent from this kernel or host
    ├── Forbidden                the kernel or a policy refuses (EPERM, EACCES)
    ├── Unauthorized             a registry wants credentials, or other ones
    ├── Unavailable              something needed does not answer now: a lock, a socket, a registry
    │   └── TooManyRequests      a registry answers, but not us, and not now
    ├── CorruptData              stored or received bytes are not what they claim to be
    │   └── HostileArchive       an archive that tries to reach outside of its directory, or beyond a limit
    ├── StartFailed              the container or the added process could not be brought to execve
    │   ├── CommandNotFound      there is no such program inside the container
    │   └── CommandNotExecutable there is one, but execve refuses it
    └── Interrupted              the user or a signal ended the operation
"""


class Error(Exception):
    """The base of everything that mydocker raises on purpose; ``str(error)`` is the message for a person."""


class InvalidArgument(Error):
    pass


class NotFound(Error):
    pass


class ImageNotFound(NotFound):
    pass


class Conflict(Error):
    pass


class NotSupported(Error):
    pass


class Forbidden(Error):
    pass


class Unauthorized(Error):
    pass


class Unavailable(Error):
    pass


class TooManyRequests(Unavailable):
    pass


class CorruptData(Error):
    pass


class HostileArchive(CorruptData):
    pass


class StartFailed(Error):
    pass


class CommandNotFound(StartFailed):
    pass


class CommandNotExecutable(StartFailed):
    pass


class Interrupted(Error):
    pass
