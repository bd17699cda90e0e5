"""One run in its event loop: started, shown, stopped by signals, its end reported."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from asyncflow._version import __version__
from asyncflow.cli.reports import FAILED, debugging, report, report_bug, task_failure
from asyncflow.cli.signals import OUTPUT_PATIENCE, Stopper
from asyncflow.errors import RunFailed
from asyncflow.events import RunState
from asyncflow.executors import launch
from asyncflow.ui.output import say
from asyncflow.ui.show import show
from asyncflow.ui.text import count, counted, duration, plain

if TYPE_CHECKING:
    from asyncflow.cli.options import RunOptions
    from asyncflow.cli.runidfile import RunIdFile
    from asyncflow.cli.running import Request
    from asyncflow.engine.runner import Engine, RunHandle
    from asyncflow.ui.output import Output
    from asyncflow.ui.view import View


async def drive(
    engine: Engine, request: Request, checks: str, output: Output, run_id_file: RunIdFile | None = None
) -> int:
    """Run ``request`` to its end; returns the exit code. Ends the process where a thread hangs in the output."""
    try:
        code = await _drive(engine, request, checks, output, run_id_file)
    except Exception as error:
        if not output.abandoned:
            raise
        code = report(error)
    if output.abandoned:
        launch.dismiss()
        os._exit(code)  # else Python waits for the thread
    return code


async def _drive(engine: Engine, request: Request, checks: str, output: Output, run_id_file: RunIdFile | None) -> int:
    options = request.options
    stopper = Stopper(lambda number: _end_at_once(output, number))
    with stopper.listening():
        async with engine.start(**request.values) as handle:
            if run_id_file is not None:
                run_id_file.write(handle.run_id)
            view = _view(engine, handle, options, output)
            if not options.quiet and not options.json:
                say(_banner(engine, handle, checks))
            stopper.attach(handle, view, lambda: len(view.tally.running))
            trouble = await show(handle.events(), view, watch=_unread(stopper, handle, output))
            failed = await _failure(handle, view)
    if trouble is not None:
        report_bug(trouble)
    if output.error is not None and not isinstance(output.error, BrokenPipeError):
        say(f"The output couldn't be written to its end: {output.error.strerror}. `asyncflow logs` has it all.")
    return _conclude(handle, view, options, failed)


async def _unread(stopper: Stopper, handle: RunHandle, output: Output) -> None:
    """Until the run is over, a stop was asked for, and nobody reads the output; it has been abandoned then."""
    await stopper.again(0)
    # Waited for in a task of its own: what cancels a waiter cancels the run.
    over = asyncio.create_task(handle.result())
    over.add_done_callback(lambda each: each.cancelled() or each.exception())
    await asyncio.wait([over])
    times, written = stopper.times, -1
    while stopper.times == times and output.written != written:
        written = output.written
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_PATIENCE if times == 1 else OUTPUT_PATIENCE / 4):
                await stopper.again(times)
    output.abandon()


async def _failure(handle: RunHandle, view: View) -> RunFailed | None:
    """Raises what ended the run without an end: a store that can't be written, a bug."""
    finished = view.tally.finished
    if finished is not None and finished.state is RunState.SUCCEEDED:
        return None  # and nobody asks for the client's Run, nor waits for its import
    try:
        await handle.result()
    except RunFailed as error:
        return error
    except Exception:
        say(f"Run {handle.pathspec} couldn't go on.")
        raise
    return None


def _view(engine: Engine, handle: RunHandle, options: RunOptions, output: Output) -> View:
    graph = engine.graph
    if options.json:
        from asyncflow.ui.jsonlines import JsonView

        return JsonView(handle.pathspec, graph, output)
    # A debugger in a step of the inline executor needs the terminal for itself.
    if not options.quiet and options.executor != "inline" and output.is_terminal:
        from asyncflow.ui.live import LiveView, can_draw

        if can_draw(output):
            return LiveView(handle.run_id, graph, output)
    from asyncflow.ui.plain import PlainView

    return PlainView(handle.run_id, graph, output, quiet=options.quiet)


def _banner(engine: Engine, handle: RunHandle, checks: str) -> str:
    return f"asyncflow {__version__} runs {handle.pathspec} for {engine.namespace}. Checked: {checks}."


def _conclude(handle: RunHandle, view: View, options: RunOptions, failed: RunFailed | None) -> int:
    tally, pathspec = view.tally, handle.pathspec
    took = ""
    if tally.finished is not None and tally.started_at is not None:
        took = duration(tally.finished.at - tally.started_at)
    if failed is None:
        if not options.quiet and not view.tells_the_end:
            done = counted(sum(step.done for step in tally.steps.values()), "task")
            say(f"Run {pathspec} succeeded{f' in {took}' if took else ''}: {done}.")
        return 0
    finished = tally.finished
    first = finished.first_failure if finished is not None else None
    if first is not None:
        task = f"{pathspec}/{first.attempt.task.step}/{first.attempt.serial}"
        store = f" --store {options.store}" if options.store is not None else ""
        say("\n" + task_failure(task, first.failure, f"asyncflow logs {task}{store} --stderr") + "\n")
    elif finished is None or finished.state is not RunState.CANCELLED:
        say(f"{failed.headline}: {plain(failed.message)}")
    say(f"Run {pathspec} {_verdict(view)}{f' after {took}' if took else ''}: {_counts(view)}.")
    return FAILED


def _verdict(view: View) -> str:
    finished = view.tally.finished
    if finished is None or finished.state is not RunState.CANCELLED:
        return "failed"
    return f"was cancelled ({finished.reason})" if finished.reason else "was cancelled"


def _counts(view: View) -> str:
    steps = view.tally.steps.values()
    done, failed = sum(step.done for step in steps), sum(step.failed for step in steps)
    cancelled = sum(step.cancelled for step in steps)
    parts = [f"{counted(done, 'task')} done"]
    parts += [f"{count(number)} {word}" for number, word in ((failed, "failed"), (cancelled, "cancelled")) if number]
    return ", ".join(parts)


def _end_at_once(output: Output, number: signal.Signals) -> None:
    """Asked three times, or by SIGQUIT: the executor's own watch kills what is left of the workers."""
    output.show_cursor()
    if number is signal.SIGQUIT:  # as it ends a program that doesn't take it, with a core where those are kept
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    say("Ended at once.")
    if debugging():
        import faulthandler

        faulthandler.dump_traceback()
    os._exit(FAILED)
