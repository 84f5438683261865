"""The report of MTMDD-VM: its tables beside the paper's, and its plots."""
