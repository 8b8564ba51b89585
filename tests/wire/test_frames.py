"""Frames: what was encoded is decoded; whatever else comes is a BadFrame, and costs no memory."""

from __future__ import annotations

import resource
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymr.wire.frames import (
    FRAME_BYTES_MAX,
    NESTING_MAX,
    BadFrame,
    decode_any,
    decode_heading,
    decode_peer,
    decode_reply,
    decode_request,
    encode,
)
from pymr.wire.outcomes import AttemptId, Failure
from pymr.wire.protocol import (
    PROTOCOL_VERSION,
    AttemptResult,
    Orders,
    Report,
    RunOrder,
    ShuffleReport,
    Wake,
    WorkerReport,
)
from pymr.wire.requests import Done, GetJob, GetJobs, PutPackage, SubmitJob

HEAD = b"pymr" + bytes([PROTOCOL_VERSION])
SUBMIT = HEAD + b"C\x83\xa3ask\xa6submit\xa2id\xa11\xa6fields"  # the value of `fields` is to follow

REPORT = Report(
    incarnation="i", epoch=3, peer="alpha", boot=1, sequence=9, version="1", pid=4, slots=2,
    results=(AttemptResult(AttemptId("r", "map-00000", "3.1"), Failure("InputError", "é")),),
    workers=(WorkerReport(0, 5, "map", "r", "map-00001", (1, 2), "me@here:1"),),
    shuffles=(ShuffleReport("r", 2, 1, 1, 5, partitions=((0, 15), (3, 0))),),
)  # fmt: skip
ORDERS = Orders(
    incarnation="i", epoch=3, leader="alpha", peer="beta", boot=1, sequence=2,
    runs=(RunOrder(run_id="r", job_name="j", fields={"a": [1, 2.5, None]}, project_hash="", partitions=3),),
)  # fmt: skip

texts = st.text(max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("message", [REPORT, ORDERS, Wake(change=3)])
def test_messages_of_peers_come_back(message: Any) -> None:
    assert decode_any(encode(message)) == decode_peer(encode(message)) == message


@given(st.dictionaries(texts, plain, max_size=3))
def test_requests_come_back(fields: dict[str, Any]) -> None:
    request = SubmitJob(id="1", fields=fields)

    assert decode_any(encode(request)) == decode_request(encode(request)) == request


def test_replies_come_back() -> None:
    assert decode_reply(encode(Done(id="1", detail="x"))) == Done(id="1", detail="x")


def test_text_that_is_not_utf8_is_escaped() -> None:
    request = GetJob(id="1", job_name="caf\udce9")

    assert decode_request(encode(request)) == GetJob(id="1", job_name="caf\\udce9")


@given(st.binary(max_size=200))
def test_garbage_is_a_bad_frame(data: bytes) -> None:
    for frame in (data, HEAD + data, HEAD + b"P" + data, HEAD + b"C" + data, HEAD + b"A" + data):
        for decode in (decode_any, decode_peer, decode_request, decode_reply):
            with pytest.raises(BadFrame):
                decode(frame)
        decode_heading(frame)


@given(st.data())
def test_a_frame_cut_short_or_with_more_behind_it_is_bad(data: st.DataObject) -> None:
    messages: list[Any] = [REPORT, ORDERS, GetJobs(id="1")]
    frame = encode(data.draw(st.sampled_from(messages)))
    end = data.draw(st.integers(0, len(frame) - 1))

    for wrong in (frame[:end], frame + b"\0"):
        with pytest.raises(BadFrame):
            decode_any(wrong)


@pytest.mark.parametrize("kind", [b"P", b"C", b"A"])
def test_another_version_is_told_with_both_numbers(kind: bytes) -> None:
    with pytest.raises(BadFrame, match=rf"version 99.*version {PROTOCOL_VERSION}") as caught:
        decode_any(b"pymr\x63" + kind + b"whatever")

    assert caught.value.code == "version"


def test_a_kind_is_not_taken_for_another() -> None:
    wrong: list[tuple[Any, Any]] = [
        (decode_request, REPORT),
        (decode_peer, GetJobs(id="1")),
        (decode_reply, REPORT),
    ]
    for decode, message in wrong:
        with pytest.raises(BadFrame) as caught:
            decode(encode(message))
        assert caught.value.code == "kind"


def test_deep_nesting_is_bad() -> None:
    for depth in (NESTING_MAX, 1_000, 100_000):
        for opening in (b"\x91", b"\x81\xa1a"):
            with pytest.raises(BadFrame):
                decode_any(SUBMIT + b"\x81\xa1a" + opening * depth + b"\xc0")


def test_nesting_below_the_bound_is_good() -> None:
    frame = SUBMIT + b"\x81\xa1a" + b"\x91" * (NESTING_MAX - 3) + b"\xc0"

    assert decode_any(frame) is not None


@pytest.mark.parametrize(
    "value",
    [
        b"\x81\xa1a\xd4\x05a",  # an extension type
        b"\x81\xa1a\x81\x01\x01",  # a name that is a number
        b"\x81\x01\x01",
        b"\x81\xa1a\x81\x80\x01",  # a name that is a map
        b"\x81\xa1a\xa1\xff",  # text that is not UTF-8
        b"\x91\x01",  # no map
    ],
)
def test_values_that_no_definition_has_are_bad(value: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_any(SUBMIT + value)


@pytest.mark.parametrize("claim", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"])
def test_a_claimed_size_is_not_believed(claim: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for frame in (SUBMIT + claim, SUBMIT + b"\x81\xa1a" + claim, HEAD + b"C" + claim, HEAD + b"P" + claim):
        with pytest.raises(BadFrame):
            decode_any(frame)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_what_is_too_long_is_neither_sent_nor_read() -> None:
    request = PutPackage(id="1", content_hash="", index=0, count=1, data=bytes(FRAME_BYTES_MAX))
    with pytest.raises(BadFrame) as sent:
        encode(request)
    with pytest.raises(BadFrame) as read:
        decode_any(HEAD + b"C" + msgspec.msgpack.encode(request))

    assert sent.value.code == read.value.code == "size"


def test_unknown_fields_are_passed_over_and_unknown_types_are_bad() -> None:
    assert decode_any(HEAD + b"C\x83\xa3ask\xa4jobs\xa2id\xa11\xa3new\x90") == GetJobs(id="1")
    with pytest.raises(BadFrame):
        decode_any(HEAD + b"C\x82\xa3ask\xa3new\xa2id\xa11")


def test_the_heading_of_a_request_can_be_read_in_any_version() -> None:
    frame = encode(GetJob(id="7", job_name="j")).replace(HEAD, b"pymr\x63")

    assert decode_heading(frame).ask == "job"
    assert decode_heading(frame).id == "7"
