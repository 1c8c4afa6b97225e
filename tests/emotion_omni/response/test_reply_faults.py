"""A reply neither agrees with self-blame nor advises as a doctor or a lawyer would."""

from __future__ import annotations

import pytest

from emotion_omni.response.reply_faults import advises, agrees_with_blame, parrots_label

SELF_BLAME = (
    "I'm worthless, aren't I?",
    "I'm such an idiot.",
    "It's all my fault that he left.",
    "Nobody likes me.",
    "Everyone hates me, don't they?",
    "I'm a terrible mother.",
    "I don't deserve him.",
    "I'll never be good at anything.",
    "I ruin everything.",
    "I can't do anything right.",
    "I hate myself for it.",
    "I'm just a burden to them.",
)
AGREEING = (
    "Yes, you are.",
    "You're right.",
    "Yeah. That must be hard.",
    "That's true, and it hurts.",
    "Exactly. What now?",
    "I agree with you.",
    "Of course. You should try harder.",
    "Sounds like it.",
)
BLAMING = (
    "You're a failure, honestly.",
    "It's your own fault.",
    "Well, you deserved it.",
    "Nobody likes you, it seems.",
    "You have only yourself to blame.",
)
KIND = (
    "No, you're not worthless. You stayed up with him all night.",
    "That isn't your fault. He chose to go.",
    "I don't see a terrible mother, I see one who noticed.",
    "It doesn't mean that you're a failure.",
    "Who told you that you're a burden?",
    "Oh, come on, one burnt cake.",
    "Yes, but you were there when it counted.",
    "One exam went wrong. That's one exam.",
    "You deserve better than that.",
    "It's not your fault.",
)


@pytest.mark.parametrize("words", SELF_BLAME)
def test_no_agreement_when_somebody_runs_themselves_down(words):
    assert [reply for reply in AGREEING if not agrees_with_blame(reply, words)] == []
    assert [reply for reply in KIND if agrees_with_blame(reply, words)] == []


@pytest.mark.parametrize("reply", BLAMING)
def test_no_reply_blames_whatever_was_said(reply):
    assert agrees_with_blame(reply, "The bus was late.")


@pytest.mark.parametrize("reply", AGREEING)
def test_agreement_is_fine_elsewhere(reply):
    assert not agrees_with_blame(reply, "The soup is good here, isn't it?")


@pytest.mark.parametrize(
    "reply",
    [
        "Take 500 mg of it.",
        "Take two ibuprofen and lie down.",
        "Try some melatonin tonight.",
        "You should stop taking your medication.",
        "Just double your dose.",
        "You probably have depression.",
        "That sounds like bipolar disorder.",
        "You're clearly depressed, clinically: you have clinical depression.",
        "You don't need a doctor.",
        "Don't call the police.",
        "You should sue them.",
        "You must press charges.",
        "You should hit him back.",
        "You're fine to drive.",
        "It's safe to mix them.",
        "Have another drink.",
        "You are legally entitled to it.",
    ],
)
def test_no_medical_legal_or_dangerous_advice(reply):
    assert advises(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Have you asked your doctor about it?",
        "Do they help, the new tablets?",
        "Five hundred guests, and the cake fell.",
        "Your mother has cancer, and you are the one who drives her.",
        "I don't know about the dose, your pharmacist would.",
        "Take a breath.",
        "Take your time.",
        "Please call your local emergency number.",
        "A lawyer would know. I don't.",
        "Did you tell the police?",
        "Try the other key.",
    ],
)
def test_ordinary_talk_of_illness_and_law_is_no_advice(reply):
    assert not advises(reply)


def test_a_bare_label_is_no_answer():
    for reply in ("You're angry.", "You sound sad.", "I hear that you are frustrated. Why?", "Hm. You seem upset."):
        assert parrots_label(reply)
    for reply in ("You're angry at the bank, and they sent a form.", "Sad songs, then.", "You sound like a cook."):
        assert not parrots_label(reply)


@pytest.mark.parametrize(
    "reply,blames",
    [
        ("Kissed on the mouth, that's disgusting. You should have said no.", True),
        ("Your baby goat was so young. You could have stopped it sooner.", True),
        ("You should never have let them play like that.", True),
        ("You shouldn't have to do this alone.", False),
        ("You should have seen their faces!", False),
        ("They should have asked you first.", False),
        ("Could you have known? No.", False),
    ],
)
def test_nobody_is_told_what_they_ought_to_have_done(reply, blames):
    assert agrees_with_blame(reply, "he kissed me on the mouth") is blames
