"""`python -m mmgr`: the command line of the Python that runs it, where several have it."""

from mmgr.cli import main

main()
