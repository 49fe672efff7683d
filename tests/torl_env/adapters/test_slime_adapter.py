"""What of slime's adapter needs no slime; the rest runs in `benchmarks/stacks/run_slime.py`."""

from types import SimpleNamespace

from torl_env.adapters.slime import scorable_groups


def test_a_group_with_a_rollout_that_has_no_reward_is_dropped():
    kept, lost = SimpleNamespace(remove_sample=False), SimpleNamespace(remove_sample=True)
    assert scorable_groups(None, [kept, kept])
    assert not scorable_groups(None, [kept, lost], rollout_id=1)
