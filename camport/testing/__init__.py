"""Conformance kits for plugin authors: whether a method,
an adapter or a metric keeps what camport promises.

```python
from camport.testing import check_explainer

def test_my_explainer():
    check_explainer(MyExplainer)
```

They are plain functions: any test runner will do, or none. The first broken rule raises
`ConformanceError`, which is both a `CamportError` and an `AssertionError`, and says what was done,
what came out and what to do.
"""

from camport.testing.adapters import check_adapter as check_adapter
from camport.testing.conformance import ConformanceError as ConformanceError
from camport.testing.explainers import check_explainer as check_explainer
from camport.testing.metrics import check_metric as check_metric
