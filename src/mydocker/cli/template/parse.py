"""From tokens to a tree.

    list     = { text | action }
    action   = "{{" pipeline "}}" | if | with | range | "{{break}}" | "{{continue}}"
    if       = "{{if" pipeline "}}" list [ "{{else" [ "if" pipeline ] "}}" list ] "{{end}}"  (with, range too)
    pipeline = [ $name [ "," $name ] ( ":=" | "=" ) ] command { "|" command }
    command  = operand { " " operand }
    operand  = ( . | .field | $name | word | literal | "(" pipeline ")" ) { .field }

Names of functions and variables are checked here, as in Go, so that a mistake is reported before any output.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn

from mydocker.cli.flags.go import quote
from mydocker.cli.template.lex import Kind, ParseError, Token, lex, line_of


class Text(NamedTuple):
    text: str


class Constant(NamedTuple):
    value: Any
    source: str
    position: int


class Dot(NamedTuple):
    position: int
    source: str = "."


class Function(NamedTuple):
    name: str
    position: int

    @property
    def source(self) -> str:
        return self.name


class Path(NamedTuple):
    """``.A.B``, ``$x.A``, ``(pipeline).A``: fields of a base; the base None is the dot."""

    base: Variable | Pipeline | Constant | Dot | Function | None
    fields: tuple[str, ...]
    position: int

    @property
    def source(self) -> str:
        start = "" if self.base is None else self.base.source
        return start + "".join(f".{field}" for field in self.fields)


class Variable(NamedTuple):
    name: str
    position: int

    @property
    def source(self) -> str:
        return self.name


class Command(NamedTuple):
    operands: tuple[Operand, ...]

    @property
    def source(self) -> str:
        return " ".join(operand.source for operand in self.operands)

    @property
    def position(self) -> int:
        return self.operands[0].position


class Pipeline(NamedTuple):
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False
    position: int = 0
    parenthesized: bool = False

    @property
    def source(self) -> str:
        text = " | ".join(command.source for command in self.commands)
        if self.variables:
            text = f"{', '.join(self.variables)} {'=' if self.assigns else ':='} {text}"
        return f"({text})" if self.parenthesized else text


Operand = Constant | Dot | Function | Path | Variable | Pipeline


class Action(NamedTuple):
    pipeline: Pipeline


class Branch(NamedTuple):
    keyword: str
    """if, with or range"""
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


class Jump(NamedTuple):
    keyword: str
    """break or continue"""


Node = Text | Action | Branch | Jump
_BRANCHES = ("if", "with", "range")
_KEYWORDS = frozenset((*_BRANCHES, "else", "end", "break", "continue", "define", "template", "block"))
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "nil": None}


def parse(source: str, functions: Collection[str]) -> tuple[Node, ...]:
    """Raises ``ParseError``."""
    return _Parser(source, functions).template()


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self.source = source
        self.functions = functions
        self.tokens = list(lex(source))
        self.next = 0
        self.variables = ["$"]
        self.range_depth = 0

    # Tokens

    def peek(self) -> Token:
        return self.tokens[self.next]

    def take(self) -> Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def skip_space(self) -> Token:
        while self.peek().kind is Kind.SPACE:
            self.next += 1
        return self.peek()

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        place = (token or self.peek()).position
        raise ParseError(f"template: :{line_of(self.source, place)}: {message}")

    def unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind is Kind.END:
            self.fail("unexpected EOF", token)
        shown = f"<{token.text}>" if token.text in _KEYWORDS else quote(token.text)
        self.fail(f"unexpected {shown} in {context}", token)

    # Lists

    def template(self) -> tuple[Node, ...]:
        nodes, stopped_by = self.nodes()
        if stopped_by != "":
            self.fail("unexpected {{" + stopped_by + "}}", self.tokens[self.next - 1])
        return nodes

    def nodes(self) -> tuple[tuple[Node, ...], str]:
        """The nodes up to the end, ``{{end}}`` or ``{{else``, and which of these it was."""
        nodes: list[Node] = []
        while True:
            token = self.take()
            if token.kind is Kind.END:
                return tuple(nodes), ""
            if token.kind is Kind.TEXT:
                nodes.append(Text(token.text))
                continue
            word = self.skip_space()
            if word.kind is Kind.WORD and word.text in _KEYWORDS:
                self.take()
                if word.text in ("end", "else"):
                    return tuple(nodes), word.text
                nodes.append(self.control(word))
            else:
                pipeline = self.pipeline("command")
                self.right("command")
                nodes.append(Action(pipeline))

    def right(self, context: str) -> None:
        token = self.skip_space()
        if token.kind is not Kind.RIGHT:
            self.unexpected(token, context)
        self.take()

    def control(self, word: Token) -> Node:
        if word.text in _BRANCHES:
            return self.branch(word.text)
        if word.text not in ("break", "continue"):
            self.fail("{{" + word.text + "}} is not supported here", word)
        if not self.range_depth:
            self.fail("{{" + word.text + "}} outside {{range}}", word)
        self.right("{{" + word.text + "}}")
        return Jump(word.text)

    def branch(self, keyword: str) -> Branch:
        """What follows the keyword, up to and with its ``{{end}}``."""
        scope = len(self.variables)
        self.range_depth += keyword == "range"
        pipeline = self.pipeline(keyword)
        self.right(keyword)
        body, stopped_by = self.nodes()
        self.range_depth -= keyword == "range"
        otherwise: tuple[Node, ...] = ()
        if stopped_by == "else":
            word = self.skip_space()
            if word.kind is Kind.WORD and word.text == keyword and keyword != "range":
                self.take()
                otherwise = (self.branch(keyword),)
                stopped_by = "end"
                del self.variables[scope:]
                return Branch(keyword, pipeline, body, otherwise)
            self.right("else")
            otherwise, stopped_by = self.nodes()
            if stopped_by == "else":
                self.fail("expected end; found {{else}}", self.tokens[self.next - 1])
        if stopped_by == "":
            self.fail("unexpected EOF", self.tokens[-1])
        self.right("end")
        del self.variables[scope:]
        return Branch(keyword, pipeline, body, otherwise)

    # Pipelines

    def pipeline(self, context: str) -> Pipeline:
        position = self.skip_space().position
        variables, assigns = self.declarations(context)
        commands = []
        while True:
            commands.append(self.command(context))
            if self.skip_space().kind is not Kind.PIPE:
                break
            self.take()
            if self.skip_space().kind in (Kind.RIGHT, Kind.RIGHT_PAREN):
                self.fail(f"missing value for {context}")
        for later in commands[1:]:
            first = later.operands[0]
            if isinstance(first, Constant | Dot):
                self.fail(f"non executable command in pipeline stage {commands.index(later) + 1}")
        if not assigns:
            self.variables += variables
        return Pipeline(tuple(commands), variables, assigns, position)

    def declarations(self, context: str) -> tuple[tuple[str, ...], bool]:
        if self.peek().kind is not Kind.VARIABLE:
            return (), False
        start = self.next
        names = [self.take().text]
        if self.skip_space().kind is Kind.COMMA and context == "range":
            self.take()
            if self.skip_space().kind is not Kind.VARIABLE:
                self.fail("range can only initialize variables")
            names.append(self.take().text)
        sign = self.skip_space()
        if sign.kind not in (Kind.DECLARE, Kind.ASSIGN):
            if len(names) > 1:
                self.unexpected(sign, context)
            if sign.kind is Kind.COMMA:
                self.fail(f"too many declarations in {context}")
            self.next = start
            return (), False
        self.take()
        assigns = sign.kind is Kind.ASSIGN
        if assigns:
            for name in names:
                self.check_variable(name, sign)
        return tuple(names), assigns

    def check_variable(self, name: str, token: Token) -> None:
        if name not in self.variables:
            self.fail(f"undefined variable {quote(name)}", token)

    def command(self, context: str) -> Command:
        operands: list[Operand] = []
        while True:
            token = self.skip_space()
            operand = self.operand(token)
            if operand is None:
                break
            operands.append(operand)
            after = self.peek()
            if after.kind not in (Kind.SPACE, Kind.RIGHT, Kind.RIGHT_PAREN, Kind.PIPE):
                self.unexpected(after, "operand")
        if not operands:
            if token.kind in (Kind.RIGHT, Kind.RIGHT_PAREN):
                self.fail(f"missing value for {context}", token)
            self.unexpected(token, context)
        if self.peek().kind not in (Kind.RIGHT, Kind.RIGHT_PAREN, Kind.PIPE):
            self.unexpected(self.peek(), context)
        return Command(tuple(operands))

    def operand(self, token: Token) -> Operand | None:
        base = self.term(token)
        if base is None:
            return None
        fields = []
        if isinstance(base, Path):
            fields, base = list(base.fields), base.base
        # A path of several words is reported at its second one, as in Go.
        position = self.peek().position if self.peek().kind is Kind.FIELD else token.position
        while self.peek().kind is Kind.FIELD:
            fields.append(self.take().text[1:])
        if not fields:
            return base
        if isinstance(base, Constant):
            self.fail(f"unexpected . after term {quote(base.source)}", token)
        return Path(base if not isinstance(base, Path) else None, tuple(fields), position)

    def term(self, token: Token) -> Operand | None:
        if token.kind is Kind.WORD and token.text in _CONSTANTS:
            self.take()
            return Constant(_CONSTANTS[token.text], token.text, token.position)
        if token.kind is Kind.WORD:
            if token.text in _KEYWORDS:
                self.unexpected(token, "operand")
            if token.text not in self.functions:
                self.fail(f"function {quote(token.text)} not defined", token)
            self.take()
            return Function(token.text, token.position)
        if token.kind is Kind.DOT:
            self.take()
            return Dot(token.position)
        if token.kind is Kind.FIELD:
            self.take()
            return Path(None, (token.text[1:],), token.position)
        if token.kind is Kind.VARIABLE:
            self.check_variable(token.text, token)
            self.take()
            return Variable(token.text, token.position)
        if token.kind in (Kind.STRING, Kind.CHARACTER, Kind.NUMBER):
            self.take()
            return Constant(self.literal(token), token.text, token.position)
        if token.kind is Kind.LEFT_PAREN:
            self.take()
            inner = self.pipeline("parenthesized pipeline")
            if self.skip_space().kind is not Kind.RIGHT_PAREN:
                self.unexpected(self.peek(), "parenthesized pipeline")
            self.take()
            return inner._replace(position=token.position, parenthesized=True)
        return None

    def literal(self, token: Token) -> Any:
        if token.kind is Kind.NUMBER:
            return self.number(token)
        if token.text[0] == "`":
            return token.text[1:-1]
        try:
            text = unquote(token.text[1:-1])
        except ValueError:
            self.fail("invalid syntax", token)
        if token.kind is Kind.STRING:
            return text
        if len(text) != 1:
            self.fail(f"malformed character constant: {token.text}", token)
        return ord(text)

    def number(self, token: Token) -> int | float:
        digits = token.text.replace("_", "")
        try:
            if re.fullmatch(r"[+-]?0[0-7]+", digits):
                return int(digits, 8)
            if re.fullmatch(r"[+-]?(?:0[xXbBoO].*|[0-9]+)", digits):
                return int(digits, 0)
            return float(digits)
        except ValueError:
            self.fail(f"bad number syntax: {quote(token.text)}", token)


_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip


def unquote(body: str) -> str:
    """The text between the quotes of a Go literal (the Go specification, "Rune literals")."""

    def replace(match: re.Match[str]) -> str:
        byte, short, long, octal, simple = match.groups()
        if byte or octal:
            code = int(byte, 16) if byte else int(octal, 8)
            return bytes((code,)).decode("utf-8", "surrogateescape")
        if short or long:
            return chr(int(short or long, 16))
        if simple not in _SIMPLE:
            raise ValueError(simple)
        return _SIMPLE[simple]

    return _ESCAPE.sub(replace, body).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
