"""Work that nobody waits for any more is stopped, on the real servers."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

ITEMS = [{"prompt": f"{i} " + "word " * 60, "steps": ["step " * 10] * 3} for i in range(900)]
LEAVES, LATE = "the client leaves", "its deadline passes"


def metric(text: str, name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(float(found[1]) for found in re.finditer(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("how", [LEAVES, LATE])
def test_work_that_nobody_waits_for_is_stopped_in_the_engine(served, how):
    async def run():
        headers = {"Authorization": f"Bearer {served.key}"}
        async with httpx.AsyncClient(base_url=served.root, headers=headers, trust_env=False, timeout=120) as http:

            async def seen(*names: str) -> list[float]:
                text = (await http.get("/metrics")).text
                return [metric(text, name) for name in names]

            (done,) = await seen("rewardkit_responses_total")
            deadline = {"X-Request-Timeout": "0.2"} if how == LATE else {}
            sent = asyncio.create_task(http.post("/v1/rewards", json={"input": ITEMS}, headers=deadline))
            while how == LEAVES and (await seen("rewardkit_pending_responses"))[0] < len(ITEMS):
                assert not sent.done(), "answered before the client could leave"
            if how == LEAVES:
                sent.cancel()
            answer = None if how == LEAVES else await sent
            busy = ("rewardkit_pending_responses", "vllm:num_requests_running", "vllm:num_requests_waiting")
            async with asyncio.timeout(60):
                while any(await seen(*busy)):
                    pass
            again = await http.post("/v1/rewards", json={"input": ITEMS[:1]})
            return answer, again, (await seen("rewardkit_responses_total"))[0] - done

    answer, again, scored = asyncio.run(run())
    assert again.status_code == 200
    assert scored == 1, "what nobody waited for was scored to its end"
    if how == LATE:
        assert answer.status_code == 504 and answer.json()["error"]["code"] == "timeout"
