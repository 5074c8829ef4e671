"""The reader of the walk-through pages: what it takes for equal and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import pages

PAGE = """\
Text with `$ not this` in it.

```console
$ echo one; echo two >&2
one
two
$ cd /tmp && x=3
$ echo "$PWD $x"
/tmp 3
$ seq 1 100
1
...
99
100
$ echo id-$$ end
<id> end
$ echo id-$$
<id>
$ echo a \\
> b
a b
$ (exit 3)
[exit 3]
$ printf 'no newline'
no newline
$ cat
```

```text
$ false
```
"""


def write(directory: Path, text: str) -> Path:
    page = directory / "page.md"
    page.write_text(text)
    return page


def test_a_page_that_tells_the_truth(tmp_path: Path) -> None:
    assert pages.run(write(tmp_path, PAGE), str(tmp_path), {}) == 10


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("one\n", "ones\n"),
        ("99\n100\n", "99\n"),
        ("1\n...\n99", "1\n99"),
        ("[exit 3]\n", ""),
        ("[exit 3]", "[exit 4]"),
        ("$ echo id-$$\n", "$ echo other\n"),
        ("two\n", "two\nthree\n"),
    ],
)
def test_a_page_that_lies(tmp_path: Path, true: str, false: str) -> None:
    page = write(tmp_path, PAGE.replace(true, false, 1))
    with pytest.raises(AssertionError, match=r"page\.md:\d+"):
        pages.run(page, str(tmp_path), {})
