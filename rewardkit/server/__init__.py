"""The scoring service: one backend-neutral router over one `Scorer`, hosted inside vLLM and in a plain FastAPI app.

    schema.py         what a request says
    errors.py         OpenAI's error body for everything that goes wrong
    answers.py        what the routes answer; openapi.py makes the description of it
    observe.py        before any route: the request's id, headers, log line, count and trace
    traffic.py        then what is in flight: bounds, deadlines, drain
    guard.py          then the bearer key and the body's size
    scorer.py         the protocol that a backend implements: token ids in, logits at the step positions out
    service.py        items to token ids to scores to the answer; limits
    routes.py         the routes
    metrics.py        Prometheus; logs.py: JSON lines; tracing.py: OpenTelemetry
    app.py            host 1: a FastAPI app over transformers
    vllm_plugin.py    host 2: inside vLLM's API server; the one file that imports vLLM
    config.py         what `rewardkit serve` can be told; profiles
    launch.py         starts, waits for and ends a server (`rewardkit serve`, tests, quickstart)
    folder.py         is a model folder whole
    plain.py          the transformers host as a server
    engine.py         vLLM's command line, environment and process
    supervisor.py     starts an engine again that ends by itself
    host.py           inside vLLM's process: drain, and the end when the engine dies
    causes.py         why an engine ended, in one line
    reaper.py         runs the engine so that it never outlives who started it
    memo.py           scores of the steps that lie inside the engine's prefix cache
    vllm_implicit.py  policy and reference in one pooling model
    adapters.py       LoRA adapters beside their base
    several.py        several models at one address; gateway.py selects by the request's model
    graders.py        OpenAI's graders; ranking.py: scores and ranks of documents
    chat.py           search behind the chat API; chat_search.py runs it
    page.py           the page at /

Left out so far: images, token ids in place of text.
"""
