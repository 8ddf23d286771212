"""ChromTransfer for Selene, Kipoi and tangermeme."""
