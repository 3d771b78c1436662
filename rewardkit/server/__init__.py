"""The scoring service: one backend-neutral router over one `Scorer`, hosted inside vLLM and in a plain FastAPI app.

    schema.py         what a request says
    errors.py         OpenAI's error body for everything that goes wrong
    guard.py          bearer key and body size, before any route
    scorer.py         the protocol that a backend implements: token ids in, logits at the step positions out
    service.py        items to token ids to scores to the answer; limits
    routes.py         the routes
    metrics.py        Prometheus
    app.py            host 1: a FastAPI app over transformers
    vllm_plugin.py    host 2: inside vLLM's API server; the one file that imports vLLM
    config.py         what `rewardkit serve` can be told; profiles
    launch.py         starts, waits for and ends a server (`rewardkit serve`, tests, quickstart)
    engine.py         vLLM's command line, environment and process
    reaper.py         runs the engine so that it never outlives who started it

Left out so far: adapters beside the base model, generative and implicit models, images.
"""
