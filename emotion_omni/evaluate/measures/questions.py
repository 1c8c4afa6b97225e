"""Sets of questions that the user brings, in the form of question_sets.py; a tiny one of ours shows it."""

from __future__ import annotations

from pathlib import Path

from emotion_omni import audio
from emotion_omni.evaluate import question_sets
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.judge import MODEL, RUBRICS, URL, Case, Judge, share_of_scale
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Run
from emotion_omni.evaluate.question_sets import Question

OURS = Path(__file__).parents[1] / "sets" / "questions.jsonl"


def measure(run: Run) -> Outcome:
    files = run.sources.questions or (OURS,)
    outcome, listed = Outcome(), []
    try:
        judge = Judge.from_environment(run.cache)
    except NotRun as reason:
        judge, outcome.not_run["forms open and empathy"] = None, str(reason)
    for file in files:
        questions = question_sets.read(file)
        for question in questions[: run.size or None]:
            reply, spoken_as = answer(run, question)
            value = score(question, reply, spoken_as, judge)
            listed.append({"set": file.stem, "id": question.id, "asked": question.text, "reply": reply, "score": value})
            if value is not None:
                item = f"{file.stem} {question.id}"
                outcome.samples.append(Sample("questions", item, value))
                outcome.samples.append(Sample(f"questions: {file.stem}, {question.form}", item, value))
        run.say(f"  {file.name}: {len(questions)} questions")
    outcome.details = {"sets": [file.name for file in files], "answers": listed[:30]}
    if not run.sources.questions:
        outcome.not_run["VoiceBench, EChat-eval, HumDial, URO-Bench"] = (
            "their data is yours to bring: turn it into JSON lines of the documented form and name the files by "
            "--questions; "
            "the ten questions here only show the form"
        )
    return outcome


def answer(run: Run, question: Question) -> tuple[str, str]:
    if question.audio is not None:
        _, reply = run.subject.answer_audio(audio.decode(question.audio))
    else:
        reply = run.subject.reply(question.text, question.tone, question.earlier)
    return reply.text, reply.emotion


def score(question: Question, reply: str, spoken_as: str, judge: Judge | None) -> float | None:
    """From 0 to 1; ``None`` where a judge would be needed or gave no number."""
    if question.form not in question_sets.JUDGED:
        return float(question_sets.is_met(question, reply))
    if judge is None:
        return None
    rubric = RUBRICS[question.rubric]
    value = judge.rate(rubric, Case(question.text, question.tone, reply, question.earlier, spoken_as))
    return None if value is None else share_of_scale(value, rubric)


MEASURE = Measure(
    name="questions",
    title="Question sets",
    section="Judged",
    text="VoiceBench-, EChat-eval-, HumDial- and URO-style questions. From 0 to 1: right, as asked, refused, or the "
    "judge's "
    "place on its scale.",
    figures=(Figure("questions", "score", "higher"),),
    parts=("recognizer", "responder"),
    run=measure,
    sizes={"quick": 10, "full": 0},
    files=(OURS,),
    sources=("questions",),
    environment=(URL, MODEL),
)
