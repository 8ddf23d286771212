"""The model zoo: models that have names, in folders that are also Kipoi sources."""
