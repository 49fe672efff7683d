"""vLLM sleeps while the learner works, and wakes with the right weights; the engine is a fake."""

from types import SimpleNamespace

import pytest

from agents.core.trainer.vllm_transfer import Generation


class Engine:
    """Notes what it is told, and refuses to sample without weights or room for a cache."""

    def __init__(self):
        self.has, self.calls = set(), []

    def wake_up(self, tags):
        self.calls.append(f"wake {tags[0]}")
        self.has |= set(tags)

    def sleep(self, level):
        self.calls.append(f"sleep {level}")
        self.has = set()

    def collective_rpc(self, name):
        assert "weights" in self.has
        self.calls.append(name)

    def reset_prefix_cache(self):
        self.calls.append("reset")


@pytest.fixture
def generation(monkeypatch):
    def start(self):
        self.llm, self._llm_weights_sleeping = Engine(), self.enable_sleep_mode

    monkeypatch.setattr(Generation, "_init_vllm", start)
    # No weight travels here; that is TRL's to do.
    monkeypatch.setattr(Generation, "_iter_named_params", lambda self: iter(()))
    monkeypatch.setattr("trl.generation.vllm_generation.empty_cache", lambda: None)
    accelerator = SimpleNamespace(
        device=SimpleNamespace(type="cuda"), state=SimpleNamespace(), is_main_process=True
    )
    monkeypatch.setattr(
        "trl.generation.vllm_generation.DistributedBackend", lambda accelerator: SimpleNamespace()
    )

    def make(sleep=True):
        return Generation(
            model=None,
            accelerator=accelerator,
            processing_class=None,
            mode="colocate",
            enable_sleep_mode=sleep,
        )

    return make


def test_the_first_evaluation_has_the_weights_that_training_starts_from(generation):
    made = generation()
    made.wake()
    assert made.llm.calls == ["wake weights", "reload_weights", "wake kv_cache"]
    assert made.llm.has == {"weights", "kv_cache"}
    made.wake()
    assert len(made.llm.calls) == 3, "awake it needs nothing"


def test_after_sleep_it_has_the_weights_in_training(generation):
    made = generation()
    # As TRL does before a rollout, and our sampler then.
    made.sync_weights()
    made.wake()
    assert made.llm.has == {"weights", "kv_cache"}
    made.sleep()
    assert made.llm.has == set()
    made.llm.calls.clear()
    made.wake()
    assert made.llm.calls == ["wake weights", "reset", "wake kv_cache"]
    made.sleep()
    made.sleep()
    assert made.llm.calls.count("sleep 2") == 1


def test_an_engine_that_cannot_sleep_is_left_alone(generation):
    made = generation(sleep=False)
    made.wake()
    made.sleep()
    assert made.llm.calls == []
