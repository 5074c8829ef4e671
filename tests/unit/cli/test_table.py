"""The table of commands: each is where it says, and can tell what it does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mydocker.cli import table

ENTRIES = {
    **table.COMMON,
    **table.OTHERS,
    **{
        f"{group} {name}": entry for group, members in table.GROUPS.items() for name, entry in members.items()
    },
}


@pytest.mark.parametrize("name", ENTRIES)
def test_each_command(name: str) -> None:
    words = name.split()
    found, entry, rest = table.find([*words, "argument"])
    assert (found, entry, rest) == (name, ENTRIES[name], ["argument"])
    help = entry.load().help(name)
    assert help.startswith(f"Usage:  mydocker {name}")
    assert entry.summary.rstrip(".").split()[0] in help


def test_each_module_can_be_the_first() -> None:
    """A command loads its own module, and what that needs: nothing of it may need the module first."""
    script = """
import sys
for name in sys.argv[1:]:
    for loaded in [each for each in sys.modules if each.startswith("mydocker.cli.commands.")]:
        del sys.modules[loaded]
    __import__(f"mydocker.cli.commands.{name}")
"""
    modules = sorted({entry.module for entry in ENTRIES.values()})
    subprocess.run([sys.executable, "-c", script, *modules], check=True, timeout=60)


@pytest.mark.parametrize("group", table.GROUPS)
def test_each_group(group: str) -> None:
    with pytest.raises(table.GroupCalled, match=group):
        table.find([group])
    with pytest.raises(table.UnknownCommand, match=f"unknown command: mydocker {group} nothing") as caught:
        table.find([group, "nothing"])
    assert caught.value.group == group
    help = table.group_help(group)
    assert table.GROUP_SUMMARIES[group] in help
    assert group in table.overview()
