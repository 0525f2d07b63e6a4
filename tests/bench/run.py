"""`make bench`: what the collector costs on the frozen corpus, in yardsticks, checked by count.

    python -m tests.bench.run [CASE …] [--events N] [--rounds K] [--json FILE] [--guard] [--write-baseline]

Each round runs every case once with a yardstick before and after, so that cases and rounds are interleaved; figures are
medians of the rounds. A yardstick is defined in `corpus.py`; a cost in yardsticks is comparable between machines.
The bench reports; only `--guard` fails, when the headline costs more than the committed baseline + 15 % in every round:
neighbours on a shared machine make a round dearer, nothing makes one cheaper. It ends with the first round that holds.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.bench.cases import ASKED_FOR, CASES, FLOODS
from tests.bench.collectors import Figures
from tests.bench.corpus import corpus, yardstick_body, yardstick_us
from tests.bench.format_cases import formats_table
from tests.bench.search_cases import rows as search_rows

BASELINE: Final = Path(__file__).with_name("baseline.json")
GUARDED_CASE: Final = "uncompressed"
GUARDED_FIGURE: Final = "all_yardsticks"
GUARD_MARGIN: Final = 1.15
COSTS: Final = ("intake", "worker", "rest", "all")

ROWS: Final = (
    ("intake, µs", "intake_us", ".2f"),
    ("worker, µs", "worker_us", ".2f"),
    ("supervisor and console, µs", "rest_us", ".2f"),
    ("all, µs", "all_us", ".2f"),
    ("one yardstick, µs", "yardstick_us", ".2f"),
    ("intake, yardsticks", "intake_yardsticks", ".2f"),
    ("worker, yardsticks", "worker_yardsticks", ".2f"),
    ("[bold]all, yardsticks[/]", "all_yardsticks", ".2f"),
    ("acknowledged, events/s", "acked_per_s", ",.0f"),
    ("delivered, events/s", "events_per_s", ",.0f"),
    ("peak memory (sum of PSS), MiB", "pss_mib", ",.0f"),
    ("documents, checked by count", "events", ",.0f"),
)
"""The figures shown: title, name, format."""

JOURNAL_ROWS: Final = {
    "append": (
        ("append, groups of messages of 800 KB", "{append_mb_s:,.0f} MB/s", ""),
        ("the same groups written and synced in a plain loop", "{plain_mb_s:,.0f} MB/s", ""),
        ("append against the plain loop", "{append_share:.0%}", "60 %"),
    ),
    "read": (
        ("follow, a core", "{read_mb_s:,.0f} MB/s", "1,000 MB/s"),
        ("verify, a core", "{verify_mb_s:,.0f} MB/s", "500 MB/s"),
    ),
    "ids": (("a million remembered chunk ids", "{ids_mb:.1f} MB", "40 MB"),),
    "behind": (
        ("delivered live", "{live_per_s:,.0f} events/s", ""),
        ("delivered by a worker that catches up", "{behind_per_s:,.0f} events/s", ""),
        ("catching up against live, on one core", "{behind_times:.2f} times", "1.1 times"),
        ("worker per event: live; catching up", "{live_worker_us:.2f}; {behind_worker_us:.2f} µs", ""),
    ),
    "hold": (
        ("intake's memory (PSS) while the journal fills, outputs stopped", "{hold_filling_mib:.0f} MiB", ""),
        ("the same when it was full, after {hold_full_after_s:.0f} s", "{hold_first_mib:.0f} MiB", ""),
        ("the same at the end; its peak", "{hold_last_mib:.0f}; {hold_peak_mib:.0f} MiB", "flat"),
    ),
    "search": tuple(search_rows()),
    "start": (
        ("opening {start_gib:.0f} GiB that a killed writer left", "{start_open_s:.2f} s", "1 s"),
        ("a whole collector on them, until it is ready", "{start_ready_s:.2f} s", ""),
    ),
}
"""By case: title, figure, what is asked."""

Results = dict[str, dict[str, float]]


def run_rounds(options: argparse.Namespace, console: Console) -> dict[str, list[Figures]]:
    """Run every case in every round; each run's costs also in yardsticks of that moment."""
    body = yardstick_body()
    runs: dict[str, list[Figures]] = {case: [] for case in options.cases}
    for number in range(1, options.rounds + 1):
        for case in options.cases:
            before = yardstick_us(body)
            figures = CASES[case](options)
            yardstick = mean((before, yardstick_us(body)))
            figures["yardstick_us"] = yardstick
            figures |= {
                f"{part}_yardsticks": figures[f"{part}_us"] / yardstick for part in COSTS if f"{part}_us" in figures
            }
            runs[case].append(figures)
            headline = figures.get("all_yardsticks")
            note = "" if headline is None else f": {headline:.2f} yardsticks per event"
            console.print(f"round {number} of {options.rounds}, {case}{note}", style="dim")
        if options.guard and guard(runs[GUARDED_CASE]) is None:
            break
    return runs


def medians(runs: dict[str, list[Figures]]) -> Results:
    """The median of every figure over the rounds."""
    return {case: {name: median(run[name] for run in rounds) for name in rounds[0]} for case, rounds in runs.items()}


def throughput_table(results: Results, runs: dict[str, list[Figures]]) -> Table:
    """The cases that carry the whole corpus, side by side.

    Beside the median stands the headline's lowest round: neighbours make a round dearer, nothing makes one cheaper.
    """
    cases = {case: figures for case, figures in results.items() if "all_us" in figures}
    table = Table(title="Per event: CPU time, user + system, of all the collector's processes")
    for heading in ("", *cases):
        table.add_column(heading, justify="right" if heading else "left")
    for title, name, shape in ROWS if cases else ():
        table.add_row(title, *(format(figures[name], shape) for figures in cases.values()))
        if name == GUARDED_FIGURE:
            lowest = (min(run[name] for run in runs[case]) for case in cases)
            table.add_row(f"{title}, lowest round", *(format(value, shape) for value in lowest))
    return table


def latency_table(results: Results) -> Table:
    """What a sender and an analyst wait for."""
    table = Table(title="Waiting")
    table.add_column("what")
    table.add_column("figure", justify="right")
    if acks := results.get("acks"):
        table.add_row("200 waiting senders: ack p50 / p99", f"{acks['p50_ms']:.2f} / {acks['p99_ms']:.2f} ms")
        table.add_row("200 waiting senders: lines/s each (mean)", f"{acks['lines_per_s_per_sender']:,.0f}")
        table.add_row("200 waiting senders: lines/s of the slowest", f"{acks['lines_per_s_slowest']:,.0f}")
        table.add_row("200 waiting senders: intake CPU per line", f"{acks['intake_us']:.2f} µs")
        table.add_row("one sender alone: lines/s", f"{acks['alone_lines_per_s']:,.0f}")
        table.add_row("one sender alone: ack p50 / p99", f"{acks['alone_p50_ms']:.2f} / {acks['alone_p99_ms']:.2f} ms")
    if fairness := results.get("fairness"):
        for shape in FLOODS:
            for title, part in (("median", "p50_ms"), ("p99", "p99_ms")):
                alone, neighbour, flood = (
                    fairness[f"{shape}_{name}_{part}"] for name in ("alone", "neighbour", "flood")
                )
                figure = f"{alone:.1f} / {neighbour:.1f} / {flood:.1f} ms"
                table.add_row(f"20 quiet peers, ack {title}: alone / busy neighbour / flood of {shape}", figure)
    if first := results.get("first"):
        table.add_row("start to ready", f"{first['ready_s']:.2f} s")
        table.add_row("first message sent to acknowledged", f"{first['acked_ms']:.1f} ms")
        table.add_row("first message sent to found by `tidewaiter search`", f"{first['found_s']:.2f} s")
    return table


def journal_table(results: Results) -> Table:
    """What the journal does, and what is asked of it."""
    table = Table(title="Journal and store")
    for heading, justify in (("what", "left"), ("figure", "right"), ("asked", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for case, rows in JOURNAL_ROWS.items():
        for title, shape, asked in rows if case in results else ():
            table.add_row(title.format(**results[case]), shape.format(**results[case]), asked)
    return table


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def guard(rounds: Sequence[Figures]) -> str | None:
    """Why the headline is too dear compared with the committed baseline, in every round; None when it is not."""
    baseline = json.loads(BASELINE.read_text())["results"][GUARDED_CASE][GUARDED_FIGURE]
    limit, cost = baseline * GUARD_MARGIN, min(figures[GUARDED_FIGURE] for figures in rounds)
    if cost <= limit:
        return None
    return f"{GUARDED_CASE}: {cost:.3f} yardsticks per event, limit {limit:.3f} (baseline {baseline:.3f} + 15 %)"


def arguments() -> argparse.Namespace:
    """The command line; `cases` in the order of CASES."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help=f"of {', '.join(CASES)}; default: all but {', '.join(sorted(ASKED_FOR))}",
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="events per run of a throughput case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the case `hold` floods")
    parser.add_argument("--gib", type=float, default=20.0, help="how much the case `start` starts behind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write medians and single runs as JSON")
    parser.add_argument("--pin", action="store_true", help="collector on core 0, load generator and sink on core 1")
    parser.add_argument("--check", action="store_true", help="the sink looks at every id and document (slower)")
    parser.add_argument("--guard", action="store_true", help="exit 1 when the headline passes the baseline + 15 %%")
    parser.add_argument("--write-baseline", action="store_true", help="make these medians the committed baseline")
    options = parser.parse_args()
    unknown = [case for case in options.cases if case not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]}; there are {', '.join(CASES)}")
    if options.guard and options.cases and GUARDED_CASE not in options.cases:
        parser.error(f"--guard needs the case {GUARDED_CASE}")
    options.cases = [case for case in CASES if case in (options.cases or CASES.keys() - ASKED_FOR)]
    return options


def main() -> int:
    """Run the bench; return the exit code."""
    options = arguments()
    console = Console()
    corpus("pf.bin")
    runs = run_rounds(options, console)
    results = medians(runs)
    for table in (throughput_table(results, runs), latency_table(results), journal_table(results)):
        if table.row_count:
            console.print(table)
    if "formats" in results:
        console.print(formats_table(results["formats"]))
    report = {"machine": machine(), "rounds": options.rounds, "results": results}
    if options.json:
        options.json.write_text(json.dumps({**report, "runs": runs}, indent=2) + "\n")
    if options.write_baseline:
        rounded = {case: {name: round(value, 3) for name, value in found.items()} for case, found in results.items()}
        BASELINE.write_text(json.dumps({**report, "results": rounded}, indent=2) + "\n")
    if options.guard and (reason := guard(runs[GUARDED_CASE])) is not None:
        console.print(f"[red]guard:[/] {reason}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
