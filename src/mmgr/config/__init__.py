"""One typed, checked schema of a run: YAML in, precise errors out."""

from mmgr.config.base import Count, Fraction, Positive, Section
from mmgr.config.inputs import FOLDER, CountSource, Images, PointSource, Pois, Regions
from mmgr.config.learning import CADENCE, Categories, Embed, Pretrain
from mmgr.config.reading import dump_config, load_config, parse_config
from mmgr.config.run import Config
from mmgr.config.scoring import Evaluate, Finetune, LabelKind, Task

__all__ = [
    "CADENCE",
    "FOLDER",
    "Categories",
    "Config",
    "Count",
    "CountSource",
    "Embed",
    "Evaluate",
    "Finetune",
    "Fraction",
    "Images",
    "LabelKind",
    "PointSource",
    "Pois",
    "Positive",
    "Pretrain",
    "Regions",
    "Section",
    "Task",
    "dump_config",
    "load_config",
    "parse_config",
]
