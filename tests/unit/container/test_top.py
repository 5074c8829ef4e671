"""What ps printed, and the lines of it that are a container's."""

from __future__ import annotations

import pytest

from mydocker.container.top import select
from mydocker.errors import InvalidArgument

PS = """UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 10:00 ?        00:00:01 /sbin/init splash
root         123       1  0 10:00 ?        00:00:01 sleep  1000
alice       1234     123  0 10:00 pts/0    00:00:01 sh -c 'x   y'
"""


def test_lines_of_the_container() -> None:
    titles, rows = select(PS, {"123", "1234"})
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert rows == [
        ["root", "123", "1", "0", "10:00", "?", "00:00:01", "sleep 1000"],
        ["alice", "1234", "123", "0", "10:00", "pts/0", "00:00:01", "sh -c 'x y'"],
    ]


def test_a_number_elsewhere_is_no_process() -> None:
    assert select(PS, {"0"})[1] == []


@pytest.mark.parametrize("text", ["", "COMMAND\nsleep\n"])
def test_without_a_column_of_numbers(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^Couldn't find PID field in ps output$"):
        select(text, {"1"})
