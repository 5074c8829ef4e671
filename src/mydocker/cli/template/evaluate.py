"""Run a parsed template over data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from mydocker.cli.flags.go import quote
from mydocker.cli.template.functions import FUNCTIONS, CallError, truth
from mydocker.cli.template.lex import line_of
from mydocker.cli.template.parse import (
    Action,
    Branch,
    Command,
    Constant,
    Dot,
    Function,
    Jump,
    Node,
    Operand,
    Path,
    Pipeline,
    Text,
    Variable,
    parse,
)
from mydocker.cli.template.printing import NO_VALUE, is_list, show
from mydocker.cli.template.structs import NIL, Struct

_MISSING = object()


class ExecutionError(Exception):
    """The template and the data do not fit; the message is that of Go's package."""


class Template:
    """A parsed template. ``strict`` makes a missing key of a map an error instead of ``<no value>``."""

    def __init__(self, source: str, nodes: tuple[Node, ...]) -> None:
        self._source = source
        self._nodes = nodes

    @classmethod
    def parse(cls, source: str) -> Template:
        """Raises ``ParseError``."""
        return cls(source, parse(source, FUNCTIONS))

    def execute(self, data: Any, *, strict: bool = True, type_: str = "") -> str:
        """The text. ``type_`` is how errors call the type of ``data``, for data that stand for a Go struct.

        Raises ``ExecutionError``.
        """
        run = _Run(self._source, data, strict, type_)
        run.nodes(self._nodes, data)
        return "".join(run.output)


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    def __init__(self, source: str, data: Any, strict: bool, type_: str) -> None:
        self.source = source
        self.data = data
        self.strict = strict
        self.type = type_
        self.output: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", data)]

    def fail(self, at: Operand | Command, message: str) -> NoReturn:
        line_start = self.source.rfind("\n", 0, at.position) + 1
        place = f"{line_of(self.source, at.position)}:{at.position - line_start}"
        text = at.source if len(at.source) <= 20 else at.source[:20] + "..."
        raise ExecutionError(f'template: :{place}: executing "" at <{text}>: {message}')

    # Nodes

    def nodes(self, nodes: tuple[Node, ...], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Action):
                value = self.pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self.print(value, node.pipeline)
            elif isinstance(node, Branch):
                scope = len(self.variables)
                if node.keyword == "range":
                    self.range(node, dot)
                else:
                    self.branch(node, dot)
                del self.variables[scope:]
            elif isinstance(node, Jump):
                raise _Break if node.keyword == "break" else _Continue

    def print(self, value: Any, pipeline: Pipeline) -> None:
        if callable(value):
            self.fail(pipeline, "can't print a function")
        self.output.append(NO_VALUE if value is None else show(value))

    def branch(self, node: Branch, dot: Any) -> None:
        value = self.pipeline(node.pipeline, dot)
        inner = value if node.keyword == "with" and truth(value) else dot
        self.nodes(node.body if truth(value) else node.otherwise, inner)

    def range(self, node: Branch, dot: Any) -> None:
        value = self.pipeline(node.pipeline, dot, declare=False)
        items: list[tuple[Any, Any]]
        if value is None or value is NIL:
            items = []
        elif isinstance(value, Mapping) and not isinstance(value, Struct):
            items = [(key, value[key]) for key in sorted(value)]
        elif is_list(value):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(number, number) for number in range(value)]
        else:
            self.fail(node.pipeline, f"range can't iterate over {show(value)}")
        if not items:
            self.nodes(node.otherwise, dot)
        for key, item in items:
            scope = len(self.variables)
            names = node.pipeline.variables
            values = (item,) if len(names) == 1 else (key, item)
            for name, content in zip(names, values, strict=False):
                self.bind(name, content, node.pipeline.assigns)
            try:
                self.nodes(node.body, item)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self.variables[scope:]

    def bind(self, name: str, value: Any, assigns: bool) -> None:
        if assigns:
            for place in range(len(self.variables) - 1, -1, -1):
                if self.variables[place][0] == name:
                    self.variables[place] = (name, value)
                    return
        self.variables.append((name, value))

    # Values

    def pipeline(self, pipeline: Pipeline, dot: Any, *, declare: bool = True) -> Any:
        value: Any = _MISSING
        for command in pipeline.commands:
            value = self.command(command, dot, value)
        if declare:
            for name in pipeline.variables:
                self.bind(name, value, pipeline.assigns)
        return value

    def command(self, command: Command, dot: Any, final: Any) -> Any:
        first, *rest = command.operands
        if isinstance(first, Function):
            return self.call(first, rest, dot, final, command)
        if isinstance(first, Path):
            return self.path(first, rest, dot, final)
        if rest or final is not _MISSING:
            self.fail(first, f"can't give argument to non-function {first.source}")
        if isinstance(first, Constant) and first.value is None:
            self.fail(first, "nil is not a command")
        return self.operand(first, dot)

    def operand(self, operand: Operand, dot: Any) -> Any:
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Variable):
            return next(value for name, value in reversed(self.variables) if name == operand.name)
        if isinstance(operand, Pipeline):
            return self.pipeline(operand, dot)
        if isinstance(operand, Function):
            return self.call(operand, [], dot, _MISSING, operand)
        return self.path(operand, [], dot, _MISSING)

    def call(
        self, function: Function, operands: list[Operand], dot: Any, final: Any, at: Operand | Command
    ) -> Any:
        signature = FUNCTIONS[function.name]
        extra = [] if final is _MISSING else [final]
        try:
            signature.check(function.name, len(operands) + len(extra))
        except CallError as error:
            self.fail(function, str(error))
        if function.name in ("and", "or"):
            value: Any = None
            for operand in operands:
                value = self.operand(operand, dot)
                if truth(value) is (function.name == "or"):
                    return value
            return extra[0] if extra else value
        arguments = [self.operand(operand, dot) for operand in operands] + extra
        try:
            return signature.call(*arguments)
        except CallError as error:
            self.fail(at, f"error calling {function.name}: {error}")

    def path(self, path: Path, operands: list[Operand], dot: Any, final: Any) -> Any:
        value = dot if path.base is None else self.operand(path.base, dot)
        for field in path.fields[:-1]:
            value = self.field(value, field, path)
            if callable(value):
                value = value()
        value = self.field(value, path.fields[-1], path)
        arguments = [self.operand(operand, dot) for operand in operands]
        arguments += [] if final is _MISSING else [final]
        if callable(value):
            try:
                return value(*arguments)
            except CallError as error:
                self.fail(path, f"error calling {path.fields[-1]}: {error}")
        if arguments:
            self.fail(path, f"{path.fields[-1]} is not a method but has arguments")
        return value

    def field(self, value: Any, name: str, at: Path) -> Any:
        if value is None or value is NIL:
            self.fail(at, f"nil pointer evaluating interface {{}}.{name}")
        if not isinstance(value, Mapping):
            self.fail(at, f"can't evaluate field {name} in type interface {{}}")
        if name in value:
            return value[name]
        if value is self.data and self.type:
            self.fail(at, f"can't evaluate field {name} in type {self.type}")
        if isinstance(value, Struct):
            self.fail(at, f"can't evaluate field {name}")
        if self.strict:
            self.fail(at, f"map has no entry for key {quote(name)}")
        return None
