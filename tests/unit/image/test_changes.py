"""``import --change``, in the syntax of the Dockerfile."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker import errors
from mydocker.image.changes import apply_changes
from mydocker.image.documents import Healthcheck, RunConfig

S = 10**9


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
        (["HEALTHCHECK NONE"], {"healthcheck": Healthcheck(test=["NONE"])}),
        (['healthcheck cmd ["a", "b"]'], {"healthcheck": Healthcheck(test=["CMD", "a", "b"])}),
        (["HEALTHCHECK --interval=1m30s --timeout=1s --start-period=2s --start-interval=3s --retries=4"
          " CMD a  b"],
         {"healthcheck": Healthcheck(test=["CMD-SHELL", "a  b"], interval=90 * S, timeout=S,
                                     start_period=2 * S, start_interval=3 * S, retries=4)}),
        ([], {}),
    ],
)  # fmt: skip
def test_applied(lines: list[str], expected: dict[str, Any]) -> None:
    assert apply_changes(lines) == RunConfig(**expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("RUN rm -rf /", "RUN is not a valid change command"),
        ("", "file with no instructions"),
        ("STOPSIGNAL SIGNO", "Invalid signal: SIGNO"),
        ("HEALTHCHECK true", 'unknown type "TRUE" in HEALTHCHECK'),
        ("HEALTHCHECK", "requires at least one argument"),
        ("HEALTHCHECK CMD", "missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK CMD []", "missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK NONE x", "takes no arguments"),
        ("HEALTHCHECK --interval=1x CMD true", 'unknown unit "x" in duration "1x"'),
        ("HEALTHCHECK --timeout=1us CMD true", 'interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD true", "--retries must be a number"),
        ("HEALTHCHECK --often=1s CMD true", "unknown flag: often"),
        ("HEALTHCHECK --timeout CMD true", "missing a value on flag: timeout"),
        ("HEALTHCHECK --timeout=1s --timeout=1s CMD true", "duplicate flag specified: timeout"),
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
