"""What each further signal does."""

import asyncio
import os
import signal

import pytest

from asyncflow.cli.signals import Stopper


class Run:
    """A run handle and a view that note what they are told."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.notes: list[str] = []

    def cancel(self, reason: str) -> None:
        self.cancelled.append(reason)

    def note(self, text: str) -> None:
        self.notes.append(text)


def told(*numbers: signal.Signals, running: int = 2) -> tuple[Run, int]:
    """Send ``numbers`` to this process while it listens; the run, and how often the last resort was taken."""
    run = Run()
    resorts: list[None] = []

    async def main() -> None:
        stopper = Stopper(lambda _: resorts.append(None))
        with stopper.listening():
            stopper.attach(run, run, lambda: running)
            for count, number in enumerate(numbers, 1):
                os.kill(os.getpid(), number)
                while len(run.notes) + len(resorts) < count:
                    await asyncio.sleep(0)
            assert stopper.asked

    asyncio.run(main())
    return run, len(resorts)


@pytest.mark.parametrize(
    ("number", "running", "note"),
    [
        (signal.SIGINT, 2, "Stopping 2 tasks… (Ctrl-C again to kill at once)"),
        (signal.SIGTERM, 1, "Stopping 1 task… (SIGTERM again to kill at once)"),
        (signal.SIGHUP, 0, "Stopping the run… (SIGHUP again to kill at once)"),
    ],
)
def test_the_first_one_stops_the_run_in_order(number: signal.Signals, running: int, note: str) -> None:
    run, resorts = told(number, running=running)

    assert run.cancelled == [number.name]
    assert run.notes == [note]
    assert resorts == 0


def test_the_second_one_kills_and_the_third_is_the_last_resort() -> None:
    run, resorts = told(signal.SIGINT, signal.SIGTERM, signal.SIGINT)

    assert run.cancelled == ["SIGINT", "SIGTERM"]
    assert run.notes[1] == "Killing what still runs."
    assert resorts == 1


def test_before_there_is_a_run_whoever_waits_is_cancelled() -> None:
    async def main() -> None:
        stopper = Stopper(lambda _: None)
        with stopper.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_under_nohup_the_end_of_the_terminal_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        async def main() -> None:
            with Stopper(lambda _: None).listening():
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

        asyncio.run(main())
    finally:
        signal.signal(signal.SIGHUP, before)
