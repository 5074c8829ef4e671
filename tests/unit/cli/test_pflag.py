"""Words to flags and arguments, as pflag does it."""

from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.cli.flags import pflag
from mydocker.cli.flags.pflag import Flag, FlagError, HelpRequested, number, switch, text, unbuilt, values

FLAGS: tuple[Flag, ...] = (
    switch("interactive", "i", ""),
    switch("tty", "t", ""),
    switch("sig-proxy", "", "", default=True),
    values("env", "e", ""),
    text("name", "", ""),
    number("shares", "c", ""),
    unbuilt("publish", "no bridge", short="p"),
    unbuilt("all-ports", "no bridge", switch=True),
)


@pytest.mark.parametrize(
    ("words", "given", "arguments"),
    [
        (["-it", "image", "ls"], {"interactive": True, "tty": True}, ["image", "ls"]),
        (["-i=false", "x"], {"interactive": False}, ["x"]),
        (["-ti=false", "x"], {"tty": True, "interactive": False}, ["x"]),
        (["--tty=F", "x"], {"tty": False}, ["x"]),
        (["--sig-proxy=0"], {"sig-proxy": False}, []),
        (
            ["-e", "a=b", "-ec=d", "-e=e=f", "--env=g", "--env", "h"],
            {"env": ["a=b", "c=d", "e=f", "g", "h"]},
            [],
        ),
        (["-ite", "x=y"], {"interactive": True, "tty": True, "env": ["x=y"]}, []),
        (["-itex=y"], {"interactive": True, "tty": True, "env": ["x=y"]}, []),
        (["--name", "--tty"], {"name": "--tty"}, []),
        (["--name="], {"name": ""}, []),
        (["--name", "a", "--name", "b"], {"name": "b"}, []),
        (["--", "-i", "x"], {}, ["-i", "x"]),
        (["x", "-i", "--", "-t"], {}, ["x", "-i", "--", "-t"]),
        (["-c", "-5"], {"shares": -5}, []),
        (["-", "x"], {}, ["-", "x"]),
        (["", "-i"], {}, ["", "-i"]),
        (["--all-ports=false"], {"all-ports": False}, []),
    ],
)
def test_parse(words: list[str], given: dict[str, object], arguments: list[str]) -> None:
    assert pflag.parse(FLAGS, words, interspersed=False) == (given, arguments)


def test_interspersed_flags_follow_arguments() -> None:
    assert pflag.parse(FLAGS, ["x", "-i", "y", "--", "-t"]) == ({"interactive": True}, ["x", "y", "-t"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--none"], "unknown flag: --none"),
        (["--none=1"], "unknown flag: --none"),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["-iZt"], "unknown shorthand flag: 'Z' in -Zt"),
        (["--name"], "flag needs an argument: --name"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["-ie"], "flag needs an argument: 'e' in -e"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (["--tty=foo"],
         'invalid argument "foo" for "-t, --tty" flag: strconv.ParseBool: parsing "foo": invalid syntax'),
        (["--shares", "1x"],
         'invalid argument "1x" for "-c, --shares" flag: strconv.ParseInt: parsing "1x": invalid syntax'),
        (["--shares", ""],
         'invalid argument "" for "-c, --shares" flag: strconv.ParseInt: parsing "": invalid syntax'),
    ],
)  # fmt: skip
def test_messages(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as error:
        pflag.parse(FLAGS, words)
    assert str(error.value) == message


def test_the_first_mistake_is_reported() -> None:
    with pytest.raises(FlagError, match="--shares"):
        pflag.parse(FLAGS, ["--shares", "x", "--none"])


def test_help_wins_over_what_follows() -> None:
    with pytest.raises(HelpRequested):
        pflag.parse(FLAGS, ["-i", "--help", "--none"])


def test_what_is_not_built_is_refused_by_name() -> None:
    for words in (["-p", "80:80"], ["-p80:80"], ["--publish", "80"], ["--all-ports"]):
        with pytest.raises(errors.NotSupported, match=r"--(publish|all-ports) is not built yet: no bridge"):
            pflag.parse(FLAGS, words)
