from dataclasses import replace

import numpy as np
import pytest

from emotion_omni.data.dialogue import WrittenDialogue, WrittenTurn
from emotion_omni.data.plan import CorpusPlan, Filters
from emotion_omni.data.scenarios import scenarios
from emotion_omni.data.text_filter import TextFilter, distinct_ngrams, minhash, shingles

SCENARIO = next(scenarios(CorpusPlan(dialogues=1)))
SAID = "The neighbours upstairs have been drilling since six in the morning again."
REPLY = "Since six, and no end of it. Have you been able to get any rest at all?"


def dialogue(said=SAID, reply=REPLY):
    return WrittenDialogue((WrittenTurn(said, "angry", 1.0, reply, "calm"),), "test")


def in_group(group):
    return replace(SCENARIO, group=group)


def test_a_good_dialogue_passes_once():
    judge = TextFilter(Filters())
    assert judge.reject(in_group("a"), dialogue()) == ""
    assert judge.reject(in_group("b"), dialogue(reply="Drilling before breakfast should be a crime, and loud too.")) \
        .startswith("duplicate")  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("You're an idiot for staying in that flat, honestly.", "toxic"),
        ("Great question! You can always ask them to stop it.", "over-pleasing"),
        ("I used to live below a drummer, so I get it fully.", "form: a human life"),
        ("Oh dear.", "form: reply has 2 words"),
        ("You should stop taking your medication for that noise.", "dangerous advice"),
    ],
)
def test_replies_that_may_not_be_spoken(reply, reason):
    assert TextFilter(Filters()).reject(SCENARIO, dialogue(reply=reply)).startswith(reason)


def test_form_can_be_switched_off():
    assert not TextFilter(Filters(form=False)).reject(SCENARIO, dialogue(reply="Oh dear me."))


def test_near_duplicates_are_found_between_groups_and_not_inside():
    near = dialogue(SAID.replace("again", "today"), REPLY.replace("any rest", "some rest"))
    judge = TextFilter(Filters(near=0.5))
    assert not judge.reject(in_group("a"), dialogue())
    assert judge.reject(in_group("b"), near).startswith("near duplicate")
    assert not judge.reject(in_group("a"), near)


def test_the_same_meaning_is_found_by_the_encoder():
    vectors = iter(np.eye(2, dtype=np.float32)[[0, 1, 1]][:, None])
    judge = TextFilter(Filters(meaning=0.9), lambda texts: next(vectors))
    assert not judge.reject(in_group("a"), dialogue())
    assert not judge.reject(
        in_group("b"), dialogue("My tea got cold.", "Cold tea is a small tragedy, warm it up then.")
    )
    again = dialogue("There is ice in the mug.", "The mug has gone to the pole, has it not?")
    assert judge.reject(in_group("c"), again).startswith("same meaning")


def test_texts_of_test_sets_are_refused():
    assert TextFilter(Filters(), None, [SAID.upper()]).reject(SCENARIO, dialogue()).startswith("held out")


def test_a_signature_estimates_the_jaccard_index():
    words = [f"w{number}" for number in range(120)]
    one, other = " ".join(words[:100]), " ".join(words[20:])
    true = len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))
    assert np.mean(minhash(one) == minhash(other)) == pytest.approx(true, abs=0.15)
    assert (minhash(one) == minhash(one)).all()


def test_distinct_ngrams():
    assert distinct_ngrams(["a b", "a b"], 1) == 0.5 and distinct_ngrams(["a"], 2) == 0
