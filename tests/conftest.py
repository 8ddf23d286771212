"""Settings of all tests."""

from __future__ import annotations

import os

# Read by torch when it is imported, also in the processes that tests start. The networks of the tests are so small
# that several threads mostly wait for each other, by a factor of ten where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
