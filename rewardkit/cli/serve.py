"""`rewardkit serve`: a scoring service on a trained model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    folder: Annotated[
        str, typer.Argument(help="A model folder; or NAME=FOLDER, several of them; or a YAML file that lists them.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value: backend, profile, host, port, name, api_key, dtype, max_length, engine.FLAG ..."
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="Bearer key; better in the variable REWARDKIT_API_KEY.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="File for the engine's log; standard error without.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object when ready.")] = False,
) -> None:
    """Serve a reward model over HTTP: POST /v1/rewards, GET /v1/models, /health, /ready, /metrics."""
    import signal
    import sys

    from rewardkit.config import override_values
    from rewardkit.errors import ServerError
    from rewardkit.server import logs
    from rewardkit.server.config import LOOPBACK, serve_config
    from rewardkit.server.launch import Server
    from rewardkit.server.several import SeveralServers, models_of

    several, rest = models_of([folder, *(overrides or [])])
    values = {**several, **override_values(rest)}
    if api_key is not None:
        values["api_key"] = api_key
    output = str(log) if log else "-"
    server: Server | SeveralServers
    server = SeveralServers(values, log=output) if several else Server(folder, serve_config(values), log=output)
    config = server.config
    logs.configure(config.logs)
    if config.key is None and config.host not in LOOPBACK:
        print(f"warning: {config.host} is open to others and no key is set", file=sys.stderr)
    signal.signal(signal.SIGTERM, _terminate)
    print(f"loading {server.name} with {config.backend} ...", file=sys.stderr)
    with server:
        _announce(server, json)
        code = server.wait()
    raise ServerError(
        f"the engine ended by itself with exit code {code}, and was started again as often as restarts= says"
    )


def _terminate(*_: object) -> None:
    raise SystemExit(143)


def _announce(server: Any, json: bool) -> None:
    from rewardkit.cli._output import panel, print_json

    if json:
        print_json({"url": server.url, "model": server.name, "backend": server.config.backend})
    else:
        panel(
            f"serving {server.name}",
            [
                ("url", server.url),
                ("backend", server.config.backend),
                ("key", "required on every path but /health and /ready" if server.config.key else "none"),
            ],
            [("score two steps", _curl(server)), ("score a file", f"rewardkit score {server.url} FILE.jsonl")],
        )
    # A pipe is not flushed by itself, and whoever waits for this line may be one.
    print(end="", flush=True)


def _curl(server: Any) -> str:
    key = "-H 'Authorization: Bearer '$REWARDKIT_API_KEY " if server.config.key else ""
    body = '{"input": {"prompt": "What is 48/2 + 1?", "steps": ["48/2 = 24", "24 + 1 = 26"]}}'
    return f"curl {server.url}/rewards {key}-H 'Content-Type: application/json' -d '{body}'"
