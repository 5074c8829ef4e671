"""JSON by the scanner in C, in an interpreter that has loaded nothing else: as the runtime starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from mydocker.errors import InvalidArgument
from mydocker.oci.json import loads
assert "json" not in sys.modules
try:
    print(loads(sys.argv[2], "x.json"))
except InvalidArgument as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a": [1, true, null, "b"]}', "{'a': [1, True, None, 'b']}"),
        ('{"a": 1', "x.json: not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        ('{"a', "x.json: not JSON: Unterminated string"),
        ("{'a': 1}", "x.json: not JSON: Expecting property name"),
        ("", "x.json: not JSON: no value at character 0"),
        ("{} {}", "x.json: not JSON: more after the value, at character 2"),
        ("[" * 5000, "x.json: not JSON: maximum recursion depth exceeded"),
        ("NaN", "x.json: not JSON: NaN is not JSON"),
    ],
)
def test_documents_and_mistakes(text: str, shown: str) -> None:
    import mydocker

    place = mydocker.__path__[0].removesuffix("/mydocker")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _SCRIPT, place, text], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(shown), done.stdout
