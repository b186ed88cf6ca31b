"""Typed results of an analysis, shared by the engine, the worker and the API."""

from core.domain.results.counts import ClassCounts as ClassCounts
from core.domain.results.counts import Counts as Counts
from core.domain.results.notes import Note as Note
from core.domain.results.whole import RESULTS_VERSION as RESULTS_VERSION
from core.domain.results.whole import Figures as Figures
from core.domain.results.whole import Results as Results
