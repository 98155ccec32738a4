"""The writer against a server in memory that can fail at any call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vaetune.tracking import limits
from vaetune.tracking.inputs import Input, whole
from vaetune.tracking.server import Away, Known, Refused, Row
from vaetune.tracking.writer import Writer

T = TypeVar("T")


class Memory:
    """Stands in for `Server`; `fail` maps a method to the failures of its next calls: ("before" | "after", error)."""

    experiment_id = "1"

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.made = 0
        self.runs: dict[str, dict[str, str]] = {}
        self.names: dict[str, str] = {}
        self.fail: dict[str, list[tuple[str, Exception]]] = {}

    def _do(self, method: str, run_id: str, what: Any) -> None:
        when, error = self.fail[method].pop(0) if self.fail.get(method) else ("", None)
        if error and when == "before":
            raise error
        self.calls.append((method, run_id, what))
        if error:
            raise error

    def executions(self, run: str) -> list[Known]:
        return [k for k in self._all() if k.own_id == run and self.runs[k.run_id].get("vaetune.kind") == "execution"]

    def children(self, parent: str) -> list[Known]:
        return [k for k in self._all() if self.runs[k.run_id].get("mlflow.parentRunId") == parent]

    def create(self, name: str, tags: Mapping[str, str], time_ms: int) -> str:
        run_id = f"id{self.made}"
        when = self.fail.get("create", [("", None)])[0][0] if self.fail.get("create") else ""
        if when != "before":
            self.runs[run_id], self.names[run_id] = dict(tags), name
            self.made += 1
        self._do("create", run_id, time_ms)
        return run_id

    def describe(self, tag: str, text: str) -> None:
        self._do("describe", "", (tag, text))

    def reopen(self, run_id: str) -> None:
        self._do("reopen", run_id, None)

    def end(self, run_id: str, status: str, time_ms: int) -> None:
        self._do("end", run_id, (status, time_ms))

    def delete(self, run_id: str) -> None:
        self._do("delete", run_id, None)
        del self.runs[run_id]

    def params(self, run_id: str, params: Mapping[str, Any]) -> None:
        self._do("params", run_id, dict(params))

    def tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._do("tags", run_id, dict(tags))

    def metrics(self, run_id: str, rows: Sequence[Row]) -> None:
        self._do("metrics", run_id, list(rows))

    def inputs(self, run_id: str, inputs: Sequence[Input]) -> None:
        self._do("inputs", run_id, list(inputs))

    def artifact(self, run_id: str, path: Path, folder: str) -> None:
        self._do("artifact", run_id, (path, folder))

    def _all(self) -> list[Known]:
        steps: dict[str, dict[str, int]] = {}
        values: dict[str, dict[str, float]] = {}
        params: dict[str, dict[str, str]] = {}
        for method, run_id, what in self.calls:
            if method == "metrics":
                steps.setdefault(run_id, {}).update({key: step for key, _, step, _ in what})
                values.setdefault(run_id, {}).update({key: value for key, value, _, _ in what})
            if method == "params":
                params.setdefault(run_id, {}).update({key: str(item) for key, item in what.items()})
        ended = {run_id for method, run_id, _ in self.calls if method == "end"}
        return [
            Known(
                own_id=tags.get("vaetune.id", ""),
                run_id=run_id,
                ended=run_id in ended,
                steps=steps.get(run_id, {}),
                values=values.get(run_id, {}),
                params=params.get(run_id, {}),
            )
            for run_id, tags in self.runs.items()
        ]

    def of(self, method: str) -> list[Any]:
        return [what for name, _, what in self.calls if name == method]


def insist(action: Callable[[], T]) -> T:
    while True:
        try:
            return action()
        except Away:
            continue


class Desk:
    """A server in memory, a writer on it, and what the writer told."""

    def __init__(
        self, server: Memory, known: Mapping[str, str], objective: tuple[str, str] = ("val/error", "minimize")
    ) -> None:
        self.server = server
        self.said: list[str] = []
        self.told: list[tuple[str, str, str]] = []
        self.writer = Writer(
            server,  # type: ignore[arg-type]
            run="R",
            tags={"mlflow.source.git.commit": "abc", "vaetune.seed": "0"},
            known=known,
            attempt=insist,
            say=self.said.append,
            on_run=lambda *run: self.told.append(run),
            objective=objective,
        )
        self.writer.ensure_parent(1)
        self.writer.announce()


@pytest.fixture
def desk() -> Desk:
    return Desk(Memory(), {})


def begin(own_id: str, **params: Any) -> list[Any]:
    return ["begin", own_id, own_id, {"vaetune.kind": "trial"}, params, 10]


def metrics(own_id: str, *rows: Row) -> list[Any]:
    return ["metrics", own_id, [list(row) for row in rows]]


def test_values_of_several_events_go_in_one_call_a_run(desk: Desk) -> None:
    events = [begin("a"), begin("b")]
    for step in range(50):
        events += [
            metrics("a", ("loss", 1.0, step, step), ("acc", 0.5, step, step)),
            metrics("b", ("loss", 2.0, step, 0)),
        ]
    desk.writer.write(events)
    sent = desk.server.of("metrics")
    assert sorted(map(len, sent)) == [50, 100]
    for rows in sent:
        assert [row[2] for row in rows if row[0] == "loss"] == list(range(50))


def test_batches_keep_to_the_limit(desk: Desk) -> None:
    desk.writer.write([begin("a"), *(metrics("a", ("loss", 1.0, step, 0)) for step in range(2500))])
    assert list(map(len, desk.server.of("metrics"))) == [1000, 1000, 500]


def test_a_run_begins_before_its_values_and_ends_after(desk: Desk) -> None:
    desk.writer.write(
        [begin("a", lr=1), metrics("a", ("loss", 1.0, 1, 1)), ["end", "a", "stopped", 20, {"vaetune.reason": "rung"}]]
    )
    of_a = [(name, what) for name, run_id, what in desk.server.calls if run_id == "id1"]
    assert [name for name, _ in of_a] == ["create", "params", "metrics", "tags", "end"]
    assert of_a[3][1] == {"vaetune.outcome": "stopped", "vaetune.reason": "rung"}
    assert of_a[4][1] == ("FINISHED", 20)


def test_children_name_parent_run_and_source(desk: Desk) -> None:
    desk.writer.write([begin("a")])
    tags = desk.server.runs["id1"]
    assert tags["mlflow.parentRunId"] == "id0"
    assert (tags["vaetune.run"], tags["vaetune.id"], tags["vaetune.kind"]) == ("R", "a", "trial")
    assert tags["mlflow.source.git.commit"] == "abc"
    assert "vaetune.seed" not in tags
    assert desk.told == [("R", "id0", "1"), ("a", "id1", "1")]


@pytest.mark.parametrize(("outcome", "status"), [("finished", "FINISHED"), ("failed", "FAILED"), ("stopped", "KILLED")])
def test_finishing_ends_open_runs_and_the_parent_last(desk: Desk, outcome: str, status: str) -> None:
    desk.writer.write([begin("a"), begin("b"), ["end", "a", "failed", 20, {}]])
    desk.writer.finish(outcome, 99)
    ends = [(run_id, what) for name, run_id, what in desk.server.calls if name == "end"]
    assert ends == [("id1", ("FAILED", 20)), ("id2", (status, 99)), ("id0", (status, 99))]


def test_what_is_not_finite_becomes_a_tag(desk: Desk) -> None:
    nan, inf = float("nan"), float("inf")
    desk.writer.write([begin("a"), metrics("a", ("loss", nan, 3, 1), ("acc", 0.1, 3, 1), ("loss", inf, 4, 2))])
    assert desk.server.of("metrics") == [[("acc", 0.1, 3, 1)]]
    assert desk.server.of("tags") == [{"vaetune.nonfinite": "loss from step 3"}]
    desk.writer.write([metrics("a", ("loss", nan, 5, 3))])
    assert len(desk.server.of("tags")) == 1


def test_repeated_epochs_are_told_once(desk: Desk) -> None:
    desk.writer.write([begin("a"), metrics("a", ("loss", 1.0, 1, 1), ("loss", 0.9, 2, 2))])
    desk.writer.write([begin("a"), metrics("a", ("loss", 0.9, 2, 7), ("loss", 0.8, 3, 8))])
    assert desk.server.of("metrics") == [[("loss", 1.0, 1, 1), ("loss", 0.9, 2, 2)], [("loss", 0.8, 3, 8)]]
    assert len(desk.server.of("create")) == 2


def test_going_on_finds_parent_children_and_their_last_steps(desk: Desk) -> None:
    desk.writer.write([begin("a"), begin("b"), metrics("a", ("loss", 1.0, 5, 1)), ["end", "b", "failed", 3, {}]])
    again = Desk(desk.server, known={"R": "id0", "a": "id1"})
    assert again.told == [("b", "id2", "1")]
    again.writer.write([begin("b"), metrics("a", ("loss", 1.0, 5, 1), ("loss", 0.5, 6, 9))])
    assert len(desk.server.runs) == 3
    assert ("reopen", "id2", None) in desk.server.calls
    assert desk.server.of("metrics")[-1] == [("loss", 0.5, 6, 9)]
    again.writer.finish("stopped", 50)
    assert {run_id for name, run_id, _ in desk.server.calls if name == "end"} == {"id0", "id1", "id2"}


def test_a_creation_that_was_carried_out_unheard_is_found(desk: Desk) -> None:
    desk.server.fail["create"] = [("after", Away("no answer in time"))]
    desk.writer.write([begin("a"), metrics("a", ("loss", 1.0, 1, 1))])
    assert len(desk.server.runs) == 2
    assert desk.told[-1] == ("a", "id1", "1")


def test_a_twin_that_appears_late_is_deleted(desk: Desk) -> None:
    desk.server.fail["create"] = [("before", Away("no answer in time"))]
    desk.writer.write([begin("a"), metrics("a", ("loss", 1.0, 1, 1))])
    desk.server.runs["late"] = dict(desk.server.runs["id1"])
    desk.server.runs["foreign"] = {"mlflow.parentRunId": "id0"}
    desk.writer.finish("finished", 9)
    assert set(desk.server.runs) == {"id0", "id1", "foreign"}


def test_of_twins_the_one_in_the_callers_table_stays(desk: Desk) -> None:
    desk.writer.write([begin("a"), metrics("a", ("loss", 1.0, 1, 1))])
    desk.server.runs["late"] = dict(desk.server.runs["id1"])
    Desk(desk.server, known={})
    assert "late" not in desk.server.runs
    desk.server.runs["late"] = dict(desk.server.runs["id1"])
    Desk(desk.server, known={"a": "late"})
    assert "id1" not in desk.server.runs


@pytest.mark.parametrize("method", ["create", "params", "metrics", "tags", "end"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_every_call_is_repeated_until_it_is_answered(desk: Desk, method: str, when: str) -> None:
    times = 1 if (method, when) == ("create", "after") else 3  # then the run is found, not made again
    desk.server.fail[method] = [(when, Away("gone"))] * times
    desk.writer.write([begin("a", lr=1), metrics("a", ("loss", 1.0, 1, 1)), ["end", "a", "finished", 2, {}]])
    assert not any(desk.server.fail.values())
    assert len(desk.server.runs) == 2
    assert desk.server.of("params")[-1] == {"lr": 1}
    assert {tuple(rows) for rows in desk.server.of("metrics")} == {(("loss", 1.0, 1, 1),)}
    assert desk.server.of("end")[-1] == ("FINISHED", 2)
    assert not desk.writer.refused


def test_refusals_are_said_once_counted_and_do_not_stop_the_rest(desk: Desk) -> None:
    desk.server.fail["metrics"] = [("before", Refused("run is deleted"))] * 2
    desk.writer.write(
        [begin("a"), begin("b"), metrics("a", ("x", 1.0, 1, 1), ("y", 1.0, 1, 1)), ["end", "a", "finished", 2, {}]]
    )
    desk.writer.write([metrics("b", ("x", 1.0, 1, 1))])
    desk.writer.write([metrics("b", ("x", 1.0, 2, 1))])
    assert desk.writer.refused == 3
    assert len(desk.said) == 1
    assert "run is deleted" in desk.said[0]
    assert desk.server.of("metrics") == [[("x", 1.0, 2, 1)]]


def test_a_refused_run_does_not_stop_the_others(desk: Desk) -> None:
    desk.server.fail["create"] = [("before", Refused("no"))]
    desk.writer.write([begin("a"), metrics("a", ("x", 1.0, 1, 1)), begin("b"), metrics("b", ("x", 1.0, 1, 1))])
    assert len(desk.server.of("metrics")) == 1
    assert desk.writer.refused == 2


def test_odd_metric_names_do_not_collide(desk: Desk) -> None:
    desk.writer.write([begin("a"), metrics("a", ("x%", 1.0, 1, 1), ("x&", 2.0, 1, 1))])
    (rows,) = desk.server.of("metrics")
    assert {row[0] for row in rows} == {limits.name("x%"), limits.name("x&")}


def test_experiment_tags_that_are_refused_are_left_out(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.server.fail["describe"] = [("before", Refused("too long"))]
    desk.writer.describe({"one": "1", "two": "2"})
    assert desk.server.of("describe") == [("two", "2")]
    assert [record.getMessage() for record in caplog.records] == [
        "MLflow does not take the experiment's tag one (left out): too long"
    ]


def test_artifacts_go_to_the_parent(desk: Desk) -> None:
    desk.writer.write([["artifact", "R", "/x/report.html", "report"]])
    assert desk.server.calls[-1] == ("artifact", "id0", (Path("/x/report.html"), "report"))


def test_the_best_value_of_the_objective_stands_beside_it_and_goes_on(desk: Desk) -> None:
    values = [0.5, 0.3, 0.4]
    desk.writer.write([begin("a"), *(metrics("a", ("val/error", v, i, i)) for i, v in enumerate(values))])
    again = Desk(desk.server, known={"R": "id0", "a": "id1"})
    again.writer.write([begin("a"), metrics("a", ("val/error", 0.4, 2, 9), ("val/error", 0.35, 3, 9))])
    best = [row for rows in desk.server.of("metrics") for row in rows if row[0] == "best/error"]
    assert [(value, step) for _, value, step, _ in best] == [(0.5, 0), (0.3, 1), (0.3, 2), (0.3, 3)]


def test_a_maximised_objective_has_its_largest_value_beside_it() -> None:
    desk = Desk(Memory(), {}, ("val/elbo", "maximize"))
    desk.writer.write([begin("a"), metrics("a", ("val/elbo", -3.0, 0, 0), ("val/elbo", -5.0, 1, 1))])
    assert desk.server.of("metrics")[0][1::2] == [("best/elbo", -3.0, 0, 0), ("best/elbo", -3.0, 1, 1)]


@pytest.mark.parametrize("killed", [False, True])
def test_a_member_that_begins_anew_with_other_parameters_has_a_run_of_its_own(desk: Desk, killed: bool) -> None:
    desk.writer.write([begin("a", lr=1), metrics("a", ("loss", 1.0, 0, 0), ("loss", 0.9, 1, 1))])
    if killed:
        desk = Desk(desk.server, known={"R": "id0", "a": "id1"})
    desk.writer.write([begin("a", lr=2), metrics("a", ("loss", 3.0, 0, 5)), ["end", "a", "finished", 9, {}]])
    assert "id1" not in desk.server.runs
    (run_id,) = (id for id, tags in desk.server.runs.items() if tags["vaetune.id"] == "a")
    assert ("metrics", run_id, [("loss", 3.0, 0, 5)]) in desk.server.calls
    assert desk.told[-1] == ("a", run_id, "1")


def test_parameters_that_a_kill_cut_short_are_completed(desk: Desk) -> None:
    desk.writer.write([begin("a", lr=1)])
    again = Desk(desk.server, known={"R": "id0", "a": "id1"})
    again.writer.write([begin("a", lr=1, beta=2), metrics("a", ("loss", 3.0, 0, 5))])
    assert set(desk.server.runs) == {"id0", "id1"}
    assert desk.server.of("params")[-1] == {"lr": 1, "beta": 2}


def test_inputs_go_to_their_run(desk: Desk) -> None:
    seen = whole("digits", "a" * 64, "test", 360)
    desk.writer.write([begin("a"), ["inputs", "a", [seen.event()]]])
    assert desk.server.calls[-1] == ("inputs", "id1", [seen])
    assert len(seen.digest) == 32
