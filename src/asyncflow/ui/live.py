"""Progress in a terminal: a bar for each step at the bottom, the steps' output above it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from asyncflow.events import EventsDropped, TaskFailed, TaskLog, TaskSucceeded
from asyncflow.ui.lines import Lines, troubles
from asyncflow.ui.tally import Tally
from asyncflow.ui.text import count, counted, duration, plain, rate
from asyncflow.ui.view import Backlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import IO

    from rich.console import ConsoleOptions, RenderResult

    from asyncflow.events import RunId, StreamItem
    from asyncflow.graph import FlowGraph
    from asyncflow.ui.output import Output
    from asyncflow.ui.tally import Row

FAILURES = 100
"""So many failures of a step have a line; the bar counts them all."""
LINES_A_FRAME = 256 << 10
"""Characters of output shown in one frame: more than anybody reads, and no more than a terminal draws in time."""
BAR = 30
"""Cells of a bar at most; it gives way to the numbers."""
_COLUMNS: tuple[tuple[JustifyMethod, int], ...] = (
    ("right", 7),  # done of all
    ("left", 9),  # running
    ("left", 0),  # failed
    ("right", 6),  # rate
    ("right", 8),  # time left
)
"""Least widths of the columns beside a step's name and bar, so that the numbers stand still."""


def can_draw(output: Output) -> bool:
    """Whether ``output`` is a terminal that can move its cursor."""
    return output.is_terminal and not Console(file=cast("IO[str]", _Screen(output))).is_dumb_terminal


class LiveView:
    """Draws on ``output``, a terminal, eight times a second."""

    period = 1 / 8
    idle = 0.5
    full = False
    tells_the_end = True

    def __init__(self, run_id: RunId, graph: FlowGraph, output: Output) -> None:
        self.tally = Tally(graph)
        screen = cast("IO[str]", _Screen(output))
        self._console = Console(file=screen, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._lines = Lines(run_id, self.tally, colour=not self._console.no_color)
        self._run_id = run_id
        self._flow = graph.name
        self._backlog = Backlog(LINES_A_FRAME)
        self._failures: dict[str, int] = {}
        self._picture = _Picture()
        self._live: Live | None = None

    # -- on the event loop -----------------------------------------------------------------------------

    def take(self, item: StreamItem) -> None:
        match item:
            case TaskLog():
                self._backlog.add(self._lines.log(item))
                return  # counts nothing
            case TaskFailed():
                step = item.attempt.task.step
                self._failures[step] = self._failures.get(step, 0) + 1
                if self._failures[step] <= FAILURES:
                    again = self.tally.will_retry(item.attempt, item.failure)
                    self._backlog.add(self._lines.failed(item, again=again))
            case TaskSucceeded(caught=True):
                self._backlog.add(self._lines.caught(item))
            case EventsDropped():
                self._backlog.left_out += item.count
            case _:
                pass
        self.tally.take(item)

    def note(self, text: str) -> None:
        self._backlog.add(f"{plain(text)}\n")

    def frame(self, now: float, *, last: bool) -> Callable[[], None] | None:
        text, left_out = self._backlog.empty()
        if left_out:
            lines = counted(left_out, "line")
            text += self._lines.remark(now, f"… {lines} not shown here; asyncflow logs has them all.")
        rows = self.tally.rows(now)
        title = self._title(rows, now)
        return partial(self._draw, text, rows, title, last=last)

    def _title(self, rows: Sequence[Row], now: float) -> str:
        tally = self.tally
        state = "stopping" if tally.cancelling else "running"
        if tally.finished is not None:
            state, now = tally.finished.state.value, tally.finished.at
        took = f" {duration(now - tally.started_at)}" if tally.started_at is not None else ""
        done = counted(sum(row.done for row in rows), "task")
        more = "" if not tally.dropped else " or more"
        return f"{self._flow}/{self._run_id} {state}{took}, {done}{more} done"

    # -- in a thread -----------------------------------------------------------------------------------

    def _draw(self, text: str, rows: Sequence[Row], title: str, *, last: bool) -> None:
        room = None if last else self._console.size.height - 3
        self._picture.now = _table(rows if room is None else visible(rows, room), len(rows), title)
        if self._live is None:
            self._live = Live(
                self._picture,
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
        self._live.vertical_overflow = "visible" if last else "crop"
        if text:
            self._console.print(_Raw(text), soft_wrap=True, end="")
        else:
            self._live.refresh()

    def close(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


class _Screen:
    """The file that rich writes to. A terminal that goes away is no error here: the run is worth more."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.encoding = output.encoding

    def write(self, text: str) -> int:
        self._output.write(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self._output.is_terminal


class _Picture:
    """Whatever is to be seen at the bottom now."""

    def __init__(self) -> None:
        self.now = Table.grid()

    def __rich__(self) -> Table:
        return self.now


class _Raw:
    """Text whose colours are escape sequences already: rich must neither read nor wrap it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


def visible(rows: Sequence[Row], room: int) -> list[Row]:
    """As many rows as there is room for, in their order: those under way first, then the next, then the last done."""
    if len(rows) <= room:
        return list(rows)
    active = [row for row in rows if row.running or (row.ended and not row.complete)]
    ahead = [row for row in rows if not row.running and not row.ended]
    behind = [row for row in reversed(rows) if row not in active and row not in ahead]
    chosen = {row.name for row in [*active, *ahead, *behind][: max(room, 1)]}
    return [row for row in rows if row.name in chosen]


def _table(rows: Iterable[Row], steps: int, title: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(min_width=4, max_width=BAR)
    for justify, width in _COLUMNS:
        table.add_column(justify=justify, min_width=width, no_wrap=True)
    shown = 0
    for row in rows:
        shown += 1
        table.add_row(*_cells(row))
    frame = Table.grid()
    frame.add_row(table)
    if shown < steps:
        frame.add_row(Text(f"… and {counted(steps - shown, 'more step')}", style="dim"))
    frame.add_row(Text(title, style="bold"))
    return frame


def _cells(row: Row) -> tuple[Text | ProgressBar, ...]:
    total = row.total
    bar = ProgressBar(total=total or 1, completed=row.ended, finished_style=_finished_style(row))
    return (
        Text(row.name),
        bar,
        Text(f"{count(row.done)}/{count(total)}" if total is not None else count(row.done)),
        Text(f"{count(row.running)} running" if row.running else "", style="cyan"),
        Text(troubles(row), style="red"),
        Text(rate(row.rate) if row.rate is not None else "", style="dim"),
        Text(f"{duration(row.left)} left" if row.left and not row.complete else "", style="dim"),
    )


def _finished_style(row: Row) -> str:
    return "bar.finished" if not row.failed and not row.cancelled else "red"
