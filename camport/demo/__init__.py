"""Digit scenes with known truth, and the small networks trained on them:
what `camport demo` runs on.

Nothing is imported here, so that `import camport.demo` needs neither torch nor scikit-learn:
`camport.demo.scenes` generates scenes (extra `demo`), `camport.demo.networks` loads networks (extra
`torch`).
"""
