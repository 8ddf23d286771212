"""How much data does a model need? Fine-tuning on random shares of a training set (the paper's Table 1)."""
