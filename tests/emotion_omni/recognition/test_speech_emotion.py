"""The head: what a known voice changes, what is calibrated, how it is saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_omni.recognition import lora_head, speech_emotion
from emotion_omni.recognition.lora_head import LoRAHead
from emotion_omni.recognition.speech_emotion import (
    BLOCK_FRAMES,
    FLATTENED,
    STEP,
    VARIED,
    WINDOW_BLOCKS,
    HeadConfig,
    SpeechEmotionHead,
    load_head,
    mean_states,
    window_means,
)
from emotion_omni.types import EmotionOmniError, SpeakerEstimate


@pytest.fixture
def head() -> SpeechEmotionHead:
    torch.manual_seed(0)
    found = SpeechEmotionHead(HeadConfig(states=2, width=4), space="here")
    torch.nn.init.normal_(found.classifier.weight)
    return found.eval()


def states(seconds: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, int(seconds * 50), 4, generator=torch.Generator().manual_seed(seed))


def heard(head: SpeechEmotionHead, turns: list[torch.Tensor]) -> SpeakerEstimate | None:
    speaker = None
    for turn in turns:
        speaker = head.classify(turn, speaker)[1]
    return speaker


def variety(head: SpeechEmotionHead, turns: list[torch.Tensor]) -> float:
    logits = head.classifier(torch.stack(turns)).detach() / FLATTENED
    spread = (logits - logits.mean(1, keepdim=True)).std(0).mean().item()
    return 1 / (1 + np.exp(-(spread - VARIED) / STEP))


@pytest.mark.parametrize("count", [2, 12])
def test_the_mean_of_a_voice_is_taken_off_as_far_as_turns_and_their_variety_allow(head, count):
    turns = list(0.3 * torch.randn(12, 8, generator=torch.Generator().manual_seed(1)))[:count]
    new, counts = turns[1] + 1, variety(head, turns)
    assert 0.02 < counts < 0.98, "neither end of the scale"
    expected = new - torch.stack(turns).mean(0) * counts * count / (count + 4)
    if count > 2:
        share = counts * (count - 1) / (count - 1 + 8)
        expected = expected / (share * (torch.stack(turns).std(0, correction=0) + 0.05) + 1 - share)
    assert torch.allclose(head.adapt(new, heard(head, turns)), expected, atol=1e-4)


def test_turns_in_one_mood_change_little_and_turns_in_many_much(head):
    moods = torch.linalg.lstsq(head.classifier.weight.detach(), 3 * torch.eye(8)).solution.T  # raises one logit each
    voice, new = torch.full((8,), 0.5), torch.zeros(8)
    one = heard(head, [moods[2] + voice] * 6)
    many = heard(head, [mood + voice for mood in moods[:6]])
    assert torch.allclose(head.adapt(new, one), new, atol=0.05)
    assert (head.adapt(new, many) - new).abs().mean() > 0.2


def test_the_order_of_the_turns_does_not_matter_and_their_number_is_counted(head):
    turns = list(torch.randn(5, 8))
    one, other = heard(head, turns), heard(head, turns[::-1])
    assert one.turns == other.turns == 5 and np.allclose(one.total, other.total, atol=1e-5)


def test_an_estimate_of_another_head_counts_as_none(head):
    features = torch.randn(8)
    foreign = SpeakerEstimate(9, np.ones((2, 16), np.float32), "elsewhere")
    emotion, after = head.classify(features, foreign)
    assert emotion == head.classify(features)[0] and after.turns == 1 and after.space == "here"


def test_hearing_a_turn_leaves_the_estimate_it_was_given(head):
    before = heard(head, [torch.randn(8)])
    total = before.total.copy()
    head.classify(torch.randn(8), before)
    assert before.turns == 1 and np.array_equal(before.total, total)


def test_silent_frames_do_not_count(head):
    sound, mask = states(3), torch.ones(150, dtype=torch.bool)
    mask[60:] = False
    changed = sound.clone()
    changed[:, 60:] = 50.0
    assert torch.equal(head.features(sound, mask), head.features(changed, mask))
    assert head.predict(sound, mask).emotion == head.predict(changed, mask).emotion


def test_windows_are_what_the_whole_would_be(head):
    sound, mask = states(4), torch.rand(200, generator=torch.Generator().manual_seed(3)) > 0.3
    middles, found = window_means(sound, mask)
    size = WINDOW_BLOCKS * BLOCK_FRAMES
    assert len(middles) == len(found) == 200 // BLOCK_FRAMES - WINDOW_BLOCKS + 1
    start = 3 * BLOCK_FRAMES
    expected = mean_states(sound[:, start : start + size], mask[start : start + size])
    assert torch.allclose(found[3], expected, atol=1e-4)
    assert middles[3] == pytest.approx((start + size / 2) / 50)


def test_a_short_clip_has_one_point_over_time(head):
    found = head.predict(states(0.3), torch.ones(15, dtype=torch.bool))
    assert len(found.trajectory) == 1 and found.trajectory[0][1] == found.emotion


def test_a_known_voice_and_a_familiar_sound_are_judged_with_more_confidence(head):
    head.temperature.copy_(torch.tensor([3.0, 1.0]))
    head.distance.copy_(torch.tensor([1.5, 4.0]))
    near, far = torch.tensor(1.0), torch.tensor(2.0)
    assert head.temperature_after(0, near) == 3.0 and head.temperature_after(4, near) == 2.0
    assert head.temperature_after(10_000, near) == pytest.approx(1.0, abs=1e-3)
    assert head.temperature_after(0, far) == 5.0


def test_what_is_saved_opens_again_and_has_its_own_space(head, tmp_path):
    for name in ("a", "b"):
        head.temperature[0] += 1
        head.save(tmp_path / f"{name}.safetensors")
    one, other = (load_head(tmp_path / f"{name}.safetensors", None) for name in ("a", "b"))
    features = torch.randn(8)
    assert torch.allclose(other.logits(features, None), head.logits(features, None), atol=1e-2)
    assert one.space != other.space, "what one has learned of a voice means nothing to the other"


def test_the_shipped_head_opens_and_one_of_release_0_1_too(embedded):
    encoder = embedded.recognizer.encoder
    assert isinstance(load_head(speech_emotion.SHIPPED, encoder), SpeechEmotionHead)
    assert isinstance(load_head(lora_head.SHIPPED, encoder), LoRAHead)


def test_a_file_without_all_weights_is_refused(tmp_path):
    (tmp_path / "short.safetensors").write_bytes(speech_emotion.SHIPPED.read_bytes()[:-100])
    with pytest.raises(EmotionOmniError, match=r"short\.safetensors does not hold") as caught:
        load_head(tmp_path / "short.safetensors", None)
    assert caught.value.code == "checkpoint"
