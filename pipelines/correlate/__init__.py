"""Correlations on the stream of matches: events of one group, within a timespan of event time.

    Match, tick --engine.py--> [Alert, Pressure]

- `match.py`: what comes in and what goes out; `fields.py`: what a match takes along of its document.
- `plan.py`: a correlation made ready: how its events are kept as rows of bytes, what is counted in a window of them.
- `sliding.py`: correlations that further events can only make truer; they alert with the event that completes a window.
- `closing.py`: the others; they are judged when their window has closed.
- `compact.py`: which rows no window to come can need; what stands for rows beyond the limits.
- `keys.py`: the groups of one correlation, bounded by bytes; `engine.py`: all of it, and its encoded state.

Time is event time, clamped for each correlation to [journal time - lateness, journal time]; the watermark is journal
time - lateness. So no date that a line claims switches anything off, and what lies before the watermark is final: the
events of a window are the same in whatever order they came. Journal time never goes back, nothing reads a clock, and
windows close in the order of their ends whether ticks come often or seldom. The state is a pure function of the matches
and ticks: written down anywhere, read again and gone on with, it gives the same alerts.

**Sliding** (`event_count`, `value_count`, `value_sum`, `temporal`, `temporal_ordered` with `gt` or `gte`, conditions
over rules without `not`): an event completes the correlation where the window of one timespan that ends with it, both
ends included, holds what is asked for. Each such event goes to `temporal` correlations that name this one. An alert is
made for the first; for one timespan behind it the group is quiet, and the next alert says how many events came then.
Other correlations that name this one count its alerts. Events of the same time count as being in order.

**At close** (`lt`, `lte`, `eq`, `neq`, and so ranges; `value_avg`, `value_median`, `value_percentile`; conditions with
`not`): a window begins with the first event that no window before has, lasts one timespan, both ends included, and is
judged when the watermark has passed its end, once. An event of a rule that the condition only forbids begins no window.
"""
