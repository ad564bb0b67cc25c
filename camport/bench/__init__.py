"""What an explanation costs: ratios to the bare forward pass, memory, growth,
and a record of runs that is compared.

Needs `pip install "camport[torch,cpu,bench]"`. On the command line `camport bench`. The figures are
made by pytest and pytest-benchmark in a process of their own (`test_cost.py` beside this file),
since what else a process holds is timed with it.
"""

from camport.bench.plan import Entry as Entry
from camport.bench.plan import Network as Network
from camport.bench.plan import Plan as Plan
