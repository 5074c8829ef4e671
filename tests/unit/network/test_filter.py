"""What is taken out of the packet filter, whatever of it is there. In network namespaces of their own."""

from __future__ import annotations

import json
import os

import pytest

from mydocker import errors
from mydocker.network import filter as module
from mydocker.network.document import Network
from mydocker.network.filter import Filter
from support import command, probe
from support.hosts import apart

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(probe.missing_programs("nft")), reason="needs nft"),
]
TABLES = """
add table inet t
add set inet t one { type ipv4_addr; }
add element inet t one { 10.0.0.1 }
add chain inet t kept
add chain inet t other
add rule inet t other jump kept
add table bridge t
add set bridge t two { type ifname; }
"""
GONE = """
delete element bridge t two { "mdv0" }
delete element inet t one { 10.0.0.1 }
"""


def elements() -> list[object]:
    listed = json.loads(command.run(["nft", "-j", "list", "sets"]).out)["nftables"]
    return [element for entry in listed for element in entry.get("set", {}).get("elem", [])]


def test_what_is_not_there_keeps_nothing_else() -> None:
    def work() -> None:
        command.run(["nft", "-f", "-"], input=TABLES.encode())
        assert elements() == ["10.0.0.1"]
        Filter("t").forget(GONE)
        assert elements() == []
        Filter("t").remove()
        Filter("t").remove()
        Filter("t").forget(GONE)

    apart(work)


def test_a_table_that_somebody_needs_stays() -> None:
    def work() -> None:
        networks = [Network(name=name, id=name * 64, created="") for name in ("a", "b")]
        Filter("t").remove_unused()
        Filter("t").add_networks(networks)
        for network in networks:
            Filter("t").remove_unused()
            assert "table inet t" in command.run(["nft", "list", "ruleset"]).out
            Filter("t").remove_network(network)
        Filter("t").remove_unused()
        assert command.run(["nft", "list", "ruleset"]).out == ""

    apart(work)


def test_what_else_is_in_the_way_is_told() -> None:
    def work() -> None:
        command.run(["nft", "-f", "-"], input=TABLES.encode())
        with pytest.raises(errors.NotSupported, match="busy"):
            Filter("t").forget("delete chain inet t kept\n")

    apart(work)


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    program = os.path.join(tmp_path, "nft")
    with open(program, "w") as file:
        file.write("#!/bin/sh\nexec sleep 1000\n")
    os.chmod(program, 0o755)
    monkeypatch.setattr(module, "_PATH", str(tmp_path))
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    with pytest.raises(errors.Unavailable, match="has not ended"):
        Filter("t").change("", [])
