"""Which method to trust on a model: methods x metrics x examples, resumable, with intervals.

Needs `pip install "camport[evaluate]"`. On the command line `camport evaluate`.
"""

from camport.evaluation.examples import Example as Example
from camport.evaluation.run import Evaluated as Evaluated
from camport.evaluation.run import evaluate as evaluate
from camport.evaluation.sources import from_dataset as from_dataset
from camport.evaluation.sources import from_folder as from_folder
from camport.evaluation.sources import open_data as open_data
from camport.evaluation.summary import Cell as Cell
from camport.evaluation.summary import Table as Table
