"""The paper's emotional score and others by a judge, which is itself measured against people."""

from __future__ import annotations

from emotion_omni.evaluate import judge_calibration, reply_sheets
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.judge import MODEL, RUBRICS, URL, Case, Judge
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.evaluate.measures.replies import earlier_of

CHOSEN = ("empathy", "direction", "sd-eval")
NO_RATINGS = (
    "the judge is not calibrated: name a folder of ratings that the studio exported by --ratings. Until then its "
    "figures "
    "are a machine's opinion"
)


def measure(run: Run) -> Outcome:
    judge = Judge.from_environment(run.cache)
    outcome = Outcome(details={"judge": judge.model})
    prompts = reply_sheets.prompts(run.size)
    for number, prompt in enumerate(prompts, 1):
        reply = run.subject.reply(prompt["text"], prompt["tone"], earlier_of(prompt))
        case = Case(prompt["text"], prompt["tone"], reply.text, earlier_of(prompt), reply.emotion)
        for name in CHOSEN:
            value = judge.rate(RUBRICS[name], case)
            if value is None:
                key = f"{name}: answers without a number"
                outcome.details[key] = outcome.details.get(key, 0) + 1
            else:
                cluster = "-".join(prompt["id"].split("-")[:2])
                outcome.samples.append(Sample(name.replace("-", "_"), prompt["id"], value, cluster))
        if number % 10 == 0:
            run.say(f"  {number} of {len(prompts)} replies judged")
    if run.sources.ratings is None:
        outcome.not_run["calibration"] = NO_RATINGS
    else:
        outcome.details["calibration"] = judge_calibration.calibrate(judge, run.sources.ratings, run.say)
    return outcome


MEASURE = Measure(
    name="judge",
    title="By a judge",
    section="Judged",
    text="A language model rates the replies by the paper's rubric (1 to 5), SD-Eval's (1 to 10) and the emotion "
    "consensus. It "
    "reads the planned emotion of the voice. Its worth is its agreement with people, reported beside it.",
    figures=(
        Figure("empathy", "emotional score (1 to 5)", "higher", "", guarded=True, margin=0.1),
        Figure("direction", "right direction (judge)", guarded=True, margin=0.02),
        Figure("sd_eval", "SD-Eval rating (1 to 10)", "higher", ""),
    ),
    parts=("responder",),
    run=measure,
    sizes={"quick": 24, "full": 0},
    files=(reply_sheets.PROMPTS,),
    sources=("ratings",),
    environment=(URL, MODEL),
)
