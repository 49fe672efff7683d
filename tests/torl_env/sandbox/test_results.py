"""What is kept of a stream that is too long."""

from hypothesis import given
from hypothesis import strategies as st

from torl_env.sandbox.results import shorten_bytes


@given(st.text("aé€😀", min_size=30, max_size=60), st.integers(40, 100))
def test_head_and_tail_are_as_long_as_whole_characters_allow(text: str, limit: int) -> None:
    data = text.encode()
    short, cut = shorten_bytes(data, limit)
    assert cut == (len(data) > limit)
    if not cut:
        assert short == text
        return
    room = limit - len(f"\n[... {len(data)} bytes omitted ...]\n")
    tail_room = room - room // 2
    head = data[: room // 2].decode(errors="ignore")
    tail = data[len(data) - tail_room :].decode(errors="ignore")
    left_out = len(data) - len(head.encode()) - len(tail.encode())
    assert short == f"{head}\n[... {left_out} bytes omitted ...]\n{tail}"
    assert len(short.encode()) <= limit
