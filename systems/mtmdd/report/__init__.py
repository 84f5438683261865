"""The report of MTMDD-VM: tables with our results and the paper's, and plots."""
