"""Order, micro-batches and learning rates."""

from __future__ import annotations

import pytest

from emotion_omni.train import schedule


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    rates = [schedule.learning_rate_factor(step, 100, 0.03) for step in range(100)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1]) and max(rates) == 1
    assert rates[2 + 49] == pytest.approx(0.5, abs=1e-9), "half way down after half of the 98 steps of the fall"
    assert all(one > other for one, other in zip(rates[2:], rates[3:], strict=False)) and 0 < rates[-1] < 0.001
    assert schedule.learning_rate_factor(0, 1, 0.03) == 1


def test_an_epoch_takes_every_utterance_once_and_similar_lengths_together():
    sizes = [(37 * place) % 101 for place in range(103)]
    batches = schedule.epoch_batches(sizes, 4, seed=1, epoch=0)
    assert sorted(sum(batches, [])) == list(range(103)) and len(batches) == 26
    spread = sum(
        max(sizes[place] for place in batch) - min(sizes[place] for place in batch) for batch in batches
    ) / len(batches)
    assert spread < 8, "of sizes from 0 to 100"
    assert (
        batches == schedule.epoch_batches(sizes, 4, 1, 0)
        and len({str(schedule.epoch_batches(sizes, 4, *key)) for key in ((1, 0), (1, 1), (2, 0))}) == 3
    )


@pytest.mark.parametrize(
    ("count", "processes", "accumulate"), [(8, 2, 2), (5, 2, 2), (3, 4, 1), (7, 3, 4), (1, 1, 3), (2, 2, 8)]
)
def test_a_batch_is_divided_completely_and_every_process_has_equally_many_micro_batches(count, processes, accumulate):
    parts = schedule.micro_batches(list(range(count)), processes, accumulate)
    assert sorted(place for process in parts for part in process for place in part) == list(range(count))
    assert len({len(process) for process in parts}) == 1 and len(parts[0]) <= accumulate
    assert any(process[-1] for process in parts), "no part is empty for all"
