"""Metrics: declared once with a meaning, reported per role, merged into one page."""

import re

import msgspec
import pytest
from prometheus_client.metrics_core import Metric

from collector import telemetry
from collector.console.exposition import exposition
from collector.samples import Family, Sample, Telemetry
from collector.telemetry import set_total


def families(role: str) -> dict[str, Family]:
    """A role's report by metric."""
    return {family.name: family for family in Telemetry(role).families()}


@pytest.mark.parametrize("metric", list(telemetry.declared()), ids=lambda metric: metric.name)
def test_every_metric_has_a_name_with_its_role_and_a_meaning(metric: Metric) -> None:
    """`tidewaiter_<role>_<what>`, and a sentence."""
    assert re.fullmatch(r"tidewaiter_(intake|worker|console|supervisor|watcher|process)_[a-z_]+", metric.name)
    assert metric.documentation.endswith(".")


def test_a_role_reports_nothing_of_another() -> None:
    """The worker's report holds its own metrics and those of its process."""
    prefixes = {name.split("_")[1] for name in families("worker")}

    assert {"worker", "process"} == prefixes


def test_metrics_are_brought_up_to_date_before_a_report() -> None:
    """What a hot path counts in plain numbers is read once per report."""
    own = Telemetry("intake")
    own.before_report(lambda: telemetry.JOURNAL_DISK.set(42))

    found = {family.name: family.samples for family in own.families()}

    assert [Sample("tidewaiter_intake_journal_disk_bytes", {}, 42.0)] == found["tidewaiter_intake_journal_disk_bytes"]


def test_a_counter_follows_a_total_counted_elsewhere() -> None:
    """set_total sets, it does not add."""
    counter = telemetry.INPUT_MESSAGES.labels(input="test_total")

    set_total(counter, 5)
    set_total(counter, 7)

    (sample,) = [
        s for s in families("intake")["tidewaiter_intake_messages"].samples if s.labels["input"] == "test_total"
    ]
    assert 7.0 == sample.value


def test_a_report_survives_the_control_channel() -> None:
    """Samples are the same after JSON and back, histograms with their buckets too."""
    telemetry.JOURNAL_SYNC_DURATION.observe(0.003)
    report = Telemetry("intake").families()

    assert report == msgspec.json.decode(msgspec.json.encode(report), type=list[Family])


def test_reports_of_all_roles_become_one_page() -> None:
    """One HELP and TYPE per metric, samples of every process told apart by role."""
    reports = [Telemetry(role).families() for role in ("intake", "worker", "supervisor")]

    page = exposition(reports).decode()

    assert 1 == page.count("# TYPE tidewaiter_process_cpu_seconds_total counter\n")
    roles = re.findall(r'^tidewaiter_process_cpu_seconds_total\{role="(\w+)"\}', page, re.MULTILINE)
    assert {"intake", "supervisor", "worker"} <= set(roles)
    assert 'tidewaiter_intake_journal_sync_duration_seconds_bucket{le="+Inf"}' in page


def test_what_is_not_declared_is_left_out_of_the_page() -> None:
    """A report from another version cannot bring a metric without a meaning."""
    page = exposition([[Family("unheard_of", [Sample("unheard_of", {}, 1.0)])]])

    assert b"" == page


def test_a_label_cannot_forge_a_line_of_the_page() -> None:
    """Quotes and line breaks in a label's value are escaped."""
    telemetry.OUTPUT_FAILURES.labels(output='a"} 9\nforged 1').inc()

    page = exposition([Telemetry("worker").families()]).decode()

    assert [] == [line for line in page.splitlines() if line.startswith("forged")]
