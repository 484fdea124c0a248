"""Cut the sample that ships inside the package from the development data.

Usage: python scripts/make_sample.py ../shared/data/california src/mmgr/sample

Images and tables are copied as they are; only rows and files of other places are left out.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import geopandas as gpd
import pandas as pd

DATES = {
    "riverside": ("2020",),
    "palm_springs": ("2016", "2020"),
    "chico": ("2020",),
    "eureka": ("2020",),
    "bishop": ("2020",),
    "santa_monica": ("2020",),
}
"""Cities of the sample, and the years taken of each: two of one city, whose second date is a further view."""


def main() -> None:
    """Copy the sample's files, and say how large it became."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(target / "images", ignore_errors=True)
    tiles = gpd.read_file(source / "tiles.geojson")
    tiles = tiles[tiles["city"].isin(DATES)][["tile", "city", "tract", "geometry"]]
    for city, years in DATES.items():
        (target / "images" / city).mkdir(parents=True)
        for year in years:
            for file in sorted((source / "images" / city).glob(f"{city}_{year}_*.tif")):
                shutil.copyfile(file, target / "images" / city / file.name)
    tiles.to_file(target / "tiles.geojson", COORDINATE_PRECISION=7)
    tracts = gpd.read_file(source / "tracts.geojson")
    tracts[tracts["tract"].isin(tiles["tract"])].to_file(target / "tracts.geojson", COORDINATE_PRECISION=6)
    blocks = gpd.read_file(source / "santa_monica_blocks.geojson")
    blocks.to_file(target / "santa_monica_blocks.geojson", COORDINATE_PRECISION=6)
    pois = pd.read_csv(source / "santa_monica_pois.csv")
    pois.round({"lon": 6, "lat": 6}).to_csv(target / "santa_monica_pois.csv", index=False)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(f"{len(list(target.rglob('*.tif')))} images of {len(tiles)} places, {size / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
