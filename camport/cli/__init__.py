"""The command line. Its modules import PyTorch inside commands only,
so that `camport run` never does."""

from camport.cli.app import main as main
