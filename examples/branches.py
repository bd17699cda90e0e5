"""Two roads to pi: a static split, a join that merges, and a switch.

    asyncflow run examples/branches.py
    asyncflow run examples/branches.py --terms 1000000
    asyncflow output-dot examples/branches.py | dot -Tsvg > branches.svg

Both branches run at the same time. The join takes over what they agree about and puts what they don't side by side. With
few terms they are far apart, and the switch in `judge` leads through `refine`; with many it leads straight to `report`.
"""

import math

from asyncflow import FlowSpec, Parameter, step


class BranchesFlow(FlowSpec):
    """Estimates pi by two series and, if they disagree, refines the result."""

    terms = Parameter("terms", default=1_000, help="How many terms of each series are summed up")
    tolerance = Parameter("tolerance", default=1e-5, help="How far apart two estimates of pi may be")

    @step
    def start(self):
        self.question = "What is pi?"
        self.next(self.leibniz, self.wallis)

    @step
    def leibniz(self):
        """pi/4 = 1 - 1/3 + 1/5 - 1/7 ..."""
        self.estimate = 4 * math.fsum((-1) ** k / (2 * k + 1) for k in range(self.terms))
        self.next(self.compare)

    @step
    def wallis(self):
        """pi/2 = 2/1 * 2/3 * 4/3 * 4/5 ..."""
        self.estimate = 2 * math.prod(4 * k * k / (4 * k * k - 1) for k in range(1, self.terms + 1))
        self.next(self.compare)

    @step
    def compare(self, inputs):
        self.estimates = {"Leibniz": inputs.leibniz.estimate, "Wallis": inputs.wallis.estimate}
        # The branches differ about `estimate`; `question`, which both inherited, comes along.
        self.merge_artifacts(inputs, exclude=["estimate"])
        self.next(self.judge)

    @step
    def judge(self):
        low, high = sorted(self.estimates.values())
        self.best = (low + high) / 2
        self.verdict = "agree" if high - low <= self.tolerance else "differ"
        self.next({"agree": self.report, "differ": self.refine}, condition="verdict")

    @step
    def refine(self):
        """After n terms Leibniz is off by 1/n and Wallis by pi/4n, the second always below."""
        sign = 1 if self.terms % 2 else -1
        leibniz = self.estimates["Leibniz"] - sign / self.terms
        wallis = self.estimates["Wallis"] * (1 + 1 / (4 * self.terms))
        self.best = (leibniz + wallis) / 2
        self.next(self.report)

    @step
    def report(self):
        self.error = abs(self.best - math.pi)
        self.next(self.end)

    @step
    def end(self):
        print(self.question)
        for series, estimate in self.estimates.items():
            print(f"  {series:<8} {estimate:.10f}  after {self.terms:,} terms")
        print(f"  they {self.verdict}, so we say")
        print(f"  pi is    {self.best:.10f}  (off by {self.error:.1e})")


if __name__ == "__main__":
    BranchesFlow()
