"""Made cities: images, POIs and labels of which the truth is known, to compare recipes on."""

from mmgr.synth.city import City
from mmgr.synth.made import MadeCities, make_city
from mmgr.synth.settings import Dirt, Settings
from mmgr.synth.write import write_city

__all__ = ["City", "Dirt", "MadeCities", "Settings", "make_city", "write_city"]
