"""DCKT: a large labelled image-text set teaches a small one with other labels, for retrieval across media.

Huang, Peng: "Deep Cross-media Knowledge Transfer", CVPR 2018.
"""
