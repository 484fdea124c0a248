"""Where a run's artefacts lie in its output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of all artefacts below one output folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration as it was used; not under a name that a user's own may have."""
        return self.folder / "used.yaml"

    @property
    def regions(self) -> Path:
        """The region store."""
        return self.folder / "regions.lance"

    @property
    def unfinished_regions(self) -> Path:
        """The region store while it is being built; a killed build goes on from it."""
        return self.folder / "regions.unfinished"

    @property
    def pois(self) -> Path:
        """Folder of the clean POI tables."""
        return self.folder / "pois"

    @property
    def set_aside(self) -> Path:
        """List of the images that could not be read."""
        return self.folder / "set_aside.json"

    @property
    def categories(self) -> Path:
        """Folder of the category vectors."""
        return self.folder / "categories"

    @property
    def pretrain(self) -> Path:
        """Folder of checkpoints and the monitor of pre-training."""
        return self.folder / "pretrain"

    @property
    def monitor(self) -> Path:
        """Losses, chance levels and throughput, a row an epoch."""
        return self.pretrain / "monitor.csv"

    @property
    def bundle(self) -> Path:
        """The trained model; not there without images."""
        return self.folder / "bundle"

    @property
    def embeddings(self) -> Path:
        """Folder of the embeddings: `embeddings`, `image`, `poi` and `random`, each GeoParquet.

        Without images there are no `image` and `random`, without POIs no `poi`.
        """
        return self.folder / "embeddings"

    @property
    def evaluation(self) -> Path:
        """Folder of the scores and predictions."""
        return self.folder / "evaluation"

    @property
    def finetune(self) -> Path:
        """Folder of what fine-tuning scored, a folder a task; `unfinished` holds the folds of a killed one."""
        return self.folder / "finetune"

    @property
    def benchmark(self) -> Path:
        """Folder of the table of baselines, its figure, and each row's vectors."""
        return self.folder / "benchmark"

    @property
    def maps(self) -> Path:
        """Folder of the maps."""
        return self.folder / "maps"

    @property
    def export(self) -> Path:
        """Folder of the embeddings as other tools read them."""
        return self.folder / "export"

    @property
    def report(self) -> Path:
        """The report, one self-contained page."""
        return self.folder / "report.html"
