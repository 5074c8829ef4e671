"""``manifest`` beside docker's: the same lines, the same bytes on the registry; what others read there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import archives
from support.archives import Member
from support.command import Result, Runner
from support.peers import Tool


@dataclass(frozen=True)
class Both:
    docker: Tool
    ours: Runner
    registry: str
    config: str

    def run(self, words: str) -> tuple[Result, Result]:
        """docker's result and ours; ``@`` stands for the registry."""
        arguments = [word.replace("@", self.registry + "/lists/") for word in words.split()]
        theirs = self.docker("manifest", *arguments, check=False)
        return theirs, self.ours("--config", self.config, "manifest", *arguments, check=False)


@pytest.fixture
def both(docker: Tool, fresh: Runner, skopeo: Tool, registry: str, tmp_path: Path) -> Both:
    """And on the registry images for two platforms, in docker's form, all that older ones know, and OCI's."""
    for architecture in ("amd64", "arm64"):
        layer = archives.layer([Member("architecture", architecture.encode())])
        path = archives.docker_archive(
            str(tmp_path / f"{architecture}.tar"),
            [layer],
            name=f"made/{architecture}:1",
            architecture=architecture,
        )
        forms = (("v2s2", architecture), ("v2s2", f"again-{architecture}"), ("oci", f"oci-{architecture}"))
        for form, name in forms:
            skopeo("--override-arch", architecture, "copy", "--format", form, "--dest-tls-verify=false",
                   f"docker-archive:{path}", f"docker://{registry}/lists/one:{name}")  # fmt: skip
    return Both(docker, fresh, registry, str(tmp_path / "config"))


STEPS = [
    "create --insecure @one:all @one:amd64 @one:arm64",
    "create --insecure @one:all @one:amd64",
    "create --insecure --amend @one:all @one:again-arm64",
    "inspect @one:all",
    "inspect --verbose @one:all",
    "inspect @one:all @one:arm64",
    "inspect -v @one:all @one:arm64",
    "inspect @one:all @one:none",
    "annotate --arch arm64 --variant v8 --os linux --os-version 1 --os-features a,b @one:all @one:arm64",
    "annotate --arch arm64 --os-features b --os-features c @one:all @one:arm64",
    "annotate --arch none @one:all @one:arm64",
    "annotate --arch arm64 @one:all @one:none",
    "annotate --arch arm64 @one:none @one:arm64",
    "inspect -v @one:all",
    "push --insecure @one:all",
    "inspect --insecure @one:all",
    "push --insecure -p @one:all",
    "push --insecure @one:all",
    "inspect --insecure @one:all",
    "inspect --insecure --verbose @one:all",
    "inspect --insecure @one:amd64",
    "inspect --insecure -v @one:again-amd64",
    "inspect --insecure @one:none",
    "create --insecure @one:nested @one:all",
    "create --insecure @one:nested @one:none",
    "create --insecure @one:doomed @one:amd64",
    "rm @one:doomed @one:none",
    "inspect --insecure @one:doomed",
    "create @one:all",
    "inspect",
    "annotate --nope @one:all @one:arm64",
]


def test_same_steps(both: Both) -> None:
    for step in STEPS:
        theirs, mine = both.run(step)
        assert (mine.code != 0) == (theirs.code != 0), (step, str(theirs), str(mine))
        assert lines(mine.out) == lines(theirs.out), (step, theirs.err, mine.err)
        assert bool(mine.err) == bool(theirs.err), (step, theirs.err, mine.err)


def lines(text: str) -> list[str]:
    """Without what older versions of docker write in other white space."""
    return [line for line in text.splitlines() if '"Raw":' not in line]


def test_each_goes_on_with_the_other(both: Both) -> None:
    """A list begun by docker is pushed by us, in the directory that both have."""
    (config,) = [
        both.docker.prefix[at + 1] for at, word in enumerate(both.docker.prefix) if word == "--config"
    ]
    name = f"{both.registry}/lists/one"
    both.docker("manifest", "create", "--insecure", f"{name}:shared", f"{name}:amd64")
    ours = ("--config", config, "manifest")
    both.ours(*ours, "create", "--amend", f"{name}:shared", f"{name}:arm64")
    both.docker(
        "manifest", "annotate", "--arch", "arm64", "--variant", "v8", f"{name}:shared", f"{name}:arm64"
    )
    digest = both.ours(*ours, "push", "--purge", f"{name}:shared").line
    assert (
        both.docker("manifest", "inspect", "--insecure", f"{name}@{digest}").out.count('"variant": "v8"') == 1
    )
    assert not os.path.exists(os.path.join(config, "manifests", "shared"))


def test_others_pull_by_platform(both: Both, skopeo: Tool, tmp_path: Path) -> None:
    name = f"{both.registry}/lists/one"
    ours = ("--config", both.config, "manifest")
    both.ours(*ours, "create", f"{name}:pulled", f"{name}:oci-amd64", f"{name}:oci-arm64")
    digest = both.ours(*ours, "push", f"{name}:pulled").line
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:pulled")
    assert archives.digest(raw.stdout) == digest
    for architecture in ("amd64", "arm64"):
        skopeo("--override-arch", architecture, "copy", "--src-tls-verify=false",
               f"docker://{name}:pulled", f"dir:{tmp_path}/{architecture}")  # fmt: skip
        manifest = json.loads((tmp_path / architecture / "manifest.json").read_text())
        (layer,) = manifest["layers"]
        wanted = json.loads(both.ours(*ours, "inspect", f"{name}:oci-{architecture}").out)
        assert layer["digest"] == wanted["layers"][0]["digest"]
    both.ours("pull", f"{name}:pulled")
    assert both.ours("image", "inspect", "--format", "{{.Architecture}}", f"{name}:pulled").line == "amd64"
