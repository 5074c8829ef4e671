"""Go's text/template: what comes out, and what is said of mistakes. tests/peers compares with docker."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker.cli.template import ExecutionError, ParseError, Template

DATA: dict[str, Any] = {
    "Name": "/x",
    "State": {"Running": True, "Pid": 5},
    "List": ["a", "b", "c"],
    "Empty": [],
    "Map": {"k": "v", "a": "b"},
    "Nil": None,
    "Float": 1.5,
    "Big": 10**12,
    "Html": "<&>",
    "Ports": {"80/tcp": [{"HostPort": "8080"}]},
    "Label": lambda name: f"label {name}",
}

CASES = [
    ("plain", "plain"),
    ("{{.Name}}", "/x"),
    ("{{ .State.Running }}", "true"),
    ("{{$.State.Pid}}", "5"),
    ("{{json .State}}", '{"Running":true,"Pid":5}'),
    ("{{json .Html}} {{json .Nil}}", '"<&>" null'),
    ("{{.State | json}}", '{"Running":true,"Pid":5}'),
    ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
    ("{{range $i, $v := .List}}{{$i}}={{$v}} {{end}}", "0=a 1=b 2=c "),
    ("{{range $k, $v := .Map}}{{$k}}:{{$v}};{{end}}", "a:b;k:v;"),
    ("{{range .Map}}{{.}}{{end}}", "bv"),
    ("{{range .Empty}}x{{else}}none{{end}}", "none"),
    ("{{range .Nil}}x{{else}}none{{end}}", "none"),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
    ("{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
    ("{{range .List}}{{$.Name}}{{end}}", "/x/x/x"),
    ('{{index .Map "k"}}', "v"),
    ('{{index .Map "no"}}', "<no value>"),
    ("{{index .List 1}}", "b"),
    ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
    ('{{index .Ports "80/tcp" 0 "HostPort"}}', "8080"),
    ("{{slice .List 1 2}} {{slice .Name 1}}", "[b] x"),
    ('{{if eq .Name "/x"}}y{{else if .Nil}}n{{else}}z{{end}}', "y"),
    ('{{if .Empty}}y{{else if .List}}n{{else}}z{{end}}', "n"),
    ("{{if not .State.Running}}y{{end}}", ""),
    ("{{with .State}}{{.Pid}}{{end}}{{with .Nil}}x{{else}}nothing{{end}}", "5nothing"),
    ("{{with $x := .Name}}{{$x}}{{end}}", "/x"),
    ("{{$x := 5}}{{$x = 6}}{{$x}}", "6"),
    ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c"),
    ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
    ('{{.Label "com.example"}}', "label com.example"),
    ('{{"com" | .Label}}', "label com"),
    ("{{.Nil}}", "<no value>"),
    ("{{.List}} {{.Map}} {{.Float}} {{.Big}}", "[a b c] map[a:b k:v] 1.5 1000000000000"),
    ("a {{- /* comment */ -}} b", "ab"),
    ("a{{/* comment */}} b", "a b"),
    ("a  {{- 1 -}}  b", "a1b"),
    ("{{- .Name -}}", "/x"),
    ("{{3}}{{-3}}", "3-3"),
    ("{{len .List}} {{len .Map}} {{len .Name}} {{len \"é\"}}", "3 2 2 2"),
    ('{{print "a" 2 3 "b" "c"}}', "a2 3bc"),
    ("{{println 1 2}}", "1 2\n"),
    ('{{printf "%s|%5s|%-5s|%q|%v|%d|%05d|%x|%X|%t|%.2f|%%" "a" "b" "c" "d" .List 5 42 255 "hi" true 1.5}}',
     'a|    b|c    |"d"|[a b c]|5|00042|ff|6869|true|1.50|%'),
    ('{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}', '%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)'),
    ('{{join .List ", "}}', "a, b, c"),
    ('{{split "a/b" "/"}} {{index (split .Name "/") 1}}', "[a b] x"),
    ("{{upper .Name}} {{lower \"AB\"}} {{title \"foo bar\"}}", "/X ab Foo Bar"),
    ('{{pad "x" 1 2}}|{{pad "" 1 2}}|', " x  ||"),
    ('{{truncate "abcdef" 3}} {{truncate "ab" 3}}', "abc ab"),
    ('{{"quoted \\" \\u00e9 \\x41"}} {{`raw \\n`}}', 'quoted " é A raw \\n'),
    ("{{'a'}} {{0x10}} {{010}} {{1.5e3}} {{1_000}}", "97 16 8 1500 1000"),
    ("{{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}}",
     "true true true true true false"),
    ("{{and 1 0 2}} {{or 0 \"\" \"x\"}} {{and true true}} {{not 0}}", "0 x true true"),
    ("{{or .Name .Missing}}", "/x"),
    ('{{html "<a href=\'x\'>"}} {{urlquery "a b&c"}}', "&lt;a href=&#39;x&#39;&gt; a+b%26c"),
    ("{{if and .State.Running (gt .State.Pid 1)}}up{{end}}", "up"),
    ("{{.Name | printf \"%s-%s\" \"a\" | upper}}", "A-/X"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "text"), CASES)
def test_execute(source: str, text: str) -> None:
    assert Template.parse(source).execute(DATA) == text


PARSE_ERRORS = [
    ("{{.Name", "template: :1: unclosed action"),
    ("{{foo}}", 'template: :1: function "foo" not defined'),
    ("a\n{{foo}}", 'template: :2: function "foo" not defined'),
    ("{{end}}", "template: :1: unexpected {{end}}"),
    ("{{else}}", "template: :1: unexpected {{else}}"),
    ("{{if .A}}", "template: :1: unexpected EOF"),
    ("{{if}}{{end}}", "template: :1: missing value for if"),
    ("{{range}}{{end}}", "template: :1: missing value for range"),
    ("{{}}", "template: :1: missing value for command"),
    ("{{.A | }}", "template: :1: missing value for command"),
    ("{{$x}}", 'template: :1: undefined variable "$x"'),
    ("{{range .A}}{{$i := .}}{{end}}{{$i}}", 'template: :1: undefined variable "$i"'),
    ('{{"x}}', "template: :1: unterminated quoted string"),
    ("{{`x}}", "template: :1: unterminated raw quoted string"),
    ("{{(.A}}", "template: :1: unclosed left paren"),
    ("{{.A)}}", "template: :1: unexpected right paren"),
    ("{{/* x}}", "template: :1: unclosed comment"),
    ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ('{{.A | "x"}}', "template: :1: non executable command in pipeline stage 2"),
    ("{{3.A}}", None),
    ("{{.A#}}", None),
    ('{{define "x"}}{{end}}', "template: :1: {{define}} is not supported here"),
]


@pytest.mark.parametrize(("source", "message"), PARSE_ERRORS)
def test_parse_errors(source: str, message: str | None) -> None:
    with pytest.raises(ParseError) as error:
        Template.parse(source)
    if message is not None:
        assert str(error.value) == message


EXECUTION_ERRORS = [
    ("{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
    ("ab\ncd {{.Foo}}", 'template: :2:5: executing "" at <.Foo>: map has no entry for key "Foo"'),
    (
        "{{.Name.Foo}}",
        'template: :1:7: executing "" at <.Name.Foo>: can\'t evaluate field Foo in type interface {}',
    ),
    ("{{.Nil.Foo}}", 'template: :1:6: executing "" at <.Nil.Foo>: nil pointer evaluating interface {}.Foo'),
    ("{{json}}", 'template: :1:2: executing "" at <json>: wrong number of args for json: want 1 got 0'),
    (
        "{{index .List 9}}",
        'template: :1:2: executing "" at <index .List 9>: error calling index: index out of range: 9',
    ),
    ("{{len 3}}", 'template: :1:2: executing "" at <len 3>: error calling len: len of type int'),
    (
        '{{eq 1 "a"}}',
        'template: :1:2: executing "" at <eq 1 "a">: error calling eq: incompatible types for comparison',
    ),
    ("{{.Name 1}}", 'template: :1:2: executing "" at <.Name>: Name is not a method but has arguments'),
    ("{{range .Name}}{{end}}", 'template: :1:8: executing "" at <.Name>: range can\'t iterate over /x'),
    ("{{nil}}", 'template: :1:2: executing "" at <nil>: nil is not a command'),
]


@pytest.mark.parametrize(("source", "message"), EXECUTION_ERRORS)
def test_execution_errors(source: str, message: str) -> None:
    with pytest.raises(ExecutionError) as error:
        Template.parse(source).execute(DATA)
    assert str(error.value) == message


def test_the_type_of_rows_is_named() -> None:
    with pytest.raises(
        ExecutionError, match=r"can't evaluate field Foo in type \*formatter.ContainerContext"
    ):
        Template.parse("{{.Foo}}").execute(DATA, type_="*formatter.ContainerContext")


def test_missing_keys_may_be_allowed() -> None:
    assert Template.parse("{{.Foo}}").execute({}, strict=False) == "<no value>"
