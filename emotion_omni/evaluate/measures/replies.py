"""How good are the replies to prompts nobody trained on? By the critic, and by counting."""

from __future__ import annotations

from collections.abc import Sequence

from emotion_omni.evaluate import critic as judge
from emotion_omni.evaluate import reply_sheets, text_figures
from emotion_omni.evaluate.critic import Answered, Critic
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.evaluate.reply_sheets import Prompt
from emotion_omni.types import Exchange

PEOPLE = "human replies"  # what the critic says of them stands beside
EXAMPLES = 12  # shown in the report


def measure(run: Run) -> Outcome:
    prompts = reply_sheets.prompts(run.size)
    replies = []
    for number, prompt in enumerate(prompts, 1):
        replies.append(run.subject.reply(prompt["text"], prompt["tone"], earlier_of(prompt)).text)
        if number % 10 == 0:
            run.say(f"  {number} of {len(prompts)} replies")
    scores = Critic.load().judge([answered(one, text) for one, text in zip(prompts, replies, strict=True)])
    outcome = Outcome()
    for prompt, score in zip(prompts, scores, strict=True):
        for name in judge.JUDGED:
            outcome.samples.append(sample(name, prompt, score[name]))
    counted = {
        "novelty": text_figures.novelty(replies),
        "same_opening": text_figures.shared([text_figures.opening(one) for one in replies]),
        "same_closing": text_figures.shared([text_figures.closing(one) for one in replies]),
        "echo": [float(text_figures.echoes_label(one)) for one in replies],
        "leak": [float(text_figures.leaks_prompt(one)) for one in replies],
        "questions": [float(text_figures.asks(one)) for one in replies],
        "words": [float(len(text_figures.words(one))) for one in replies],
    }
    for name, values in counted.items():
        outcome.samples += [sample(name, one, value) for one, value in zip(prompts, values, strict=True)]
    outcome.details = {
        "openings": text_figures.distribution([text_figures.opening(one) for one in replies]),
        "closings": text_figures.distribution([text_figures.closing(one) for one in replies]),
        "examples": examples(prompts, replies, scores),
    }
    return outcome


def earlier_of(prompt: Prompt) -> tuple[Exchange, ...]:
    return tuple(Exchange(one["text"], one["tone"], one["reply"]) for one in prompt["earlier"])


def answered(prompt: Prompt, reply: str) -> Answered:
    return Answered(prompt["text"], prompt["tone"], reply, earlier_of(prompt))


def sample(figure: str, prompt: Prompt, value: float) -> Sample:
    """The same words in two tones are drawn together."""
    return Sample(figure, prompt["id"], round(value, 5), cluster="-".join(prompt["id"].split("-")[:2]))


def examples(prompts: Sequence[Prompt], replies: Sequence[str], scores: Sequence[dict[str, float]]) -> list[dict]:
    """Evenly spread, not chosen."""
    step = max(1, len(prompts) // EXAMPLES)
    return [
        {
            "tone": p["tone"],
            "said": p["text"],
            "reply": reply,
            "sense": round(s["sense"], 2),
            "direction": round(s["direction"], 2),
        }
        for p, reply, s in list(zip(prompts, replies, scores, strict=True))[::step][:EXAMPLES]
    ]


MEASURE = Measure(
    name="replies",
    title="Replies to unseen prompts",
    section="Answering",
    text="The tone is given. Sense, direction and the kinds of empathy are the critic's mean probability; it learned "
    "from "
    "people's conversations, not from the data of the reranker. Novelty and repetition are counted.",
    figures=(
        Figure("sense", "makes sense as an answer (critic)", guarded=True, margin=0.02),
        Figure("fluency", "words in a usual order (critic, weak)"),
        Figure("direction", "leans the right way (critic)", guarded=True, margin=0.02),
        Figure("emotional_reactions", "shows warmth (critic)", "neither"),
        Figure("interpretations", "shows understanding (critic)", "neither"),
        Figure("explorations", "asks further (critic)", "neither"),
        Figure("novelty", "pairs of words that no other reply has", guarded=True, margin=0.05),
        Figure("same_opening", "other replies with the same three first words", "lower", guarded=True, margin=0.02),
        Figure("same_closing", "other replies with the same last sentence", "lower", guarded=True, margin=0.02),
        Figure("echo", "names the heard emotion at the person", "lower", guarded=True, margin=0.02),
        Figure("leak", "speaks marks of its prompt", "lower", guarded=True, margin=0.01),
        Figure("questions", "asks a question", "neither"),
        Figure("words", "words of a reply", "neither", unit="words"),
    ),
    parts=("responder",),
    run=measure,
    sizes={"quick": 48, "full": 0},
    files=(reply_sheets.PROMPTS, judge.SHIPPED),
)
