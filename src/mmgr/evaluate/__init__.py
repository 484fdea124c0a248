"""How good a map is where there are no labels: labels, splits, probes, metrics, scores, baselines."""

from mmgr.evaluate.applicability import Applicability, area_of_applicability
from mmgr.evaluate.baselines import poi_density_features
from mmgr.evaluate.class_probe import ClassProbe
from mmgr.evaluate.class_sets import ClassSets
from mmgr.evaluate.coverage import score_intervals
from mmgr.evaluate.differences import Difference, paired_difference
from mmgr.evaluate.interval_scores import IntervalScore
from mmgr.evaluate.intervals import Intervals
from mmgr.evaluate.labels import read_units
from mmgr.evaluate.metrics import (
    METRICS,
    accuracy,
    canberra,
    chebyshev,
    cosine,
    kl_divergence,
    l1,
    macro_f1,
    mae,
    r2,
    rmse,
)
from mmgr.evaluate.moran import morans_i
from mmgr.evaluate.own_folds import task_units
from mmgr.evaluate.plans import SplitPlan, check_splits
from mmgr.evaluate.predict import predict_everywhere
from mmgr.evaluate.probes import make_probe, mlp_probe, ridge_probe, softmax_probe
from mmgr.evaluate.protocols import PROTOCOLS, Protocol, get_protocol
from mmgr.evaluate.records import Measured, Score, Scores
from mmgr.evaluate.results import Results
from mmgr.evaluate.scores import score_features, score_predictions
from mmgr.evaluate.share_intervals import ShareIntervals
from mmgr.evaluate.splits import LeaveOneGroupOut, OwnFolds, RandomFolds, SpatialBlocks, Splitter, choose_block
from mmgr.evaluate.trust import Trust, judge_predictions
from mmgr.evaluate.uncertainty import predict_intervals
from mmgr.evaluate.units import Units

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "Applicability",
    "ClassProbe",
    "ClassSets",
    "Difference",
    "IntervalScore",
    "Intervals",
    "LeaveOneGroupOut",
    "Measured",
    "OwnFolds",
    "Protocol",
    "RandomFolds",
    "Results",
    "Score",
    "Scores",
    "ShareIntervals",
    "SpatialBlocks",
    "SplitPlan",
    "Splitter",
    "Trust",
    "Units",
    "accuracy",
    "area_of_applicability",
    "canberra",
    "chebyshev",
    "check_splits",
    "choose_block",
    "cosine",
    "get_protocol",
    "judge_predictions",
    "kl_divergence",
    "l1",
    "macro_f1",
    "mae",
    "make_probe",
    "mlp_probe",
    "morans_i",
    "paired_difference",
    "poi_density_features",
    "predict_everywhere",
    "predict_intervals",
    "r2",
    "read_units",
    "ridge_probe",
    "rmse",
    "score_features",
    "score_intervals",
    "score_predictions",
    "softmax_probe",
    "task_units",
]
