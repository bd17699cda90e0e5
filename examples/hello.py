"""The smallest flow: three steps, one artifact.

asyncflow run examples/hello.py
asyncflow run examples/hello.py --name Ada
asyncflow show examples/hello.py
"""

from asyncflow import FlowSpec, Parameter, step


class HelloFlow(FlowSpec):
    """Greets somebody."""

    name_to_greet = Parameter("name", default="world", help="Who is greeted")

    @step
    def start(self):
        print("Getting ready.")
        self.next(self.hello)

    @step
    def hello(self):
        """What a step assigns to self is an artifact: kept, and there in every later step."""
        self.greeting = f"Hello, {self.name_to_greet}!"
        self.next(self.end)

    @step
    def end(self):
        print(self.greeting)


if __name__ == "__main__":
    HelloFlow()
