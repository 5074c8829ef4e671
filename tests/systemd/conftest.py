"""Tests for a machine whose PID 1 is systemd, and that is theirs alone: the guest of ``make test-vm``.

Elsewhere they are skipped: the session's own namespaces would hide the host's systemd, and the host's units
are not to be touched.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import command, oci
from support.oci import Runtime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    own = Path(__file__).parent
    if os.path.isdir("/run/systemd/system") and os.path.exists("/run/guest-tests"):
        return
    for item in items:
        if item.path.is_relative_to(own):
            item.add_marker(pytest.mark.skip(reason="needs a guest with systemd as PID 1: make test-vm"))


@pytest.fixture
def runtime(short_directory: str) -> Iterator[Runtime]:
    directory = tempfile.mkdtemp(prefix="oci-", dir=short_directory)
    made = oci.Runtime(command.installed("mydocker-runtime"), directory, "--systemd-cgroup")
    yield made
    made.delete_all()
    assert made.ids() == []
