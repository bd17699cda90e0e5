"""A fan-out whose items square a number and keep it, and a join that sums the squares: what a task costs."""

from asyncflow import FlowSpec, Parameter, step


class SquaresFlow(FlowSpec):
    n = Parameter("n", default=10, help="How many items")

    @step
    def start(self):
        self.numbers = list(range(self.n))
        self.next(self.square, foreach="numbers")

    @step
    def square(self):
        self.squared = self.input * self.input
        self.next(self.total)

    @step
    def total(self, inputs):
        self.sum = sum(item.squared for item in inputs)
        self.next(self.end)

    @step
    def end(self):
        assert self.sum == (self.n - 1) * self.n * (2 * self.n - 1) // 6


if __name__ == "__main__":
    SquaresFlow()
