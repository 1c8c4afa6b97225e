"""The studio put together: messages, Hugging Face sign-in, and the commands."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from raters import Clock, Rater, first_values, item, opened
from raters import study as study_of
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from annotation import __main__ as command
from annotation.rating.routes import routes
from annotation.studio import Studio
from annotation.sync import webhooks
from annotation.ui.result_pictures import pictures
from emotion_omni.types import EmotionOmniError

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


@pytest.fixture
def receiver(monkeypatch):
    """A server that keeps what it receives, its signature checked."""
    received, news = [], threading.Condition()

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            with news:
                received.append(webhooks.verify(dict(self.headers), body, SECRET))
                news.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Keep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STUDIO_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/hook")
    monkeypatch.setenv("STUDIO_WEBHOOK_SECRET", SECRET)

    def wait_for(name):
        with news:
            assert news.wait_for(lambda: any(message["type"] == name for message in received), 10), [
                message["type"] for message in received
            ]
        return next(message["data"] for message in received if message["type"] == name)

    yield wait_for
    server.shutdown()
    server.server_close()


def test_webhooks_report_ratings_and_the_end_but_never_a_name(tmp_path, receiver):
    clock = Clock()
    studio = Studio.open(tmp_path, connected=True)
    studio.sessions.clock = clock
    study = study_of(studio, items=2, ratings_per_item=1, training_right=0)
    client = TestClient(routes(studio), headers={"X-Studio": "1"})
    rater = client.post("/enter", json={"guest": True, "name": "Ada Lovelace"}).json()["rater"]["id"]
    Rater(studio, study, clock, rater, client=client).walk()
    data = receiver("study.completed")
    assert data == {"study": study, "ratings": 2, "raters": 1}
    first = receiver("rating.created")
    assert first["study"] == study and rater not in json.dumps(first) and "Ada" not in json.dumps(first)
    studio.close()


@pytest.mark.parametrize("space", [True, False])
def test_hugging_face_signs_in_on_a_space_only(tmp_path, monkeypatch, space):
    """Elsewhere Gradio signs that session with a key that everybody knows."""
    monkeypatch.setenv("OAUTH_CLIENT_ID", "id")
    monkeypatch.setenv("STUDIO_ADMINS", "ada")
    for name in ("SPACE_ID", "OAUTH_CLIENT_SECRET"):
        monkeypatch.setenv(name, "x") if space else monkeypatch.delenv(name, raising=False)

    async def signed_in(request: Request) -> JSONResponse:
        name = request.path_params["name"]
        user = {"sub": f"sub-{name}", "preferred_username": name}
        request.session["oauth_info"] = {"expires_at": time.time() + 60, "access_token": name, "userinfo": user}
        return JSONResponse({})

    with opened(tmp_path) as studio:
        application = Starlette(
            routes=[Route("/as/{name}", signed_in), Mount("/studio", app=routes(studio))],
            middleware=[Middleware(SessionMiddleware, secret_key="known")],
        )
        client = TestClient(application, headers={"X-Studio": "1"})
        found = []
        for name in ("ada", "bob"):
            client.get(f"/as/{name}")
            found.append(client.get("/studio/me").json()["rater"])
        roles = [rater and rater["role"] for rater in found]
        assert roles == (["admin", "rater"] if space else [None, None])
        client.post("/studio/leave", json={})
        assert client.get("/studio/me").json()["rater"] is None


def test_commands_print_one_object_each(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path / "home"))
    with opened(tmp_path / "home") as studio:
        study = study_of(studio, items=2)

    def run(*arguments):
        status = command.main([*arguments, "--json"])
        return status, json.loads(capsys.readouterr().out)

    status, result = run("list")
    assert status == 0 and result["studies"][0]["id"] == study and result["studies"][0]["items"] == 2
    assert run("rebuild")[1]["events"] >= 2
    status, result = run("link", "--role", "researcher")
    assert status == 0 and "invite=" in result["link"]
    status, result = run("create", str(tmp_path / "nowhere"))
    assert status == 1 and result["error"]["code"] == "missing"
    status, result = run("withdraw", "--rater", "nobody")
    assert status == 1 and result["error"]["code"] == "not-found"
    status, result = run("coverage", "--simulations", "100")
    assert result["naive"] < 0.7 < 0.9 < result["clustered"]


def test_help_is_help(capsys):
    for arguments in (["--help"], ["coverage", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            command.main(arguments)
        assert stopped.value.code == 0 and "95 %" in capsys.readouterr().out


def test_answers_off_the_eight_emotions_do_not_break_the_results(tmp_path):
    clock = Clock()
    with opened(tmp_path, clock=clock) as studio:
        items = [item(studio, "emotion-recognition", number) for number in range(3)]
        for row in items:
            row["content"]["guess"] = {"label": "sad", "probability": None}
        study = study_of(
            studio, items=items, guess_hidden_share=1.0, training_right=0, traps_per_block=0, gold_per_block=0
        )
        answers = iter(["cannot-tell", "other", "sad", "sad", "sad"])

        def values(screen):
            return first_values(screen) | {"primary": next(answers)}

        Rater(studio, study, clock, values=values).walk()
        found = studio.results(study)
        assert found.confusion().to_numpy().sum() == 1
        assert "nan%" not in pictures(found, True) and ">nan" not in pictures(found, True) and found.anchoring() is None


def test_voice_lift_needs_a_known_emotion(tmp_path):
    """The raters' own majority, taken from "both", would make guessing at random look like a lift."""
    clock = Clock()
    with opened(tmp_path, clock=clock) as studio:
        items = [item(studio, "words-voice", number, family=f"f{number // 3}") for number in range(9)]
        for number, row in enumerate(items):
            row["content"] |= {"mode": ("words", "voice", "both")[number % 3], "about": {"emotion": "boredom"}}
        study = study_of(
            studio, "words-voice", items, training_right=0, traps_per_block=0, gold_per_block=0, repeats_per_block=0
        )
        for _ in range(3):
            Rater(studio, study, clock).walk()
        assert studio.results(study).voice_lift() is None


def test_withdrawing_from_a_study_that_is_unknown_or_was_not_begun_asks_neither_the_log_nor_the_writer(
    tmp_path, monkeypatch
):
    with opened(tmp_path) as studio:
        study = study_of(studio, items=1)
        rater = studio.people.accounts.add_guest("Ada")
        monkeypatch.setattr(studio.store, "withdraw_rater", None)
        with pytest.raises(EmotionOmniError) as caught:
            studio.withdraw(rater, "nowhere")
        assert caught.value.code == "not-found"
        assert studio.withdraw(rater, study) == 0
