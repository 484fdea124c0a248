"""The main job on the real sample inside the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import yaml

from mmgr.config import dump_config, load_config
from mmgr.files import write_text


def prepare_demo(folder: Path) -> Path:
    """Write the sample's configuration into ``folder``, with the paths of the installed sample.

    Returns
    -------
    The path of the configuration, ready for :class:`mmgr.Run`.
    """
    sample = Path(str(files("mmgr") / "sample"))
    config = load_config(sample / "city.yaml").model_copy(update={"output": folder.resolve()})
    path = folder / "city.yaml"
    text = dump_config(config)
    if not path.is_file() or yaml.safe_load(path.read_text(encoding="utf-8")) != yaml.safe_load(text):
        write_text(path, f"# The sample of MMGR; whom to credit: {sample / 'ATTRIBUTION.md'}\n{text}")
    return path
