"""Intervals against SciPy's, and findings through a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp, weibull_min

from quest_lab.changes import changes_of_findings
from quest_lab.errors import BadInput
from quest_lab.findings import Finding, load_findings, mean, share, to_result
from quest_lab.lifetimes import Lives, fit_barrier, fit_weibull
from quest_lab.record import RunWriter


@pytest.mark.parametrize(("hits", "total"), [(0, 20), (3, 20), (20, 20), (1, 1)])
def test_a_share_has_the_exact_interval(hits: int, total: int) -> None:
    found, wanted = share("", hits, total, "cells"), binomtest(hits, total).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_a_mean_has_students_interval_and_never_less_than_its_resolution_allows() -> None:
    values = np.array([1.0, 2.0, 4.0, np.nan, 5.0])
    wanted = ttest_1samp(values, 0.0, nan_policy="omit").confidence_interval()
    found = mean("", "V", values)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    alike = mean("", "V", np.full(9, 0.5), resolution=0.1)
    assert (alike.low, alike.high) == pytest.approx((0.45, 0.55))


def test_weibull_of_finely_seen_lives_is_scipys() -> None:
    t = weibull_min.rvs(1.7, scale=400.0, size=300, random_state=np.random.default_rng(1))
    shape, _, scale = weibull_min.fit(t, floc=0.0)
    fit = fit_weibull(Lives(np.floor(t), np.floor(t) + 1.0))
    assert fit is not None
    assert fit.value == pytest.approx((scale, shape), rel=0.01)
    assert fit.low[0] < 400.0 < fit.high[0]


def test_intervals_of_coarsely_seen_censored_lives_cover() -> None:
    rng, looks, hits = np.random.default_rng(2), np.array([0, 30, 100, 300, np.inf]), 0
    for _ in range(30):
        at = np.searchsorted(looks, weibull_min.rvs(1.5, scale=200.0, size=60, random_state=rng))
        fit = fit_weibull(Lives(looks[at - 1], looks[at]))
        assert fit is not None
        hits += fit.low[0] <= 200.0 <= fit.high[0]
    assert binomtest(hits, 30, 0.95).pvalue > 0.01


def test_too_few_failures_are_not_fitted() -> None:
    lives = Lives(np.zeros(5), np.array([1.0, 1.0, np.inf, np.inf, np.inf]))
    assert fit_weibull(lives) is None
    assert fit_barrier(lives, 1e-9) is None


def test_findings_come_back_from_a_file_and_changes_are_in_standard_errors(tmp_path: Path) -> None:
    found = [share("good", 9, 10, "cells"), Finding("noise", "", 0.003)]
    with RunWriter.create(tmp_path / "run.h5", kind="yield", title="", seed=0, settings={}) as run:
        run.add_result(to_result(found))
    assert str(load_findings(tmp_path / "run.h5")) == str(found)
    a, b = Finding("x", "V", 1.0, 1.0 - 1.96, 1.0 + 1.96), Finding("x", "V", 5.0, 5.0 - 1.96, 5.0 + 1.96)
    (change,) = changes_of_findings([a], [b, Finding("y", "", 1.0)])
    assert change.sigmas == pytest.approx(4.0 / np.sqrt(2.0), rel=1e-4)


def test_a_run_without_findings_is_told(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run.h5", kind="session", title="", seed=0, settings={}):
        pass
    with pytest.raises(BadInput, match="holds no result 'findings'"):
        load_findings(tmp_path / "run.h5")
