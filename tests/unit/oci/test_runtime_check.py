"""A runtime document that is wrong is refused with the path of the member and the reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mydocker.errors import InvalidArgument
from mydocker.oci import runtime_check
from mydocker.runtime.reports import example


def _set(document: Any, path: list[Any], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {}) if isinstance(document, dict) else document[name]
    document[path[-1]] = value


def _document() -> Any:
    return copy.deepcopy(example())


def test_the_example_is_right() -> None:
    runtime_check.check(_document(), "config.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["ociVersion"], 1, "ociVersion: a text is wanted, not 1"),
        (["ociVersion"], "", "ociVersion: missing"),
        (["ociVersion"], "2.0.0", "ociVersion: version 2.0.0 is not supported"),
        (["ociVersion"], "one", "ociVersion: a version such as 1.2.0 is wanted, not 'one'"),
        (["root"], {}, "root.path: missing"),
        (["root"], [], "root: an object is wanted, not []"),
        (["root", "readonly"], "yes", "root.readonly: true or false is wanted, not 'yes'"),
        (["process", "args"], [], "process.args: missing"),
        (["process", "args"], "sh", "process.args: a list is wanted, not 'sh'"),
        (["process", "args"], ["sh", 5], "process.args[1]: a text is wanted, not 5"),
        (["process", "args"], ["sh", "a\0b"], "process.args[1]: has a NUL byte"),
        (["process", "env"], ["A=\0"], "process.env[0]: has a NUL byte"),
        (["process", "cwd"], "tmp", "process.cwd: an absolute path is wanted, not 'tmp'"),
        (["process", "user", "uid"], -1, "process.user.uid: a whole number from 0 to 4294967295"),
        (["process", "user", "uid"], True, "process.user.uid: a whole number"),
        (["process", "user", "uid"], 1.0, "process.user.uid: a whole number"),
        (["process", "oomScoreAdj"], 2000, "process.oomScoreAdj: a number from -1000 to 1000"),
        (["process", "rlimits"], [{"type": "RLIMIT_CORE", "soft": 1}], "process.rlimits[0].hard: missing"),
        (["mounts"], [{"type": "proc"}], "mounts[0].destination: missing"),
        (["mounts"], [{"destination": "/a", "options": [1]}], "mounts[0].options[0]: a text is wanted"),
        (["mounts"], [{"destination": "/a", "uidMappings": []}], "mounts[0]: uidMappings and gidMappings go"),
        (["process", "consoleSize"], {"height": 1}, "process.consoleSize.width: missing"),
        (["process", "scheduler"], {"nice": 1}, "process.scheduler.policy: missing"),
        (["process", "ioPriority"], {"priority": 1}, "process.ioPriority.class: missing"),
        (["linux", "memoryPolicy"], {"nodes": "0"}, "linux.memoryPolicy.mode: missing"),
        (["linux", "personality"], {"flags": []}, "linux.personality.domain: missing"),
        (
            ["linux", "gidMappings"],
            [{"containerID": 0, "hostID": 0, "size": 1}],
            "linux.gidMappings: there is no user namespace",
        ),
        (
            ["linux", "devices"],
            [{"path": "/dev/x", "type": "c", "major": 1}],
            "linux.devices[0].minor: missing",
        ),
        (
            ["linux", "resources", "blockIO"],
            {"weightDevice": [{"major": 1, "minor": 1}]},
            "linux.resources.blockIO.weightDevice[0]: neither weight nor leafWeight",
        ),
        (
            ["linux", "resources", "hugepageLimits"],
            [{"pageSize": "../2MB", "limit": 1}],
            "linux.resources.hugepageLimits[0].pageSize: a size such as",
        ),
        (["linux", "resources", "rdma"], {"mlx5_1": {}}, "linux.resources.rdma.mlx5_1: neither hcaHandles"),
        (["vm"], {"kernel": {"path": "/k"}}, "vm: what is asked for there cannot be had"),
        (["windows"], {"servicing": True}, "windows: what is asked for there cannot be had"),
        (["hooks"], {"prestart": [{"path": "x"}]}, "hooks.prestart[0].path: an absolute path is wanted"),
        (
            ["hooks"],
            {"poststop": [{"path": "/x", "timeout": 0}]},
            "hooks.poststop[0].timeout: has to be positive",
        ),
        (["linux", "namespaces"], [{"type": "cloud"}], "linux.namespaces[0].type: no such kind"),
        (
            ["linux", "namespaces"],
            [{"type": "pid"}] * 2,
            "linux.namespaces[1].type: the pid namespace is given",
        ),
        (
            ["linux", "namespaces"],
            [{"type": "pid", "path": "x"}],
            "linux.namespaces[0].path: an absolute path",
        ),
        (
            ["linux", "uidMappings"],
            [{"containerID": 0, "hostID": 0}],
            "linux.uidMappings[0].size: missing",
        ),
        (["linux", "timeOffsets"], {"tai": {}}, "linux.timeOffsets.tai: no such clock"),
        (["linux", "devices"], [{"path": "/dev/x", "type": "z"}], "linux.devices[0].type: one of c, u, b, p"),
        (["linux", "devices"], [{"path": "x", "type": "c"}], "linux.devices[0].path: an absolute path"),
        (["linux", "maskedPaths"], ["proc/kcore"], "linux.maskedPaths[0]: an absolute path is wanted"),
        (
            ["linux", "resources", "memory", "limit"],
            "64m",
            "linux.resources.memory.limit: a whole number from",
        ),
        (["linux", "resources", "unified"], {"memory.max": 5}, "linux.resources.unified.memory.max: a text"),
        (
            ["linux", "resources", "blockIO"],
            {"throttleReadBpsDevice": [{"major": 1, "minor": 2}]},
            "linux.resources.blockIO.throttleReadBpsDevice[0].rate: missing",
        ),
        (
            ["mounts"],
            [{"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 0}]}],
            "mounts[0].uidMappings[0].size: missing",
        ),
        (["annotations"], {"a": 1}, "annotations.a: a text is wanted, not 1"),
    ],
)
def test_what_is_wrong_is_named(path: list[Any], value: Any, message: str) -> None:
    document = _document()
    _set(document, path, value)
    with pytest.raises(InvalidArgument) as raised:
        runtime_check.check(document, "config.json")
    assert str(raised.value).startswith(f"config.json: {message}"), raised.value


@pytest.mark.parametrize("document", [[], "x", None, 5])
def test_a_document_is_an_object(document: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^config\.json: a runtime document is an object"):
        runtime_check.check(document, "config.json")


def test_unknown_members_are_passed_over() -> None:
    document = _document()
    document["plan9"] = {"anything": [1, 2]}
    document["process"]["future"] = None
    runtime_check.check(document, "config.json")


def test_null_is_as_good_as_absent() -> None:
    document = _document()
    document["mounts"] = document["linux"]["resources"] = document["process"]["rlimits"] = None
    document["process"]["user"]["additionalGids"] = None
    runtime_check.check(document, "config.json")
    assert "mounts" not in document
    assert "resources" not in document["linux"]
    assert "rlimits" not in document["process"]
    assert "additionalGids" not in document["process"]["user"]


def test_a_process_on_its_own() -> None:
    with pytest.raises(InvalidArgument, match=r"^p\.json: args: missing"):
        runtime_check.check_process({"cwd": "/"}, "p.json")
    with pytest.raises(InvalidArgument, match=r"^p\.json: user\.gid: a whole number"):
        runtime_check.check_process({"args": ["x"], "cwd": "/", "user": {"gid": "x"}}, "p.json")


def test_resources_on_their_own() -> None:
    with pytest.raises(InvalidArgument, match=r"^r\.json: pids\.limit: a whole number"):
        runtime_check.check_resources({"pids": {"limit": "x"}}, "r.json")
