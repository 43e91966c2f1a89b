"""Trackers: statistics that a scan keeps of every unit, each a frozen dataclass of parameters with pure functions of a state.

To add a tracker, put a file with it in this package, and make it public in `tapetum/__init__.pyi`.
"""

import importlib
import pkgutil

from tapetum.engines.scan.trackers.base import Context as Context
from tapetum.engines.scan.trackers.base import SeenBatch as SeenBatch
from tapetum.engines.scan.trackers.base import Sees as Sees
from tapetum.engines.scan.trackers.base import State as State
from tapetum.engines.scan.trackers.base import Tracker as Tracker
from tapetum.engines.scan.trackers.base import together as together
from tapetum.engines.scan.trackers.coactivation import CoActivation as CoActivation
from tapetum.engines.scan.trackers.counts import Counts as Counts
from tapetum.engines.scan.trackers.moments import Moments as Moments
from tapetum.engines.scan.trackers.positions import Positions as Positions
from tapetum.engines.scan.trackers.scores import Scores as Scores
from tapetum.engines.scan.trackers.sparsity import Sparsity as Sparsity
from tapetum.engines.scan.trackers.spectrum import Spectrum as Spectrum
from tapetum.engines.scan.trackers.top import TopK as TopK

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
