"""Scans a data set in shards: a plan, a pure function per shard, and trackers whose states merge exactly."""

from tapetum.engines.scan.job import Job as Job
from tapetum.engines.scan.ledger import FolderLedger as FolderLedger
from tapetum.engines.scan.ledger import Ledger as Ledger
from tapetum.engines.scan.local import Runner as Runner
from tapetum.engines.scan.local import Threads as Threads
from tapetum.engines.scan.parquet import ParquetLedger as ParquetLedger
from tapetum.engines.scan.plan import Plan as Plan
from tapetum.engines.scan.scan import scan as scan
from tapetum.engines.scan.scanning import Scanning as Scanning
from tapetum.engines.scan.shards import ShardResult as ShardResult
