"""MTMDD-VM: click features predicted from pixels, multidomain and multitask (Tan et al., IEEE TIP 2019)."""
