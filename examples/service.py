"""Flows inside a web service: one event loop, one pool of warm workers, any number of runs at a time.

    python examples/service.py            then open http://127.0.0.1:8000 and press the button

    curl 'http://127.0.0.1:8000/ranking?airport=JFK'     waits for a run and answers with its result
    curl -N 'http://127.0.0.1:8000/live?airport=LGA'     the same run as server-sent events, while it goes on

The runs are those of examples/flights.py and land in the store like any other: `asyncflow list runs` shows them. Whoever
closes the page before its run has ended cancels it, and no worker goes on with it.
"""

import json
import sys
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route

from asyncflow import Engine, LocalExecutor
from asyncflow.errors import RunFailed, UsageError
from asyncflow.events import RunFinished, RunState, TaskSucceeded
from flights import FlightsFlow


@asynccontextmanager
async def lifespan(app):
    """The executor is opened once: its workers stay warm between runs, and all runs share its slots."""
    async with LocalExecutor() as executor:
        app.state.executor = executor
        yield


def engine_for(request):
    return Engine(FlightsFlow, executor=request.app.state.executor, tags=["service"])


def parameters_of(request):
    return {"airport": request.query_params.get("airport", "all")}


async def ranking(request):
    run = await engine_for(request).run(**parameters_of(request))
    return JSONResponse({"run": run.pathspec, "ranking": run.data.ranking})


async def live(request):
    return StreamingResponse(server_sent_events(request), media_type="text/event-stream")


async def server_sent_events(request):
    """One `progress` event for each task that is done, then one `ranking` or `failure`."""
    done, width = {}, {}
    async with engine_for(request).start(**parameters_of(request)) as run:
        async for event in run.events(logs=False):
            match event:
                case TaskSucceeded(attempt=attempt, next=after):
                    step = attempt.task.step
                    done[step] = done.get(step, 0) + 1
                    if after is not None:
                        width.update(dict.fromkeys(after.steps, after.width or 1))
                    yield sse("progress", {"step": step, "done": done[step], "of": width.get(step, 1)})
                case RunFinished(state=RunState.SUCCEEDED):
                    finished = await run.result()
                    yield sse("ranking", finished.data.ranking)
                case RunFinished(state=state, first_failure=first):
                    yield sse("failure", first.failure.message if first else state)


def sse(kind, content):
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"


async def refused(_request, error):
    return JSONResponse({"error": str(error)}, status_code=400)


async def failed(_request, error):
    return JSONResponse({"error": str(error), "run": error.pathspec}, status_code=422)


async def page(_request):
    return HTMLResponse(PAGE)


PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Who kept New York waiting?</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #223 }
  label { display: grid; grid-template-columns: 5rem 1fr 4rem; gap: 1rem; align-items: center }
  progress { width: 100%; height: .6rem }
  table { border-collapse: collapse; width: 100%; margin-top: 2rem }
  td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #dde }
  td:nth-child(2), th:nth-child(2) { text-align: left }
</style>
<h1>Who kept New York waiting?</h1>
<p>
  <select id="airport"><option value="all">all airports<option>EWR<option>JFK<option>LGA</select>
  <button id="go">Rank the airlines</button>
</p>
<div id="steps"></div>
<table id="table"></table>
<script>
  const $ = id => document.getElementById(id);
  $("go").onclick = () => {
    $("go").disabled = true;
    $("steps").replaceChildren();
    $("table").replaceChildren();
    const bars = {};
    const events = new EventSource("/live?airport=" + $("airport").value);
    const stop = () => { events.close(); $("go").disabled = false };
    events.addEventListener("progress", message => {
      const { step, done, of } = JSON.parse(message.data);
      if (!bars[step]) {
        bars[step] = document.createElement("label");
        bars[step].append(step, document.createElement("progress"), document.createElement("output"));
        $("steps").append(bars[step]);
      }
      Object.assign(bars[step].querySelector("progress"), { max: of, value: done });
      bars[step].querySelector("output").textContent = done + " / " + of;
    });
    events.addEventListener("ranking", message => {
      const rows = JSON.parse(message.data).map((a, i) =>
        [i + 1, a.airline, a.flights.toLocaleString(), (100 * a.late).toFixed(0) + " %", a.delay.toFixed(0) + " min"]);
      for (const row of [["", "airline", "flights", "late", "mean delay"], ...rows]) {
        const line = $("table").insertRow();
        for (const cell of row) line.insertCell().textContent = cell;
      }
      stop();
    });
    events.addEventListener("failure", message => { $("table").textContent = message.data; stop() });
    events.onerror = stop;
  };
</script>
"""

app = Starlette(
    routes=[Route("/", page), Route("/ranking", ranking), Route("/live", live)],
    exception_handlers={RunFailed: failed, UsageError: refused},
    lifespan=lifespan,
)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
