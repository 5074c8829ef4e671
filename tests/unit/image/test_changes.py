"""``import --change``, in the syntax of the Dockerfile."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker import errors
from mydocker.image.changes import apply_changes
from mydocker.image.documents import RunConfig


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['CMD ["a", "b c"]'], {"cmd": ["a", "b c"]}),
        (["cmd echo $HOME"], {"cmd": ["/bin/sh", "-c", "echo $HOME"]}),
        (["CMD [not json"], {"cmd": ["/bin/sh", "-c", "[not json"]}),
        (['ENTRYPOINT ["/bin/x"]', "CMD y"], {"entrypoint": ["/bin/x"], "cmd": ["/bin/sh", "-c", "y"]}),
        (["ENV A=1 B='x y' C=\"z \\\" w\" D=p\\ q"], {"env": ["A=1", "B=x y", 'C=z " w', "D=p q"]}),
        (["ENV A the rest  of it"], {"env": ["A=the rest  of it"]}),
        (["ENV A=1", "ENV B=2 A=3"], {"env": ["A=3", "B=2"]}),
        (["ENV A="], {"env": ["A="]}),
        (["LABEL a=b 'c d'=e"], {"labels": {"a": "b", "c d": "e"}}),
        (["EXPOSE 80 53/udp 100-102"], {
            "exposed_ports": {"80/tcp": {}, "53/udp": {}, "100/tcp": {}, "101/tcp": {}, "102/tcp": {}}
        }),
        (["VOLUME /a /b"], {"volumes": {"/a": {}, "/b": {}}}),
        (['VOLUME ["/a b"]'], {"volumes": {"/a b": {}}}),
        (["WORKDIR /a", "WORKDIR b/../c"], {"working_dir": "/a/c"}),
        (["USER alice:staff", "STOPSIGNAL SIGUSR1"], {"user": "alice:staff", "stop_signal": "SIGUSR1"}),
        (["ONBUILD RUN x", "ONBUILD COPY a b"], {"on_build": ["RUN x", "COPY a b"]}),
        ([], {}),
    ],
)  # fmt: skip
def test_applied(lines: list[str], expected: dict[str, Any]) -> None:
    assert apply_changes(lines) == RunConfig(**expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("RUN rm -rf /", "RUN is not a valid change command"),
        ("", "not a valid change command"),
        ("CMD", "requires at least one argument"),
        ("ENV A", "must have a value"),
        ("ENV A=1 B", "can't find = in 'B'"),
        ("ENV A='x", "unterminated quote"),
        ("EXPOSE http", "invalid containerPort: http"),
        ("EXPOSE 0", "invalid containerPort"),
        ("EXPOSE 65536", "invalid containerPort"),
        ("EXPOSE 80/icmp", "invalid containerPort"),
        ("EXPOSE 9-8", "invalid containerPort"),
        ("ONBUILD FROM x", "isn't allowed"),
        ('VOLUME [" "]', "empty string"),
    ],
)
def test_refused(line: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=message):
        apply_changes([line])
