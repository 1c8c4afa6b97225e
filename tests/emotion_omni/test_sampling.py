"""One sampler for words and speech tokens."""

from __future__ import annotations

import pytest
import torch

from emotion_omni.sampling import SamplingParams, sample, sample_one
from emotion_omni.types import EmotionOmniError


def test_draws_follow_the_probabilities_within_top_p_and_top_k():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def shares(**settings) -> list[float]:
        drawn = [
            sample_one(logits, SamplingParams(**settings), torch.Generator().manual_seed(seed)) for seed in range(2000)
        ]
        return [drawn.count(token) / len(drawn) for token in range(4)]

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.04)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.04)
    assert shares(top_p=0.79) == pytest.approx([0.625, 0.375, 0, 0], abs=0.04)
    assert shares(top_p=0.81) == pytest.approx([0.526, 0.316, 0.158, 0], abs=0.04)
    assert shares(temperature=0) == [1, 0, 0, 0]
    assert shares(temperature=0.5) == pytest.approx([0.685, 0.247, 0.062, 0.007], abs=0.04), "squared probabilities"
    assert shares(temperature=2) == pytest.approx([0.379, 0.294, 0.208, 0.120], abs=0.04), "their square roots"


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("overflow", [[0.0, torch.nan], [0.0, torch.inf], [-torch.inf, -torch.inf]])
def test_scores_that_overflowed_are_no_words(overflow, temperature):
    generator = torch.Generator()
    with pytest.raises(EmotionOmniError, match="dtype.*bfloat16 or float32") as caught:
        sample_one(torch.tensor(overflow, dtype=torch.float16), SamplingParams(temperature), generator)
    assert caught.value.code == "not-finite"
    assert sample_one(torch.tensor([-torch.inf, 0.0]), SamplingParams(temperature), generator) == 1  # a excluded token


def test_a_batch_gives_what_each_row_gives_alone():
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    uniform = torch.rand(5, generator=torch.Generator().manual_seed(1))
    for settings in (SamplingParams(), SamplingParams(0.7, 20, 0.8), SamplingParams(0.0)):
        alone = [sample(logits[row : row + 1], uniform[row : row + 1], settings).item() for row in range(5)]
        assert sample(logits, uniform, settings).tolist() == alone


def test_one_bad_row_of_a_batch_is_found_unless_the_check_is_off():
    logits = torch.tensor([[0.0, 1.0], [0.0, torch.nan]])
    with pytest.raises(EmotionOmniError, match="not finite"):
        sample(logits, torch.zeros(2), SamplingParams())
    assert sample(logits, torch.zeros(2), SamplingParams(), check=False)[0] == 1
