"""The command of an OCI runtime, with a state directory and bundles of its own.

    runtime = Runtime(command.installed("mydocker-runtime"), directory)
    bundle = runtime.bundle(rootfs, ["sleep", "1000"], linux={…})      a directory with config.json
    runtime.start("id", bundle)                                        created, started, in the background
    runtime("state", "id")                                             any command; a Result

What runs on keeps the streams of whoever made it, so ``create`` and ``run --detach`` get files, not pipes.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from support import bundle, command
from support.command import Result


class Runtime:
    def __init__(self, program: str, directory: str, *options: str) -> None:
        self.program = program
        self.directory = directory
        self.options = options  # for every command
        self.root = os.path.join(directory, "state")

    def bundle(self, rootfs: str, args: list[str], **changes: Any) -> str:
        """A new bundle with the document of ``support.bundle``, and its changes."""
        return self.bundle_of(bundle.document(rootfs, args, **changes))

    def bundle_of(self, document: Any) -> str:
        """A new bundle with this document; text goes in as it is."""
        directory = tempfile.mkdtemp(prefix="bundle-", dir=self.directory)
        text = document if isinstance(document, str) else json.dumps(document)
        Path(directory, "config.json").write_text(text)
        return directory

    def __call__(self, *arguments: str, check: bool | int = True, **options: Any) -> Result:
        """Run to the end with pipes; ``check`` as for ``command.Runner``."""
        argv = [self.program, "--root", self.root, *self.options, *arguments]
        found = command.run(argv, check=False, **options)
        wanted = 0 if check is True else check
        if check is not False and found.code != wanted:
            raise command.Failed(f"expected exit status {wanted}: {found}")
        return found

    def detached(self, *arguments: str, check: bool = True, **options: Any) -> Result:
        """The same for a command that leaves a process behind: its streams are files."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(
                [self.program, "--root", self.root, *self.options, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=60,
                check=False,
                **options,
            )
            out.seek(0)
            err.seek(0)
            result = Result(arguments, done.returncode, out.read(), err.read())
        if check and result.code:
            raise command.Failed(f"expected exit status 0: {result}")
        return result

    def create(self, id: str, directory: str, *options: str) -> None:
        self.detached("create", "--bundle", directory, *options, id)

    def start(self, id: str, directory: str, *options: str) -> None:
        self.create(id, directory, *options)
        self("start", id)

    def state(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self("state", id).json()
        return found

    def ids(self) -> list[str]:
        """What the state directory holds, read from it and not from ``list``."""
        if not os.path.isdir(self.root):
            return []
        return sorted(name for name in os.listdir(self.root) if not name.startswith("."))

    def delete_all(self) -> None:
        for id in self.ids():
            self("delete", "--force", id)
