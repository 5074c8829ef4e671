"""Templates of Go's text/template package, as far as ``--format`` needs them.

    Template.parse('{{.Names}}\\t{{json .Labels}}').execute({"Names": "a", "Labels": {}})

In scope: actions, pipelines, variables, ``if`` ``with`` ``range`` with ``else``, ``break`` and ``continue``,
comments, trimming, the built-in functions and those of Docker, error messages with their place. Out of scope:
``define``, ``template`` and ``block``, methods, and Go's distinction of integer sizes.

Data are what JSON knows (dictionaries, lists, strings, numbers, booleans, None) plus callables, which stand
for methods with arguments: ``{{.Label "a"}}``.

Source: https://pkg.go.dev/text/template and https://docs.docker.com/go/formatting/.
"""

from mydocker.cli.template.evaluate import ExecutionError, Template
from mydocker.cli.template.lex import ParseError

__all__ = ["ExecutionError", "ParseError", "Template"]
