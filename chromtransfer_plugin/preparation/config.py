"""The YAML file of ``chromtransfer dataset build``."""
