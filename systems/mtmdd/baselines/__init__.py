"""The methods that MTMDD-VM is compared with: plans of their phases, and a command for each that learns differently."""
