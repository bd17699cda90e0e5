"""Event streams: slow readers, late readers, readers that leave."""

from __future__ import annotations

import asyncio

from asyncflow.engine.stream import Broadcast, Subscription
from asyncflow.events import EventsDropped, LimitChanged, RunFinished, RunState

FINISHED = RunFinished("1", RunState.SUCCEEDED, 1.0)


def changed(limit):
    return LimitChanged("local", limit)


def test_a_slow_reader_is_told_how_much_it_missed_and_gets_the_end():
    async def main():
        reader = Subscription(logs=True, room=2)
        for item in (changed(1), changed(2), changed(3), FINISHED):
            reader.push(item)
        return [item async for item in reader]

    assert asyncio.run(main()) == [EventsDropped(2), changed(3), FINISHED]


def test_a_late_reader_gets_the_end():
    async def main():
        stream = Broadcast()
        stream.publish(changed(1))
        stream.publish(FINISHED)
        stream.end()
        return [item async for item in stream.subscribe(logs=True)]

    assert asyncio.run(main()) == [FINISHED]


def test_nothing_is_kept_for_a_reader_that_broke_off():
    async def main():
        stream = Broadcast()
        reader = stream.subscribe(logs=True)
        stream.publish(changed(1))
        items = reader.__aiter__()
        assert await anext(items) == changed(1)
        await items.aclose()
        stream.publish(changed(2))
        assert [item async for item in items] == []
        assert not reader._items

    asyncio.run(main())
