"""The parts joined: inputs, hidden states, and what is trained."""

from __future__ import annotations

import pytest
import torch

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.language_model import cast_parameters
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni, Query
from emotion_omni.types import EmotionOmniError, Exchange

TINY = OmniConfig.preset("tiny")


ANSWERS = ("I am glad for you.", "Oh no!")


@pytest.fixture(scope="module")
def model() -> Omni:
    built = Omni.build(TINY)
    with torch.no_grad():  # an adaptation that does something, or nothing could show that it is there
        for name, value in built.language_model.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return built


def query(*frames: int, config: OmniConfig = TINY, seed: int = 0) -> Query:
    """Frames of as many queries; what lies beyond a length is noise that nothing may read."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(frames)
    shapes = [(len(frames), max(frames), encoder.width) for encoder in (config.semantic, config.emotion)]
    semantic, emotion = (torch.randn(shape, generator=draw) for shape in shapes)
    return Query(semantic, lengths, emotion, lengths)


def only(asked: Query, index: int) -> Query:
    length = int(asked.semantic_lengths[index])
    return Query(
        asked.semantic[index : index + 1, :length],
        asked.semantic_lengths[index : index + 1],
        asked.emotion[index : index + 1, :length],
        asked.emotion_lengths[index : index + 1],
    )


def prompts(model: Omni):
    earlier = (Exchange("My dog died.", "sad", "That hurts."),)
    return [model.prompt_builder.prompt(), model.prompt_builder.prompt(earlier, "She was called Luna.", "sad")]


def answers(model: Omni):
    return [model.prompt_builder.answer(words) for words in ANSWERS]


def test_without_a_sound_the_model_is_the_plain_language_model(model):
    prompt, answer = prompts(model)[1], answers(model)[0]
    silent = Query(torch.zeros(1, 0, 24), torch.tensor([0]), torch.zeros(1, 0, 16), torch.tensor([0]))
    _, logits = model(silent, [prompt], [answer])
    ids = torch.tensor([[*prompt.before, *prompt.after, *answer]])
    expected = model.language_model(input_ids=ids).logits[:, -len(answer) - 1 : -1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_the_sound_stands_between_the_two_halves_of_the_prompt(model):
    asked, prompt = query(60), prompts(model)[0]
    rows = model.prepare_inputs(asked, [prompt])
    sound, lengths = model.adapters(asked.semantic, asked.semantic_lengths, asked.emotion, asked.emotion_lengths)
    at = len(prompt.before)
    assert lengths.tolist() == [12] and rows.inputs_embeds.shape[1] == at + 12 + len(prompt.after)
    torch.testing.assert_close(rows.inputs_embeds[0, at : at + 12], sound[0])
    torch.testing.assert_close(rows.inputs_embeds[0, :at], model.embed_tokens(torch.tensor(prompt.before)))


def test_an_answer_depends_on_its_own_query_alone(model):
    asked, both, written = query(60, 43), prompts(model), answers(model)
    together, logits = model(asked, both, written)
    for index in range(2):
        alone, own = model(only(asked, index), both[index : index + 1], written[index : index + 1])
        count = len(written[index])
        torch.testing.assert_close(
            together.hidden_states[index, : count - 1], alone.hidden_states[0], atol=1e-5, rtol=1e-5
        )
        torch.testing.assert_close(logits[index, :count], own[0], atol=1e-5, rtol=1e-5)
    assert together.lengths.tolist() == [len(ids) - 1 for ids in written], "the end is not spoken"


def test_padding_on_the_left_changes_no_state(model):
    asked, both, written = query(60, 43), prompts(model), answers(model)
    right, left = (model.prepare_inputs(asked, both, written, pad_left=side) for side in (False, True))
    states = [model.hidden_states(rows.inputs_embeds, rows.attention_mask, rows.position_ids) for rows in (right, left)]
    for index, ids in enumerate(written):
        begin = [int(rows.answer_start[index]) for rows in (right, left)]
        one, other = (state[index, at : at + len(ids)] for state, at in zip(states, begin, strict=True))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_token_is_paired_with_the_hidden_state_it_was_sampled_from(model):
    answer, logits = model(query(60), prompts(model)[:1], answers(model)[:1])
    torch.testing.assert_close(model.logits(answer.hidden_states), logits[:, :-1])
    torch.testing.assert_close(answer.token_embeddings[0], model.embed_tokens(torch.tensor(answers(model)[0][:-1])))


def test_a_later_token_changes_no_earlier_state(model):
    one, other = (
        model(query(60), prompts(model)[:1], [model.prompt_builder.answer(words)])[0]
        for words in ("I am here.", "I am gone.")
    )
    shared = len(model.prompt_builder.encode("I am ")) + 1  # the state a token is drawn from has not seen it
    torch.testing.assert_close(one.hidden_states[:, :shared], other.hidden_states[:, :shared])
    assert not torch.allclose(one.hidden_states[:, shared:], other.hidden_states[:, shared:])


def test_the_pretrained_weights_are_frozen_and_everything_else_is_not(model):
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen and all(name.startswith("language_model.") and "lora_" not in name for name in frozen)
    learned = {name for name, value in model.named_parameters() if value.requires_grad}
    assert len(model.trained_state_dict()) == len(learned) + 1, "and the prototypes, which are counted, not learned"


def test_a_fresh_adaptation_changes_nothing():
    built = Omni.build(TINY)
    with built.language_model.disable_adapter():
        plain = built(query(60), prompts(built)[:1], answers(built)[:1])[1]
    torch.testing.assert_close(built(query(60), prompts(built)[:1], answers(built)[:1])[1], plain)


def test_the_same_seed_builds_the_same_model_and_keeps_the_global_random_state():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = Omni.build(TINY, seed=3)
    assert torch.equal(torch.rand(1), expected)
    two, three = Omni.build(TINY, seed=3).state_dict(), Omni.build(TINY, seed=4).state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.state_dict().items())
    assert not all(torch.equal(value, three[name]) for name, value in two.items())


@pytest.mark.parametrize("parts", [UNDERSTAND, SPEAK, UNDERSTAND + SPEAK])
def test_what_is_saved_restores_the_answers(model, parts):
    other = Omni.build(TINY, seed=9)
    other.load_trained_state_dict(model.trained_state_dict(parts), parts)
    saved, restored = model.trained_state_dict(parts), other.trained_state_dict(parts)
    assert saved.keys() == restored.keys() and all(torch.equal(saved[name], restored[name]) for name in saved)


def test_a_checkpoint_of_another_model_is_refused_by_name(model):
    tensors = model.trained_state_dict(UNDERSTAND)
    name = next(iter(tensors))
    with pytest.raises(EmotionOmniError, match=f"lacks '{name}'"):
        model.load_trained_state_dict({key: value for key, value in tensors.items() if key != name}, UNDERSTAND)
    with pytest.raises(EmotionOmniError, match="should not have 'zoo'"):
        model.load_trained_state_dict(tensors | {"zoo": torch.zeros(1)}, UNDERSTAND)
    with pytest.raises(EmotionOmniError, match="by its config"):
        model.load_trained_state_dict(tensors | {name: torch.zeros(3)}, UNDERSTAND)


def test_a_plan_is_named_after_the_nearest_prototype():
    built = Omni.build(TINY)
    assert built.emotion_label(torch.ones(16)) is None, "nothing is known before training"
    built.prototypes[1], built.prototypes[2] = torch.eye(16)[0], torch.eye(16)[1]
    assert built.emotion_label(torch.eye(16)[1] * 3 + 0.1) == "sad"
    assert built.emotion_label(-torch.eye(16)[2]) in ("happy", "sad"), "never a label that was not in the training set"


def test_what_all_emotions_share_does_not_hide_which_one_is_planned():
    """Mean states of an encoder point nearly the same way; half precision would take them for one."""
    built, shared = Omni.build(TINY), torch.full((16,), 10.0)
    built.prototypes[0], built.prototypes[1] = shared + torch.eye(16)[0] * 0.1, shared + torch.eye(16)[1] * 0.1
    cast_parameters(built, torch.bfloat16)
    assert (
        built.emotion_label(shared + torch.eye(16)[1] * 0.08) == "happy"
        and built.emotion_label(shared + torch.eye(16)[0] * 0.08) == "neutral"
    )
