"""The leakage audit: one line for each path by which a test place may have had a part in its score."""

from mmgr.evaluate.audit.duplicates import Keys
from mmgr.evaluate.audit.foreign import audit_split
from mmgr.evaluate.audit.records import Audit, Finding
from mmgr.evaluate.audit.run import Reach, Scored, audit_run
from mmgr.evaluate.audit.split_files import Columns, SplitFile, read_split
from mmgr.evaluate.audit.tuned import Tuned, fine_tuning
from mmgr.evaluate.variogram import Variogram, empirical_variogram

__all__ = [
    "Audit",
    "Columns",
    "Finding",
    "Keys",
    "Reach",
    "Scored",
    "SplitFile",
    "Tuned",
    "Variogram",
    "audit_run",
    "audit_split",
    "empirical_variogram",
    "fine_tuning",
    "read_split",
]
