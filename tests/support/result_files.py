"""All files of results, and a run directory of an earlier version that has them; for tests."""

from pathlib import Path

from layershap.results.baseline_sets import BASELINE_SETS
from layershap.results.candidates import CANDIDATES
from layershap.results.design import DESIGN
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.surrogate_fit import SURROGATE_FIT
from layershap.results.values import VALUES

OLD = Path(__file__).parent / "run_schema_1"
FILES = (BASELINE_SETS, CANDIDATES, DESIGN, RECOMMENDATIONS, SURROGATE_FIT, VALUES)
