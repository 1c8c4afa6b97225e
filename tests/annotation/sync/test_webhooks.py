"""Webhooks, sent to a real receiver on this computer."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from annotation.sync.webhooks import Webhooks, signed, verify
from emotion_omni.types import EmotionOmniError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
QUICK = (0.01, 0.02, 0.03, 0.04)  # seconds between tries
RATING = {"submit": "u1", "study": "s1", "item": "i1", "rater": "r1", "kind": "rate", "at": 5.0}


@dataclass
class Receiver:
    """Keeps what comes; answers with ``statuses`` in turn, then with 204."""

    statuses: list[int] = field(default_factory=list)
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    waits: float = 0.0
    url: str = ""

    def numbers(self) -> list[str]:
        return [json.loads(body)["data"]["submit"] for _, _, body in self.came]


@pytest.fixture
def receiver():
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(found.waits)
            body = self.rfile.read(int(self.headers["content-length"]))
            status = found.statuses.pop(0) if found.statuses else 204
            found.came.append((self.path, dict(self.headers), body))
            self.send_response(status)
            if status in (301, 302, 307, 308):
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{http.server_port}/hook"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def sender(receiver):
    made = Webhooks(receiver.url, SECRET, waits=QUICK)
    made.start()
    yield made
    made.stop()


def until(condition, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def code_of(action) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        action()
    return caught.value.code


# --- signatures -------------------------------------------------------------------------------------------------


def test_a_message_arrives_signed_and_the_receiver_can_verify_it(receiver, sender):
    sender.send("rating.created", RATING)
    until(lambda: receiver.came)
    _, headers, body = receiver.came[0]
    message = verify(headers, body, SECRET)
    assert (message["type"], message["data"]) == ("rating.created", RATING)
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == "application/json"


def test_the_signature_is_that_of_the_standards_own_example():
    body, secret = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, secret)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "secret", "signature", "none", "not-ascii"])
def test_a_message_that_was_changed_or_signed_by_another_is_refused(change):
    body, headers, secret = b'{"a":1}', signed("msg_1", int(time.time()), b'{"a":1}', SECRET), SECRET
    assert verify(headers, body, secret) == {"a": 1}
    match change:
        case "body":
            body = b'{"a":2}'
        case "id":
            headers["webhook-id"] = "msg_2"
        case "timestamp":
            headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
        case "secret":
            secret = OTHER_SECRET
        case "signature":
            headers["webhook-signature"] = "v1," + base64.b64encode(bytes(32)).decode()
        case "none":
            headers.clear()
        case "not-ascii":
            headers["webhook-signature"] = "v1,é"
    assert code_of(lambda: verify(headers, body, secret)) == "bad-signature"


@pytest.mark.parametrize("age", [-400, 400])
def test_a_message_repeated_outside_the_tolerance_is_refused(age):
    headers = signed("msg_1", int(time.time()) - age, b"{}", SECRET)
    assert code_of(lambda: verify(headers, b"{}", SECRET)) == "stale"


def test_one_right_signature_among_several_will_do_as_when_secrets_change():
    now = int(time.time())
    headers, old = signed("msg_1", now, b"{}", SECRET), signed("msg_1", now, b"{}", OTHER_SECRET)
    headers["webhook-signature"] = f"{old['webhook-signature']} v2,unknown {headers['webhook-signature']}"
    assert verify(headers, b"{}", SECRET) == {}


# --- what is sent -----------------------------------------------------------------------------------------------


def test_only_pseudonyms_leave_whatever_the_event_holds(receiver, sender):
    sender.send(
        "rating.created",
        RATING | {"name": "Grace", "account": "hf:grace", "answers": {"why": "a secret"}, "sequence": 9},
    )
    sender.send("rater.flagged", {"study": "s1", "rater": "r1", "reasons": ("traps",), "name": "Grace"})
    until(lambda: len(receiver.came) == 2)
    assert [json.loads(body)["data"] for _, _, body in receiver.came] == [
        RATING,
        {"study": "s1", "rater": "r1", "reasons": ["traps"]},
    ]
    assert not any(b"race" in body or b"a secret" in body for _, _, body in receiver.came)


def test_an_event_that_does_not_exist_is_a_mistake_of_the_program(sender):
    with pytest.raises(ValueError, match=r"rating\.created"):
        sender.send("rating.made", RATING)


# --- delivery ---------------------------------------------------------------------------------------------------


def test_a_receiver_that_fails_is_tried_again_with_the_same_message(receiver, sender):
    receiver.statuses = [500, 503, 429]
    sender.send("rating.created", RATING)
    until(lambda: len(receiver.came) == 4)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.came}) == 1
    assert [verify(headers, body, SECRET)["data"] for _, headers, body in receiver.came] == [RATING] * 4


def test_after_five_tries_a_message_is_given_up_and_the_next_one_comes(receiver, sender, caplog):
    receiver.statuses = [500] * 5
    sender.send("rating.created", RATING)
    sender.send("rating.created", RATING | {"submit": "u2"})
    until(lambda: len(receiver.came) == 6)
    assert receiver.numbers() == ["u1"] * 5 + ["u2"]
    assert "given up: it answered 500" in caplog.text


def test_the_waits_between_tries_are_those_asked_for(receiver):
    patient = Webhooks(receiver.url, SECRET, waits=(0.15,))
    patient.start()
    receiver.statuses = [500]
    began = time.monotonic()
    patient.send("rating.created", RATING)
    until(lambda: len(receiver.came) == 2)
    assert time.monotonic() - began >= 0.15
    patient.stop()


def test_messages_come_in_the_order_of_what_happened_also_when_some_fail(receiver, sender):
    receiver.statuses = [204, 500, 204, 500, 500, 204]
    for number in range(8):
        sender.send("rating.created", RATING | {"submit": f"u{number}"})
    until(lambda: len(receiver.came) == 11)
    assert list(dict.fromkeys(receiver.numbers())) == [f"u{number}" for number in range(8)]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.came}) == 8


def test_a_redirect_is_not_followed(receiver, sender, caplog):
    receiver.statuses = [302, 307, 308, 301, 302]
    sender.send("rating.created", RATING)
    until(lambda: "given up" in caplog.text)
    assert {path for path, _, _ in receiver.came} == {"/hook"}


def test_a_full_queue_drops_the_oldest_and_says_so(receiver, caplog):
    small = Webhooks(receiver.url, SECRET, waits=QUICK, most_waiting=3)
    for number in range(5):
        small.send("rating.created", RATING | {"submit": f"u{number}"})
    assert caplog.text.count("is dropped") == 2
    small.start()
    small.stop()
    assert receiver.numbers() == ["u2", "u3", "u4"]


def test_sending_does_not_wait_for_a_slow_receiver_nor_fail_without_one(receiver, sender, caplog):
    receiver.waits = 1.0
    unreachable = Webhooks("http://127.0.0.1:9/", SECRET, waits=())
    unreachable.start()
    began = time.monotonic()
    for made in (sender, unreachable):
        made.send("rating.created", RATING | {"at": object()})
    assert time.monotonic() - began < 0.5
    until(lambda: receiver.came and "ConnectError" in caplog.text)
    unreachable.stop()


def test_at_the_end_what_waits_is_tried_once_and_no_more(receiver):
    last = Webhooks(receiver.url, SECRET, waits=(60.0,))
    receiver.statuses = [500, 500]
    last.start()
    last.send("rating.created", RATING)
    last.send("rating.created", RATING | {"submit": "u2"})
    until(lambda: receiver.came)
    began = time.monotonic()
    last.stop()
    assert time.monotonic() - began < 5
    assert receiver.numbers() == ["u1", "u2"]


def test_neither_the_secret_nor_the_path_of_the_address_is_logged(receiver, caplog):
    caplog.set_level(logging.WARNING)
    made = Webhooks(receiver.url, SECRET, waits=())
    made.start()
    receiver.statuses = [500]
    made.send("rating.created", RATING)
    until(lambda: "given up" in caplog.text)
    made.stop()
    assert SECRET not in caplog.text and "/hook" not in caplog.text


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://127.0.0.1.example.org/",
        "ftp://127.0.0.1/",
        "example.org",
        "",
        "https://",
        "http://[::",
        "http://10.0.0.1/",
    ],
)
def test_an_address_elsewhere_must_be_https(url):
    assert code_of(lambda: Webhooks(url, SECRET)) == "bad-setting"


@pytest.mark.parametrize(
    "url", ["https://example.org/hook", "http://localhost:8000/", "http://127.0.0.2/", "http://[::1]:80/"]
)
def test_https_is_taken_and_http_on_this_computer(url):
    assert isinstance(Webhooks(url, SECRET), Webhooks)


@pytest.mark.parametrize("secret", ["", "whsec_", "too short", "whsec_dG9vIHNob3J0", "whsec_é"])
def test_a_weak_secret_is_refused_without_showing_it(secret):
    with pytest.raises(EmotionOmniError) as caught:
        Webhooks("https://example.org/", secret)
    assert caught.value.code == "bad-setting"
    assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


def test_webhooks_are_set_by_the_environment(receiver, monkeypatch):
    monkeypatch.delenv("STUDIO_WEBHOOK_URL", raising=False)
    monkeypatch.delenv("STUDIO_WEBHOOK_SECRET", raising=False)
    assert Webhooks.from_environment() is None
    monkeypatch.setenv("STUDIO_WEBHOOK_URL", receiver.url)
    assert code_of(Webhooks.from_environment) == "bad-setting"
    monkeypatch.setenv("STUDIO_WEBHOOK_SECRET", SECRET)
    made = Webhooks.from_environment()
    made.start()
    made.send("study.completed", {"study": "s1", "ratings": 10, "raters": 2})
    made.stop()
    assert json.loads(receiver.came[0][2])["data"] == {"study": "s1", "ratings": 10, "raters": 2}
