"""The formats of neighbouring tools: one module for each, which writes our artifacts as the tool reads them.

A module has ``write(source, folder) -> dict[str, int]``, which fills an empty folder and returns counts;
`clicksight.neighbours.command` names the modules. All read and write shard by shard, so that no set is in memory whole.
"""
