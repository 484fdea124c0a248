"""MMGR: maps of how a city works, learned without labels from VHR images and points of interest."""
