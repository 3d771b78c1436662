"""Keys, limits and headers of the plain app, in process; the same guard stands before vLLM's routes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import ssl

import httpx
import pytest
from fastapi.routing import APIRoute
from test_service_limits import FaultyScorer, zeros

from rewardkit.errors import ConfigError
from rewardkit.server import guard, observe
from rewardkit.server.app import create_app
from rewardkit.server.config import ServeConfig, serve_config
from rewardkit.server.keys import read_key_file
from rewardkit.server.launch import Server

HASHED = "sha256:" + hashlib.sha256(b"third").hexdigest()
BODY = {"input": [{"prompt": "1+1?", "steps": ["1+1=2"]}]}


@pytest.fixture(scope="module")
def app():
    return create_app(FaultyScorer(zeros), keys=["first,second", HASHED])


def ask(app, method="POST", path="/v1/rewards", key: str | None = "first", headers=None, **options) -> httpx.Response:
    async def run():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            sent = {"Authorization": f"Bearer {key}"} if key else {}
            return await http.request(method, path, headers={**sent, **(headers or {})}, **options)

    return asyncio.run(run())


def test_every_route_of_the_app_needs_a_key(app):
    routes = [(method, route.path) for route in app.routes for method in getattr(route, "methods", None) or ["GET"]]
    assert len([r for r in app.routes if isinstance(r, APIRoute)]) >= 10
    for method, path in [
        *routes,
        ("POST", "/v1/nothing"),
        ("OPTIONS", "/v1/rewards"),
        ("GET", "http://x//health"),
        ("POST", "/"),
        ("GET", "/v1"),
    ]:
        if path not in ("/health", "/ready") and (method, path) != ("GET", "/"):
            for key in (None, "fourth", "", "first,second", HASHED):
                assert ask(app, method, path, key).status_code == 401, (method, path, key)


@pytest.mark.parametrize("key", ["first", "second", "third"])
def test_each_of_several_keys_opens(app, key):
    assert ask(app, key=key, json=BODY).status_code == 200


def test_no_key_is_logged_or_answered(app, caplog):
    with caplog.at_level(logging.DEBUG):
        answers = [ask(app, key=key, json=BODY) for key in ("first", "wrong-and-secret")]
    shown = caplog.text + "".join(a.text + str(a.headers) for a in answers)
    assert "secret" not in shown and "first" not in shown
    assert "secret" not in repr(ServeConfig(api_key="secret"))


def test_a_key_file_holds_hashes_alone(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{hashlib.sha256(b'k1').hexdigest()}  the trainer\nsha256:{'ab' * 32}\n\n")
    assert read_key_file(path) == ["sha256:" + hashlib.sha256(b"k1").hexdigest(), "sha256:" + "ab" * 32]
    app = create_app(FaultyScorer(zeros), keys=[ServeConfig(key_file=path).key])
    assert (ask(app, key="k1", json=BODY).status_code, ask(app, key="k2", json=BODY).status_code) == (200, 401)


@pytest.mark.parametrize(
    ("text", "fault"), [("a-plain-secret\n", "line 1 .* no SHA-256"), ("# nothing\n", "holds no key")]
)
def test_a_key_file_that_is_none_is_refused_without_showing_it(tmp_path, text, fault):
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ConfigError, match=fault) as caught:
        read_key_file(path)
    assert "a-plain-secret" not in str(caught.value)


def test_a_public_host_needs_a_key_or_a_word(tmp_path, monkeypatch):
    monkeypatch.delenv("REWARDKIT_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 lets others in.*REWARDKIT_API_KEY"):
        serve_config({"host": "0.0.0.0"})
    for more in ({"api_key": "k"}, {"open_to_all": True}):
        assert serve_config({"host": "0.0.0.0", **more}).host == "0.0.0.0"
    assert serve_config({}).host == "127.0.0.1"


def test_tls_files_go_together_and_exist(tmp_path):
    with pytest.raises(ConfigError, match="go together"):
        serve_config({"ssl_certfile": __file__})
    with pytest.raises(ConfigError, match="there is no file"):
        serve_config({"ssl_certfile": __file__, "ssl_keyfile": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="no certificate and its key"):
        serve_config({"ssl_certfile": __file__, "ssl_keyfile": __file__})


@pytest.mark.parametrize("key", ["first", None])
def test_every_answer_has_the_security_headers(app, key):
    headers = ask(app, key=key, json=BODY).headers
    for name, value in observe.HEADERS.items():
        assert headers[name.decode()] == value.decode()


def test_no_other_origin_is_let_in(app):
    sent = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for key in ("first", None):
        answer = ask(app, "OPTIONS", key=key, headers=sent)
        assert answer.status_code in (401, 405)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_clients_request_id_comes_back_and_what_is_no_plain_word_does_not(app):
    assert ask(app, json=BODY, headers={"X-Request-Id": "run-7:42"}).headers["x-request-id"] == "run-7:42"
    made = [ask(app, json=BODY, headers={"X-Request-Id": bad}).headers["x-request-id"] for bad in ("a b", "x" * 129)]
    assert all(len(m) == 32 for m in made) and made[0] != made[1]


@pytest.mark.parametrize(
    "body", [b'{"input":' + b"[" * 500 + b"]" * 500 + b"}", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_json_that_is_too_deep_is_refused_before_any_route(app, body):
    answer = ask(app, path="/v1/nothing", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "too deep" in answer.json()["error"]["message"]


def test_a_wide_body_is_not_too_deep(app):
    body = {"input": [{"messages": [{"role": "user", "content": "x"}] * 20, "steps": ["a"]}] * 20}
    assert ask(app, json=body).status_code == 200


def test_a_body_that_never_ends_is_given_up(app, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def endless():
        yield b"{"
        await asyncio.Event().wait()

    answer = ask(app, content=endless())
    assert answer.status_code == 408 and json.loads(answer.text)["error"]["code"] == "timeout"


def test_tls_files_make_it_https(tiny_reward_model, certificate):
    cert, key = certificate
    options = {"backend": "transformers", "port": 0, "ssl_certfile": str(cert), "ssl_keyfile": str(key)}
    with Server(tiny_reward_model, **options) as server:
        trusted = ssl.create_default_context(cafile=str(cert))
        assert server.url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{server.url}/models", verify=trusted, trust_env=False).status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{server.url}/models", trust_env=False)
