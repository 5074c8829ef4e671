"""``login`` and ``logout``: have credentials for a registry, and have them no longer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mydocker import errors
from mydocker.cli import output, terminal
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import switch, text

if TYPE_CHECKING:
    from mydocker.engine import Engine
    from mydocker.registry.credentials import Auth

_HUB_HINT = (
    "Log in with your Docker ID or email address to push and pull images from Docker Hub. "
    "If you don't have a Docker ID, head over to https://hub.docker.com/ to create one."
)
_EXISTING = """\
Authenticating with existing credentials... [Username: {}]

 Info -> To login with a different account, run 'mydocker logout' followed by 'mydocker login'

"""
_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


def run(invocation: Invocation) -> int:
    username, password = invocation["username"], invocation["password"]
    _check(invocation)
    if password:
        output.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if invocation["password-stdin"]:
        with open(0, "rb", closefd=False) as stdin:
            password = stdin.read().decode(errors="surrogateescape").removesuffix("\n").removesuffix("\r")
    engine = invocation.engine
    engine.registries.notice = output.err
    server = invocation.arguments[0] if invocation.arguments else ""
    known = engine.credentials(server)
    if known is not None and not username and not password:
        output.err(_EXISTING.format(known.username))
        try:
            return _finish(engine, server, known)
        except errors.Error as error:
            output.err(f"Login did not succeed, error: {error}")
    return _finish(engine, server, _ask(server, username, password, known))


def _check(invocation: Invocation) -> None:
    """Whether the flags go together."""
    if invocation["password-stdin"]:
        if "password" in invocation.given:
            raise errors.InvalidArgument(
                "conflicting options: cannot specify both --password and --password-stdin"
            )
        if "username" not in invocation.given:
            raise errors.InvalidArgument("the --password-stdin option requires --username to be set")
    for flag in ("username", "password"):
        if flag in invocation.given and not invocation[flag]:
            raise errors.InvalidArgument(f"{flag} is empty")


def _finish(engine: Engine, server: str, auth: Auth) -> int:
    path = engine.login(server, auth)
    if path:
        output.err(_UNENCRYPTED.format(path))
    output.out("Login Succeeded")
    return 0


def _ask(server: str, username: str, password: str, known: Auth | None) -> Auth:
    """What was not given as flags, from the terminal."""
    from mydocker.oci.reference import DEFAULT_DOMAIN
    from mydocker.registry.credentials import Auth
    from mydocker.registry.login import domain_of

    if username and password:
        return Auth(username, password)
    if not terminal.is_terminal(0):
        raise errors.InvalidArgument("Cannot perform an interactive login from a non TTY device")
    if not username:
        if domain_of(server) == DEFAULT_DOMAIN:
            output.out(_HUB_HINT)
        usual = known.username if known is not None else ""
        username = _prompt(f"Username ({usual}): " if usual else "Username: ").strip() or usual
        if not username:
            raise errors.InvalidArgument("username is required")
    if not password:
        with terminal.Silent(0):
            password = _prompt("Password: ")
        output.out("")
        if not password:
            raise errors.InvalidArgument("password is required")
    return Auth(username, password)


def _prompt(text: str) -> str:
    output.write(output.STDOUT, text.encode())
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 4096)
        if not piece:
            break
        line += piece
    return line.decode(errors="surrogateescape").rstrip("\r\n")


def run_logout(invocation: Invocation) -> int:
    from mydocker.registry.credentials import server_of
    from mydocker.registry.login import domain_of

    server = invocation.arguments[0] if invocation.arguments else ""
    name = server_of(domain_of(server))
    output.out(f"Removing login credentials for {name}")
    try:
        invocation.engine.logout(server)
    except errors.Error as error:
        output.err(f"WARNING: could not erase credentials:\n{name}: {error}")
    return 0


COMMAND = Command(
    "login [OPTIONS] [SERVER]",
    "Authenticate to a registry",
    run,
    flags=(
        text("password", "p", "Password or Personal Access Token (PAT)"),
        switch("password-stdin", "", "Take the Password or Personal Access Token (PAT) from stdin"),
        text("username", "u", "Username"),
    ),
    most=1,
)
LOGOUT = Command("logout [SERVER]", "Log out from a registry", run_logout, most=1)
