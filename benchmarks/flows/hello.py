"""Three steps that do next to nothing: what starting a run costs."""

from asyncflow import FlowSpec, step


class HelloFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.middle)

    @step
    def middle(self):
        self.greeting = "hello"
        self.next(self.end)

    @step
    def end(self):
        assert self.greeting == "hello"


if __name__ == "__main__":
    HelloFlow()
