"""The losses of stage 1."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_training import (
    ROWS,
    TINY,
    dataset,
)

from emotion_omni.omni.emotion_targets import token_targets
from emotion_omni.omni.model import Omni
from emotion_omni.train import stage
from emotion_omni.train.settings import Settings
from emotion_omni.train.speak import SpeakTask
from emotion_omni.train.understand import UnderstandTask, emotion_losses, prototypes


@pytest.fixture(scope="module")
def model() -> Omni:
    return Omni.build(TINY, seed=3)


@pytest.mark.parametrize("stage_name", ["understand", "speak"])
def test_the_loss_of_an_utterance_depends_on_itself_alone(sounds, model, stage_name):
    made = dataset(sounds, speech=True, model=model)
    task = (UnderstandTask(model) if stage_name == "understand" else SpeakTask(model)).eval()
    together = task(made.batch([3, 0, 2]), 0, 0.5)
    for row, index in enumerate([3, 0, 2]):
        alone = task(made.batch([index]), 0, 0.5)
        for name in together:
            torch.testing.assert_close(together[name][row], alone[name][0], atol=1e-5, rtol=1e-5, equal_nan=True)


def test_an_answer_without_audio_trains_text_only(sounds, model):
    silent = {key: value for key, value in ROWS[0].items() if key != "reply_audio"}
    made, task = dataset(sounds, rows=[silent, ROWS[1]], model=model), UnderstandTask(model).eval()
    losses = task(made.batch([0, 1]), 0, 0.0)
    assert losses["emotion"].isnan().tolist() == [True, False] and losses["loss"][0] == losses["text"][0]
    model.zero_grad()
    task(made.batch([0]), 0, 0.0)["loss"].sum().backward()
    assert not any(value.grad.any() for value in model.emotion_head.parameters()), "never the user's own emotion"
    assert any(value.grad.any() for value in model.adapters.parameters())


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_is_that_of_the_text_plus_the_weighted_one_of_the_emotion(sounds, model, weight):
    batch = dataset(sounds, model=model).batch([0, 1, 2])
    losses = UnderstandTask(model, weight).eval()(batch, 0, 0.0)
    torch.testing.assert_close(losses["loss"], losses["text"] + weight * losses["emotion"])
    assert (losses["emotion"] > 0.01).all()
    _, logits = model(batch.query, batch.prompts, batch.answers)
    for row, ids in enumerate(batch.answers):
        negatives = [-logits[row, at].log_softmax(-1)[token] for at, token in enumerate(ids)]  # EOS included
        torch.testing.assert_close(losses["text"][row], torch.stack(negatives).mean())


def test_the_weight_of_the_settings_reaches_the_task(sounds, model):
    task = stage._task("understand", model, dataset(sounds, model=model), Settings(emotion_weight=0.3), False)
    assert isinstance(task, UnderstandTask) and task.emotion_weight == 0.3


def test_the_emotion_loss_compares_each_token_with_the_mean_of_its_frames(sounds, model):
    """The alignment by trying all paths: each token takes frames in a row, neighbors may share one."""
    made = dataset(sounds, model=model)
    batch = made.batch([0])
    frames = batch.frames[:, :5]
    answer, _ = model(batch.query, batch.prompts, (batch.answers[0][:3],))  # two tokens and EOS
    planned = model.plan_emotions(answer)
    short = dataclasses.replace(batch, frames=frames, frame_lengths=torch.tensor([5]))
    loss, spoken = emotion_losses(model, planned, answer, short)
    cost = (frames[0][:, None] - planned[0][None]).square().sum(-1)  # [5 frames, 2 tokens]
    splits = [(last, first) for last in range(5) for first in (last, last + 1) if first < 5]
    best = min(splits, key=lambda split: (cost[: split[0] + 1, 0].sum() + cost[split[1] :, 1].sum()).item())
    targets = torch.stack([frames[0, : best[0] + 1].mean(0), frames[0, best[1] :].mean(0)])
    squared = (planned[0] - targets).square().mean(-1)
    cosine = torch.cosine_similarity(planned[0], targets, dim=-1)
    torch.testing.assert_close(loss[0], (0.6 * squared + 0.4 * (1 - cosine)).mean())
    assert spoken.tolist() == [True]


def test_the_emotion_of_an_utterance_can_be_trained_as_one_vector(sounds):
    config = dataclasses.replace(TINY, emotion_mode="utterance")
    built = Omni.build(config)
    made = dataset(sounds, model=built, config=config)
    losses = UnderstandTask(built).eval()(made.batch([0, 1]), 0, 0.0)
    answer, _ = built(*(getattr(made.batch([0, 1]), name) for name in ("query", "prompts", "answers")))
    frames = made.features.get(made.requests(made.rows[1])["frames"]).mean(0)
    planned = built.plan_emotions(answer)[1, 0]
    expected = 0.6 * (planned - frames).square().mean() + 0.4 * (1 - torch.cosine_similarity(planned, frames, dim=0))
    torch.testing.assert_close(losses["emotion"][1], expected, atol=1e-5, rtol=1e-5)


def test_prototypes_are_the_mean_of_each_labels_answers(sounds):
    silent = {key: value for key, value in ROWS[3].items() if key != "reply_audio"}
    made = dataset(sounds, rows=[ROWS[0], ROWS[1] | {"reply_emotion": "happy"}, ROWS[2], silent])
    found = prototypes(made, 16)
    means = [made.features.get(made.requests(row)["frames"]).mean(0) for row in made.rows[:3]]
    torch.testing.assert_close(found[1], (means[0] + means[1]) / 2)  # happy
    torch.testing.assert_close(found[7], means[2])  # calm
    assert not found[[0, 2, 3, 4, 5, 6]].any()


def paths(frames: int, tokens: int, frame: int = 0, token: int = 0):
    """All ways from the first frame and token to the last ones, one step by frame, token or both."""
    if (frame, token) == (frames - 1, tokens - 1):
        yield [(frame, token)]
        return
    for step in ((1, 1), (1, 0), (0, 1)):
        if frame + step[0] < frames and token + step[1] < tokens:
            for rest in paths(frames, tokens, frame + step[0], token + step[1]):
                yield [(frame, token), *rest]


def test_tokens_are_aligned_by_the_least_squared_distance_of_all_paths():
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        frames = torch.randn(1, 6, 2, generator=generator)
        predictions = torch.randn(1, 3, 2, generator=generator)
        found = token_targets(frames, torch.tensor([6]), predictions, torch.tensor([3]))[0]
        cost = (frames[0][:, None] - predictions[0][None]).square().sum(-1).tolist()
        best = min(paths(6, 3), key=lambda path: sum(cost[frame][token] for frame, token in path))
        for token in range(3):
            mean = frames[0, [frame for frame, at in best if at == token]].mean(0)
            torch.testing.assert_close(found[token], mean)
