"""Models by name: what `--model SPEC` on the command line understands."""

from camport.models.loaded import Loaded as Loaded
from camport.models.spec import SPECS as SPECS
from camport.models.spec import load_model as load_model
