"""One flow for each shape of graph."""

from __future__ import annotations

import sys

from asyncflow import FlowSpec, Parameter, step


class LinearFlow(FlowSpec):
    """Three steps in a row."""

    alpha = Parameter("alpha", default=2, type=int, help="what to multiply by")
    greeting = "hello"

    @step
    def start(self):
        self.x = 20
        self.next(self.middle)

    @step
    def middle(self):
        self.y = self.x * self.alpha
        self.next(self.end)

    @step
    def end(self):
        print(f"{self.greeting} {self.y}")


class SquaresFlow(FlowSpec):
    """A fan-out over ``n`` numbers, and the join that sums them."""

    n = Parameter("n", default=10, type=int)

    @step
    def start(self):
        self.numbers = list(range(self.n))
        self.next(self.work, foreach="numbers")

    @step
    def work(self):
        self.square = self.input * self.input
        self.next(self.join)

    @step
    def join(self, inputs):
        self.squares = [task.square for task in inputs]
        self.total = sum(self.squares)
        self.next(self.end)

    @step
    def end(self):
        assert self.total == sum(i * i for i in range(self.n))


class NestedFlow(FlowSpec):
    """A fan-out inside a fan-out."""

    @step
    def start(self):
        self.outer = ["a", "b", "c"]
        self.next(self.middle, foreach="outer")

    @step
    def middle(self):
        self.letter = self.input
        self.inner = [1, 2]
        self.next(self.leaf, foreach="inner")

    @step
    def leaf(self):
        self.word = f"{self.letter}{self.input}"
        self.stack = [(index, width, item) for index, width, item in self.foreach_stack()]
        self.next(self.inner_join)

    @step
    def inner_join(self, inputs):
        self.words = [task.word for task in inputs]
        self.stacks = [task.stack for task in inputs]
        self.next(self.outer_join)

    @step
    def outer_join(self, inputs):
        self.words = [word for task in inputs for word in task.words]
        self.stacks = [stack for task in inputs for stack in task.stacks]
        self.next(self.end)

    @step
    def end(self):
        pass


class BranchFlow(FlowSpec):
    """A static split with inherited and merged artifacts."""

    @step
    def start(self):
        self.common = {"k": 1}
        self.next(self.left, self.right)

    @step
    def left(self):
        self.only_left = "l"
        self.side = "left"
        self.next(self.join)

    @step
    def right(self):
        self.only_right = "r"
        self.side = "right"
        self.next(self.join)

    @step
    def join(self, inputs):
        self.sides = [task.side for task in inputs]
        self.by_name = (inputs.left.side, inputs.right.side)
        self.merge_artifacts(inputs, exclude=["side"])
        self.next(self.end)

    @step
    def end(self):
        pass


class SwitchFlow(FlowSpec):
    """A switch whose paths meet again in an ordinary step."""

    way = Parameter("way", default="fast")

    @step
    def start(self):
        self.choice = self.way
        self.next({"fast": self.quick, "slow": self.careful}, condition="choice")

    @step
    def quick(self):
        self.took = "quick"
        self.next(self.end)

    @step
    def careful(self):
        self.took = "careful"
        self.next(self.end)

    @step
    def end(self):
        pass


class CountdownFlow(FlowSpec):
    """A recursive step."""

    n = Parameter("n", default=4, type=int)

    @step
    def start(self):
        self.left = self.n
        self.seen = []
        self.next(self.tick)

    @step
    def tick(self):
        self.seen.append(self.left)
        self.left -= 1
        self.again = "yes" if self.left else "no"
        self.next({"yes": self.tick, "no": self.end}, condition="again")

    @step
    def end(self):
        pass


class TalkingFlow(FlowSpec):
    """A fan-out whose tasks print to both streams."""

    n = Parameter("n", default=10, type=int)

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    @step
    def work(self):
        print("out", self.input)
        print("err", self.input, file=sys.stderr)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
