"""So that `python examples/machine-meter --url …` runs the meter without installing it."""

import sys

from machine_meter.main import main

sys.exit(main(sys.argv[1:]))
