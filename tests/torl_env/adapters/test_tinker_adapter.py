"""What of Tinker's adapter needs no Tinker; the rest runs in `benchmarks/stacks/run_tinker.py`."""

from torl_env.adapters import tinker as adapter


def test_a_plain_prompt_is_the_texts():
    class Letters:
        def encode(self, text):
            return list(text.encode())

    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    assert adapter.prompt_ids(messages, Letters(), "plain") == list(b"ab")
