"""Read, repair, check and classify POIs, and hand each region its own."""

from mmgr.pois.bags import make_bags
from mmgr.pois.extent import known_shapes, poi_bounds, poi_crs
from mmgr.pois.outside import settle_outside
from mmgr.pois.overlap import check_overlap
from mmgr.pois.read import read_pois
from mmgr.pois.strays import furthest_text
from mmgr.pois.tables import PoiTables, Source

__all__ = [
    "PoiTables",
    "Source",
    "check_overlap",
    "furthest_text",
    "known_shapes",
    "make_bags",
    "poi_bounds",
    "poi_crs",
    "read_pois",
    "settle_outside",
]
