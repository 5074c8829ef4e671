"""Credential helpers: programs ``docker-credential-NAME`` that keep secrets somewhere better than a file.

    get     server on standard input     {"ServerURL": …, "Username": …, "Secret": …} on standard output
    store   that document on standard input
    erase   server on standard input

A helper that fails says why on standard output, and "credentials not found in native keychain" when it has
none (github.com/docker/docker-credential-helpers). A user name ``<token>`` marks an identity token.
"""

from __future__ import annotations

import json
import subprocess

from .. import errors

TOKEN = "<token>"
_NOT_FOUND = "credentials not found in native keychain"
_TIMEOUT = 300  # it may ask its user


class _Failed(Exception):
    """The message is what the helper wrote."""


def get(name: str, server: str) -> tuple[str, str] | None:
    """User name and secret, or None when the helper has none for ``server``."""
    try:
        output = _run(name, "get", server)
    except _Failed as error:
        if str(error) == _NOT_FOUND:
            return None
        raise errors.Unavailable(
            f"error getting credentials of {server}: {_program(name)}: {error}"
        ) from None
    try:
        document = json.loads(output)
        return str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError, TypeError):
        raise errors.Unavailable(
            f"error getting credentials of {server}: {_program(name)} wrote no such document"
        ) from None


def store(name: str, server: str, username: str, secret: str) -> None:
    document = json.dumps({"ServerURL": server, "Username": username, "Secret": secret})
    try:
        _run(name, "store", document)
    except _Failed as error:
        raise errors.Unavailable(
            f"error storing credentials of {server}: {_program(name)}: {error}"
        ) from None


def erase(name: str, server: str) -> None:
    """One that has none is content as it is."""
    try:
        _run(name, "erase", server)
    except _Failed as error:
        if str(error) != _NOT_FOUND:
            raise errors.Unavailable(
                f"error erasing credentials of {server}: {_program(name)}: {error}"
            ) from None


def _program(name: str) -> str:
    return f"docker-credential-{name}"


def _run(name: str, verb: str, text: str) -> str:
    try:
        done = subprocess.run(
            [_program(name), verb], input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise _Failed("executable file not found in $PATH") from None
    except OSError as error:
        raise _Failed(error.strerror or str(error)) from error
    except subprocess.TimeoutExpired:
        raise _Failed(f"no answer within {_TIMEOUT} seconds") from None
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise _Failed(output or f"exit status {done.returncode}")
    return output
