"""DNS messages by the bytes of RFC 1035."""

from __future__ import annotations

import socket
import struct

import pytest

from mydocker.network import dns


def query(name: str, type: int = dns.A, *, id: int = 7, flags: int = 0x0100, questions: int = 1) -> bytes:
    labels = b"".join(bytes((len(each),)) + each.encode() for each in name.split(".") if each)
    return (
        struct.pack("!HHHHHH", id, flags, questions, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", type, 1)
    )


def test_a_question_and_its_answer() -> None:
    question = dns.read(query("web.example", dns.A))
    assert (question.id, question.name, question.type) == (7, "web.example", dns.A)
    answer = dns.answer(question, [socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")])
    assert struct.unpack_from("!HHHHHH", answer) == (7, 0x8580, 1, 2, 0, 0)
    assert answer[12 : 12 + len(question.question)] == query("web.example")[12:]
    first = answer[12 + len(question.question) :][:16]
    assert first == b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 600, 4) + b"\x0a\0\0\1"


def test_an_answer_that_is_too_long_is_cut() -> None:
    question = dns.read(query("many"))
    answer = dns.answer(question, [bytes(4)] * 100, limit=dns.UDP_LIMIT)
    assert len(answer) == 12 + len(question.question) + 30 * 16 <= dns.UDP_LIMIT
    assert answer[2] & 0x02  # TC
    assert struct.unpack_from("!H", answer, 6) == (30,)


@pytest.mark.parametrize(("size", "room"), [(100, 512), (1232, 1232), (65535, 4096)])
def test_a_client_that_takes_more(size: int, room: int) -> None:
    """RFC 6891: its OPT record says how many bytes, and the answer to it has one too."""
    option = b"\0" + struct.pack("!HHIH", 41, size, 0, 0)
    message = bytearray(query("many") + option)
    message[11] = 1
    question = dns.read(bytes(message))
    assert question.room == room
    answer = dns.answer(question, [bytes(4)] * 300, limit=room)
    count, _, more = struct.unpack_from("!HHH", answer, 6)
    assert (count, more) == ((room - 12 - 10 - 11) // 16, 1)
    assert answer[2] & 0x02  # TC
    assert answer[-11:] == b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0)
    assert not dns.answer(question, [bytes(4)] * 3, limit=room)[2] & 0x02


def test_the_code_of_an_answer() -> None:
    question = dns.read(query("x"))
    assert dns.code(dns.answer(question, [], code=dns.REFUSED)) == dns.REFUSED
    assert dns.code(b"\0\7") == dns.FORMERR


@pytest.mark.parametrize(
    "message",
    [
        b"",
        query("x")[:11],
        query("x", flags=0x8000),
        query("x", flags=0x2800),
        query("x", questions=2),
        query("x")[:-1],
        query("x")[:13],
        query("x")[:12] + b"\xc0\x0c\0\1\0\1",
        query("x")[:-1] + b"\3",
        query(".".join(["a" * 63] * 5)),
    ],
)
def test_what_is_no_question(message: bytes) -> None:
    with pytest.raises(dns.Malformed):
        dns.read(message)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.1.in-addr.arpa", "1.2.3.4"),
        ("4.3.2.1.IN-ADDR.ARPA", "1.2.3.4"),
        ("1." + "0." * 27 + "7.7.d.f.ip6.arpa", "fd77::1"),
        ("3.2.1.in-addr.arpa", ""),
        ("x.in-addr.arpa", ""),
        ("1.2.ip6.arpa", ""),
        ("::1%\0.in-addr.arpa", ""),
        ("example", ""),
    ],
)
def test_reversed_addresses(name: str, address: str) -> None:
    assert dns.reversed_address(name) == address


def test_name_as_data() -> None:
    assert dns.name_data("web.net") == b"\3web\3net\0"


def test_addresses_of_an_answer() -> None:
    """Through a CNAME, with names in full and by pointer."""
    question = b"\x01a\x00" + b"\0\x01\0\x01"
    records = [
        b"\xc0\x0c" + b"\0\x05\0\x01\0\0\0\x09\0\x04" + b"\x02bb\0",
        b"\x02bb\0" + b"\0\x01\0\x01\0\0\x01\x00\0\x04" + bytes((10, 0, 0, 7)),
        b"\x02bb\0" + b"\0\x1c\0\x01\0\0\0\x05\0\x10" + bytes.fromhex("fd00" + "00" * 13 + "01"),
        b"\x02bb\0" + b"\0\x01\0\x03\0\0\0\x05\0\x04" + bytes((10, 0, 0, 8)),
    ]
    message = b"\0\1\x81\x80\0\1\0\4\0\0\0\0" + question + b"".join(records)
    assert dns.addresses(message) == [("10.0.0.7", 256), ("fd00::1", 5)]


@pytest.mark.parametrize("size", [0, 5, 13, 30, 40])
def test_answers_that_end_too_early(size: int) -> None:
    question = b"\x01a\x00" + b"\0\x01\0\x01"
    record = b"\xc0\x0c" + b"\0\x01\0\x01\0\0\0\x09\0\x04" + bytes((10, 0, 0, 7))
    message = b"\0\1\x81\x80\0\1\0\2\0\0\0\0" + question + record
    with pytest.raises(dns.Malformed):
        dns.addresses(message[:size])
