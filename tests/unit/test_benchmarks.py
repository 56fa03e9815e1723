"""The benchmarks: that they run, what they say about results."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks import __main__ as command
from benchmarks import measure, peers, report, saving
from benchmarks.bench import KEYS, Bench
from benchmarks.cases import CASES, SEPARATE_CASES, growth, redis, throughput
from benchmarks.cases.memcached import commands
from benchmarks.measure import Contender, Figure
from benchmarks.peers import BASELINE, CONTROL, OURS
from benchmarks.peers.webapp2_peer import our_site
from benchmarks.pictures import picture
from benchmarks.results import Row, Table
from benchmarks.serving import BARE
from benchmarks.sites import Site, WrongAnswer
from benchmarks.visiting import Visitor, visit
from support.entries import entries_of
from support.servers import Memcached, Redis

TESTS = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as `make bench` runs it."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *arguments],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


TABLE = Table(
    "cookie",
    "A request",
    "µs",
    ["read + modify", "read only"],
    [
        Row(BASELINE, [Figure(50.0, 1.0, 1.0, 1.0), Figure(32.04, 1.0, 1.0, 1.0)]),
        Row(CONTROL, [Figure(51.0, 1.02, 0.99, 1.04), Figure(31.0, 0.97, 0.95, 1.0)]),
        Row(OURS, [Figure(20.0, 0.4, 0.38, 0.43), Figure(12.0, 0.375, 0.37, 0.38)]),
        Row("A <peer> & more", [Figure(75.0, 1.5, 1.4, 1.6), None], "sets it on reads"),
    ],
    ["A line below."],
)

GROWTH = Table(
    "growth",
    "By size",
    "µs",
    ["1 key", "400 keys"],
    [Row(BASELINE, [Figure(10.0), Figure(90.0)]), Row(OURS, [Figure(5.0), Figure(80.0)])],
    is_growth=True,
)


def test_the_command_prints_its_tables() -> None:
    """A short run of two cases, with all libraries that are installed."""
    done = run("benchmarks", "--seconds", "0", "--case", "cookie", "--case", "codec")
    assert (done.returncode, done.stderr) == (0, "")
    tables = [line.partition(":")[0] for line in done.stdout.splitlines() if "(µs: ratio)" in line]
    rows = [line.partition("  ")[0] for line in done.stdout.splitlines()]
    assert tables == ["cookie", "codec"]
    assert [rows.count(name) for name in (BASELINE, CONTROL, OURS)] == [2, 2, 2]
    assert "Noise: " in done.stdout


@pytest.mark.usefixtures("memcached", "redis_server")
def test_redis_is_measured_beside_memcached() -> None:
    """With all libraries that are installed, each on the same server."""
    done = run("benchmarks", "--seconds", "0", "--case", "redis")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("  ") for line in done.stdout.splitlines() if ": " in line and "  " in line]
    asked = {row[0]: row[-1] for row in rows}
    assert list(asked)[:3] == [redis.BASELINE, redis.CONTROL, OURS]
    assert asked[OURS] == "1 get + 1 set / 1 get"
    assert asked["Django cache"] == "2 get + 1 set / 1 get"  # its library is there for other tests


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command saves of a run that is none, without another library."""
    saved: list[Any] = []
    monkeypatch.setattr(command, "save", lambda *values: saved.append(values))
    monkeypatch.setattr(command, "stop_servers_when_ended", lambda: None)
    monkeypatch.setattr(command, "_run", lambda *_: ([TABLE], []))
    monkeypatch.setattr(peers, "MODULES", (peers.WEBAPP2,))
    return saved


@pytest.mark.parametrize("option", [["--case", "idle"], ["--case", "redis"], ["--alone"]])
def test_parts_are_not_saved(
    saved: list[Any], option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The documentation has all cases and all libraries from one run."""
    with pytest.raises(SystemExit):
        command.main(["--save", *option])
    assert "--save needs all cases and all libraries" in capsys.readouterr().err
    assert saved == []


@pytest.mark.parametrize(("left_out", "code"), [(["left out: one"], 1), ([], 0)])
def test_nothing_is_saved_when_something_was_left_out(
    saved: list[Any], left_out: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_run", lambda *_: ([TABLE], left_out))
    assert (command.main(["--save"]), len(saved)) == (code, 1 - code)


def test_requests_a_second_are_saved_apart(
    saved: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documentation has them from a run of their own, which needs no other libraries."""
    monkeypatch.setattr(peers, "MODULES", (peers.WEBAPP2, "absent_peer"))
    assert command.main(["--save", "--case", "throughput"]) == 0
    [(tables, facts, section)] = saved
    assert (tables, section) == ([TABLE], saving.THROUGHPUT)
    assert {"gunicorn", "cryptography"} <= set(facts)


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MODULES", (peers.WEBAPP2, "absent_peer"))
    found = peers.Peers()
    assert [site.name for site in found.cookie_sites()] == [BASELINE, CONTROL, OURS]
    [line] = found.missing
    assert line.startswith("left out: absent (")


@pytest.mark.parametrize("case", ["idle", "import", "collector"])
def test_a_case_measures_both(case: str) -> None:
    """Those that need no server, and no other library."""
    with Bench(0, everybody=False) as bench:
        table = CASES[case](bench)
    assert table.key == case
    assert {BASELINE, OURS} <= {row.name for row in table.rows}
    if case != "collector":
        assert table.notes == [f"{OURS} has imported no library of a backend."]


# What is measured


def test_requests_a_second_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In short rounds, on a real server; a site whose server is missing is left out."""
    monkeypatch.setattr(Memcached, "missing", classmethod(lambda cls: "it is not installed"))
    absent = throughput.Served("stored", "memcache", cache=True)
    with Bench(0, everybody=False) as bench:
        samples = throughput.measure(bench, [*throughput.COOKIE_SITES, absent], 0.01)
        assert bench.peers.missing == ["left out: stored (it is not installed)"]
    names = [site.name for site in throughput.COOKIE_SITES]
    assert {column: list(own) for column, own in samples.items()} == {
        "read only": names,
        "read + modify": names,
    }
    for own in samples.values():
        for rates in own.values():
            assert len(rates) == measure.PARTS
            assert all(rate > 0 for rate in rates)


def test_of_five_turns_the_best_counts() -> None:
    rates = [1.0, 5.0, 2.0, 3.0, 4.0, 6.0, 7.0]
    assert throughput.best({"site": rates}) == {"site": [5.0, 7.0]}


def test_a_lost_update_is_found_out() -> None:
    """A visitor knows what the counter has to be."""
    server = throughput.OneWorker({"bare": {"backend": BARE, "config": {}}}, workers=1, threads=1)
    with Bench(0, everybody=False) as bench:
        bench.start(server)
        [visitor], answers, _ = visit(server.port, "/modify", [Visitor("bare", counts=False)], 0)
        assert (answers, visitor.count) == (1, 0)
        with pytest.raises(WrongAnswer, match="/modify answered b'0', not 1"):
            visit(server.port, "/modify", [Visitor("bare", counts=True)], 0)
        with pytest.raises(WrongAnswer, match=r"/other answered b'HTTP/1\.1 404"):
            visit(server.port, "/other", [Visitor("bare", counts=False)], 0)


def test_a_site_that_forgets_is_found_out() -> None:
    """Otherwise it would be the fastest."""
    [site] = [site for site in peers.Peers(everybody=False).cookie_sites() if site.name == OURS]
    with pytest.raises(WrongAnswer, match="no cookie was set"):
        Site("forgetful", site.bare, site.bare).checked(KEYS)
    with pytest.raises(WrongAnswer, match="without sessions it does not answer 0"):
        Site("same", site.app, site.app).checked(KEYS)
    with pytest.raises(WrongAnswer, match="/modify answered b'1', not '2'"):
        Site("stuck", stuck, site.bare).checked(KEYS)


def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A webapp that sets a cookie and keeps nothing."""
    start_response("200 OK", [("Set-Cookie", "session=1")])
    return [b"1"]


def test_a_request_asks_memcached_no_more_than_it_must(memcached: Memcached) -> None:
    """One get, and one set where the session was modified."""
    site = our_site("memcache", memcache={"servers": [memcached.address]})
    with entries_of(memcached) as entries:
        assert commands(site, entries) == "1 get + 1 set / 1 get"


def test_a_request_asks_redis_no_more_than_it_must(redis_server: Redis) -> None:
    """The same; and a site that asks nothing has none."""
    site = our_site("redis", redis={"url": redis_server.url})
    assert redis.commands(site, redis_server) == "1 get + 1 set / 1 get"
    assert redis.commands(our_site(), redis_server) == "none / none"


def test_the_bare_call_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that calls move on: 5 for the whole, of which 3 are for the bare one."""
    now = 0
    monkeypatch.setattr(measure.time, "process_time_ns", lambda: now)

    def taking(microseconds: int) -> Callable[[], object]:
        def call() -> None:
            nonlocal now
            now += 1000 * microseconds

        return call

    contenders = [Contender("plain", taking(4)), Contender("less", taking(5), taking(3))]
    samples = measure.measure(contenders, 0, random.Random(1))
    assert {name: set(own) for name, own in samples.items()} == {"plain": {4.0}, "less": {2.0}}


def test_figures_are_medians_and_ratios_of_medians() -> None:
    """With the least and the greatest ratio of five parts of the run."""
    samples = {"base": [10.0] * 10, "other": [5.0, 5.0, 4.0, 4.0, *[5.0] * 4, 8.0, 8.0]}
    assert measure.compare(samples, "base") == {
        "base": Figure(10.0, 1.0, 1.0, 1.0),
        "other": Figure(5.0, 0.5, 0.4, 0.8),
    }


def test_nothing_is_compared_with_a_baseline_that_is_not_above_zero() -> None:
    samples = {"base": [-1.0, 0.0, 1.0], "other": [5.0, 5.0, 5.0]}
    assert measure.compare(samples, "base")["other"] == Figure(5.0)


@pytest.mark.parametrize(
    ("values", "expected"), [([10, 20, 30], 0.0), ([10, 30, 30], 0.5), ([10, 10, 30], 0.5)]
)
def test_a_curve_is_compared_with_a_straight_line(values: Sequence[int], expected: float) -> None:
    """The largest distance from it, as a share."""
    assert growth.bend([1, 2, 3], values) == expected


# The report


def test_the_terminal_gets_ratios_and_their_spread() -> None:
    title, header, *lines = report.text(TABLE)
    assert title == "cookie: A request (µs: ratio)"
    assert header.split() == ["read", "+", "modify", "read", "only"]
    figures = "20.0: 0.40 (0.38-0.43) 12.0: 0.38 (0.37-0.38)"
    assert lines[2].split() == [OURS, *figures.split()]
    assert lines[3].endswith("-  sets it on reads")
    assert lines[-1] == "A line below."


def test_the_noise_is_that_of_the_control() -> None:
    """The largest distance from 1, in any column."""
    assert report.noise([TABLE]) == pytest.approx(0.03)
    assert report.noise_line([TABLE]).endswith("was 3% off at most.")
    assert report.noise([GROWTH]) is None


@pytest.mark.parametrize("table", [TABLE, GROWTH], ids=lambda table: table.key)
def test_a_picture_names_everybody(table: Table) -> None:
    """It is well-formed, and has colours for dark pages."""
    tree = ElementTree.fromstring(picture(table))
    texts = [element.text for element in tree.iter() if element.text]
    assert {row.name for row in table.rows} | set(table.columns) <= set(texts)
    assert any("prefers-color-scheme: dark" in text for text in texts)


def test_a_picture_tells_what_is_better() -> None:
    assert "(µs, less is better)" in picture(TABLE)
    rates = dataclasses.replace(TABLE, unit="requests/s", more_is_better=True)
    assert "(requests/s, more is better)" in picture(rates)


def test_each_run_has_a_place_of_its_own_in_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "FOLDER", tmp_path / "benchmarks")
    monkeypatch.setattr(saving, "PAGE", tmp_path / "page.md")
    sections = {saving.MAIN: "A request", saving.THROUGHPUT: "Requests a second"}
    saving.PAGE.write_text("\n".join(mark for each in sections for mark in each.marks), "utf-8")
    for section, title in sections.items():
        table = dataclasses.replace(TABLE, key=section.name, title=title)
        saving.save([table], report.machine(), section)
    page = saving.PAGE.read_text("utf-8")
    for section, title in sections.items():
        begin, end = section.marks
        assert page.count(begin) == page.count(end) == page.count(f"### {title}\n") == 1
        assert page.index(begin) < page.index(f"### {title}\n") < page.index(end)
        assert saving.page_text(page, section) == page
        assert [table.title for table in saving.load(section)[0]] == [title]


def test_a_case_that_was_not_saved_before_gets_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table and its picture, though the page and the results of before are without."""
    monkeypatch.setattr(saving, "FOLDER", tmp_path / "benchmarks")
    monkeypatch.setattr(saving, "PAGE", tmp_path / "performance.md")
    saving.PAGE.write_text((saving.DOCS / "performance.md").read_text("utf-8"), "utf-8")
    tables = [dataclasses.replace(TABLE, key=key, title=f"The case {key}") for key in CASES]
    saving.save(tables, report.machine())
    page = saving.PAGE.read_text("utf-8")
    begin, end = map(page.index, saving.MAIN.marks)
    pictures = [page.index(f"](benchmarks/{key}.svg)") for key in CASES]
    assert pictures == sorted(pictures)
    assert begin < pictures[0] < pictures[-1] < end
    assert all((saving.FOLDER / f"{key}.svg").exists() for key in CASES)


#: The runs and their cases; what was never saved has no results, and no picture.
SAVED = [
    pytest.param(section, list(cases), id=section.name)
    for section, cases in ((saving.MAIN, CASES), (saving.THROUGHPUT, SEPARATE_CASES))
    if section.file.exists()
]


@pytest.mark.parametrize(("section", "keys"), SAVED)
def test_the_page_has_the_saved_results(section: saving.Section, keys: list[str]) -> None:
    """docs/performance.md and the pictures are made of the JSON files in docs/benchmarks.

    Which proves each row and each bar, as long as the two are looked at when they change.
    """
    page = saving.PAGE.read_text("utf-8")
    tables, _ = saving.load(section)
    assert page == saving.page_text(page, section)
    assert [table.key for table in tables] == [
        key for key in keys if (saving.FOLDER / f"{key}.svg").exists()
    ]
    for table in tables:
        assert (saving.FOLDER / f"{table.key}.svg").read_text("utf-8") == picture(table)
