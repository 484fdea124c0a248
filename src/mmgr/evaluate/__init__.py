"""How good a map is where there are no labels: labels, splits, probes, metrics, scores, baselines."""

from mmgr.evaluate.applicability import Applicability, area_of_applicability
from mmgr.evaluate.baselines import poi_density_features
from mmgr.evaluate.interval_scores import IntervalScore
from mmgr.evaluate.intervals import Intervals, predict_intervals, score_intervals
from mmgr.evaluate.labels import read_units
from mmgr.evaluate.metrics import mae, r2, rmse
from mmgr.evaluate.predict import predict_everywhere
from mmgr.evaluate.probes import make_probe, mlp_probe, ridge_probe
from mmgr.evaluate.records import Score, Scores
from mmgr.evaluate.results import Results
from mmgr.evaluate.scores import check_splits, score_features
from mmgr.evaluate.splits import LeaveOneGroupOut, RandomFolds, SpatialBlocks, Splitter, choose_block
from mmgr.evaluate.trust import Trust, judge_predictions
from mmgr.evaluate.units import Units

__all__ = [
    "Applicability",
    "IntervalScore",
    "Intervals",
    "LeaveOneGroupOut",
    "RandomFolds",
    "Results",
    "Score",
    "Scores",
    "SpatialBlocks",
    "Splitter",
    "Trust",
    "Units",
    "area_of_applicability",
    "check_splits",
    "choose_block",
    "judge_predictions",
    "mae",
    "make_probe",
    "mlp_probe",
    "poi_density_features",
    "predict_everywhere",
    "predict_intervals",
    "r2",
    "read_units",
    "ridge_probe",
    "rmse",
    "score_features",
    "score_intervals",
]
